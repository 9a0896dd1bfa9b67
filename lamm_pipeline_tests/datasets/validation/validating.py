"""Validates frames in a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lamm_pipeline.datasets.splits.split_table import PlacedSample
from lamm_pipeline.datasets.validation.report import FAILURES_FILE, Validated, validate
from lamm_pipeline.datasets.validation.settings import ValidationSettings
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.storage.draft import Draft

CLASSES = {each.id: each for each in load_ontology().classes}


def validated(folder: Path, samples: Sequence[Sample], splits: Sequence[str | None] = ("train",), **options: Any) -> dict[str, Any]:
    """The report on these frames, in splits that take turns.

    `rules` are others than the usual ones, `refused` and `wanted` what is said of empty frames.
    """
    rules, refused, wanted = (options.pop(name, default) for name, default in (("rules", None), ("refused", False), ("wanted", False)))
    names = [split for split in dict.fromkeys(splits) if split is not None]
    about = Validated("drives.v1", ValidationSettings(**options), names, names, CLASSES, refused, wanted)
    placed = [PlacedSample(each, splits[number % len(splits)]) for number, each in enumerate(samples)]
    draft = Draft.open(folder)
    report = validate(about, lambda: iter(placed), draft, rules=rules)
    draft.finish()
    return report


def rule(report: dict[str, Any], name: str) -> dict[str, Any]:
    """What a report says of a rule."""
    found: dict[str, Any] = next(each for each in report["rules"] if each["name"] == name)
    return found


def failures(folder: Path, name: str) -> list[tuple[str | None, str | None, str]]:
    """Frame, annotation and detail of everything that a rule objects to."""
    rows = pq.read_table(folder / FAILURES_FILE).to_pylist()
    return [(row["frame_id"], row["detection_id"], row["detail"]) for row in rows if row["rule"] == name]
