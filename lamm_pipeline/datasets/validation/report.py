"""The validation of a dataset version: every rule over every frame in one pass, and what becomes of it.

| file | what is in it |
| --- | --- |
| `report.json` | status, rules, recommendations, statistics |
| `report.md` | the same in a page of text |
| `report.html` | the same with charts and pictures of offenders; one file without scripts |
| `failures.parquet` | `rule`, `frame_id`, `detection_id`, `detail`: everything that a rule objects to, by rule |

The same frames and settings give the same bytes.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from lamm_pipeline.datasets.splits.split_table import PlacedSample
from lamm_pipeline.datasets.validation import page
from lamm_pipeline.datasets.validation.annotation_rules import Box3DSanity, BoxBounds, MaskBoxAgreement, MaskIntegrity, SmallObjects
from lamm_pipeline.datasets.validation.dataset_rules import (
    ClassBalance,
    ClassMissingFromSplit,
    Density,
    DuplicateFrames,
    MissingAnnotations,
    NearDuplicates,
)
from lamm_pipeline.datasets.validation.pictures import Pictured, pictures
from lamm_pipeline.datasets.validation.rule import Failure, Rule, Seen, Verdict, seen
from lamm_pipeline.datasets.validation.settings import RuleName, Severity, ValidationSettings
from lamm_pipeline.datasets.validation.statistics import Statistics
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import ObjectClass
from lamm_pipeline.storage.atomic import write_json, write_text
from lamm_pipeline.storage.draft import Draft, RecordLog
from lamm_pipeline.storage.tables import write_table
from lamm_pipeline.streaming import Progress, no_progress

REPORT_FILE = "report.json"
TEXT_FILE = "report.md"
PAGE_FILE = "report.html"
FAILURES_FILE = "failures.parquet"
LISTED = 10
READY = "Dataset is ready for training"

FAILURES_SCHEMA = pa.schema([(name, pa.string()) for name in ("rule", "frame_id", "detection_id", "detail")])


class Status(StrEnum):
    """What a validation comes to."""

    failed = "FAILED"
    passed_with_warnings = "PASSED_WITH_WARNINGS"
    passed = "PASSED"


@dataclass(frozen=True)
class Validated:
    """What is validated, and as what.

    Attributes:
        dataset: key of the version.
        settings: what for.
        splits: all that there are; of those, `wanted` are to have frames.
        classes: those of the version, by id.
        empty_frames_refused: whether the version's filters call frames without annotations an error.
        empty_frames_wanted: whether they keep them as negatives.
    """

    dataset: str
    settings: ValidationSettings
    splits: Sequence[str]
    wanted: Sequence[str]
    classes: Mapping[str, ObjectClass]
    empty_frames_refused: bool = False
    empty_frames_wanted: bool = False

    def severity(self, rule: RuleName) -> Severity:
        """What it means when a rule does not hold."""
        return self.settings.severity(rule, empty_frames_refused=self.empty_frames_refused, empty_frames_wanted=self.empty_frames_wanted)


@dataclass
class RuleResult:
    """A rule and what came of it.

    Attributes:
        severity: what it means when the rule does not hold; `error` also where the rule itself broke down.
        passed: whether it holds.
        sentence: for people.
        counts: the numbers behind the sentence.
        failures: how many rows of `failures.parquet` are this rule's.
        first: ids of the first of them.
        advice: what to do, None where there is nothing to do.
    """

    name: str
    severity: str
    passed: bool
    sentence: str
    counts: Mapping[str, int | float]
    failures: int
    first: list[str]
    advice: str | None


@dataclass
class _Running:
    """A rule at work: its failures go to a log, so that however many there are, memory holds the first ten."""

    rule: Rule
    severity: Severity
    log: RecordLog
    first: list[Failure] = field(default_factory=list)
    fault: str | None = None

    def look(self, seen: Seen) -> None:
        self._take(lambda: self.rule.look(seen))

    def finish(self) -> RuleResult:
        self._take(self.rule.finish)
        found = self._verdict()
        broken = self.fault is not None
        failures = 0 if found.passed else len(self.log)
        return RuleResult(
            name=str(self.rule.name),
            severity=str(Severity.error if broken else self.severity),
            passed=found.passed,
            sentence=found.sentence,
            counts=found.counts,
            failures=failures,
            first=[failure.subject for failure in self.first[:failures]],
            advice=None if found.passed or broken else self.rule.advice,
        )

    def _take(self, tell: Callable[[], Iterable[Failure]]) -> None:
        if self.fault is not None:
            return
        try:
            for failure in tell():
                self.log.append(vars(failure))
                if len(self.first) < LISTED:
                    self.first.append(failure)
        except Exception as error:  # noqa: BLE001  a rule that breaks down is a finding about the version, not the end of its validation
            self.fault = f"{type(error).__name__}: {error}"

    def _verdict(self) -> Verdict:
        if self.fault is None:
            try:
                return self.rule.verdict(len(self.log))
            except Exception as error:  # noqa: BLE001  as above
                self.fault = f"{type(error).__name__}: {error}"
        return Verdict(False, f"The rule could not be checked: {self.fault}")


def validate(
    validated: Validated,
    frames: Callable[[], Iterator[PlacedSample]],
    draft: Draft,
    progress: Progress = no_progress,
    *,
    total: int | None = None,
    rules: Sequence[Rule] | None = None,
) -> dict[str, Any]:
    """Validate a version and write the report.

    Args:
        validated: the version and what it is validated for.
        frames: streams the selected frames; called again to find those that are pictured.
        draft: gets the files.
        progress: told of every frame.
        total: how many frames there are, where it is known.
        rules: others than those of the settings.

    Returns:
        The content of `report.json`.
    """
    chosen = rules_of(validated) if rules is None else rules
    running = [
        _Running(rule, severity, draft.log(f"{rule.name}.jsonl"))
        for rule in chosen
        if (severity := validated.severity(rule.name)) is not Severity.off
    ]
    statistics = Statistics(validated.splits)
    with closing(seen(frames(), validated.settings.masks, total or 0)) as looked_at:
        for number, one in enumerate(looked_at, start=1):
            statistics.add(one)
            for each in running:
                each.look(one)
            progress(number, total)
    results = [each.finish() for each in running]
    write_table(draft.directory / FAILURES_FILE, FAILURES_SCHEMA, _failure_rows(running, results))
    report = _report(validated, results, statistics.summary())
    write_json(draft.directory / REPORT_FILE, report)
    write_text(draft.directory / TEXT_FILE, page.as_text(report))
    shown = [
        Pictured(result.name, failure) for each, result in zip(running, results, strict=True) for failure in each.first[: result.failures]
    ]
    pictured = pictures(shown, frames, validated.classes)
    write_text(draft.directory / PAGE_FILE, page.as_html(report, pictured, validated.classes))
    return report


def rules_of(validated: Validated) -> list[Rule]:
    """The rules of a version, in the order of reports."""
    settings = validated.settings
    priors = {class_id: each.size_prior for class_id, each in validated.classes.items() if each.size_prior is not None}
    return [
        MissingAnnotations(),
        DuplicateFrames(),
        MaskIntegrity(),
        MaskBoxAgreement(settings.min_mask_box_iou),
        BoxBounds(settings.box_tolerance_px),
        Box3DSanity(priors),
        ClassBalance(settings.severe_imbalance, settings.moderate_imbalance),
        ClassMissingFromSplit(validated.wanted),
        SmallObjects(settings.small_object_share, settings.max_small_objects),
        Density(settings.min_density),
        NearDuplicates(settings.near_duplicate_bits, validated.splits),
    ]


def read_report(folder: Path) -> dict[str, Any]:
    """The content of `report.json`.

    Args:
        folder: of the artifact `validation_report`.
    """
    report: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    return report


def require_valid(report: Mapping[str, Any]) -> None:
    """Go on only with a version that has not failed.

    Args:
        report: content of `report.json`.

    Raises:
        InputError: it has; the sentence names the rules.
    """
    if report["status"] == Status.failed:
        raise InputError(
            f"Dataset version {report['dataset']!r} failed its validation: {'; '.join(report['errors'])}. Mend this and make a new "
            "version (see validation_report), or give the rules another weight in its settings (validation.severities)."
        )


def _report(validated: Validated, results: Sequence[RuleResult], statistics: Mapping[str, Any]) -> dict[str, Any]:
    said = {
        severity: [each.sentence for each in results if not each.passed and each.severity == severity]
        for severity in (Severity.error, Severity.warning)
    }
    status = Status.failed if said[Severity.error] else Status.passed_with_warnings if said[Severity.warning] else Status.passed
    advice = [each.advice for each in results if each.advice is not None]
    return {
        "dataset": validated.dataset,
        "status": str(status),
        "errors": said[Severity.error],
        "warnings": said[Severity.warning],
        "recommendations": advice or ([READY] if status is Status.passed else []),
        "rules": [vars(each) for each in results],
        "switched_off": [str(name) for name in RuleName if validated.severity(name) is Severity.off],
        "settings": validated.settings.model_dump(mode="json"),
        **statistics,
    }


def _failure_rows(running: Sequence[_Running], results: Sequence[RuleResult]) -> Iterator[dict[str, Any]]:
    for each, result in zip(running, results, strict=True):
        if result.failures:
            for row in each.log:
                yield {"rule": result.name, **row}
