"""The checks of `validation_report`: one a rule. Errors block what comes after it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.datasets.validation.page import TITLES
from lamm_pipeline.datasets.validation.settings import RuleName, Severity
from lamm_pipeline.orchestration.metadata import table

CHECKS = [
    dg.AssetCheckSpec(
        str(name), asset="validation_report", blocking=True, partitions_def=partitions.dataset_versions, description=TITLES[name] + "."
    )
    for name in RuleName
]


def validation_verdicts(report: Mapping[str, Any]) -> list[dg.AssetCheckResult]:
    """The verdicts of a report, rules that are switched off among them.

    Args:
        report: content of `report.json`.
    """
    rules = {rule["name"]: rule for rule in report["rules"]}
    return [_verdict(name, rules.get(name)) for name in RuleName]


def _verdict(name: RuleName, rule: Mapping[str, Any] | None) -> dg.AssetCheckResult:
    if rule is None:
        return dg.AssetCheckResult(
            passed=True, check_name=str(name), severity=dg.AssetCheckSeverity.WARN, description="Switched off in the version's settings."
        )
    is_error = rule["severity"] == Severity.error
    return dg.AssetCheckResult(
        passed=rule["passed"],
        check_name=str(name),
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=rule["sentence"] + ("" if rule["advice"] is None else f". {rule['advice']}"),
        metadata={**rule["counts"], "failures": rule["failures"], "first": table([{"id": subject} for subject in rule["first"]])},
    )
