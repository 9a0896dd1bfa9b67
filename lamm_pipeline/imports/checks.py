"""Checks on an import: what is wrong with the export, and what would harm a model that learns from it. None blocks; the validation does."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.imports.labels import listed
from lamm_pipeline.imports.planning import ASSET

_FLAGS = {
    "clean_images": ("burned_in_overlays", "No tool has painted masks onto the images."),
    "measured_rate": ("assumed_rate", "No tool has assumed the rate of the video."),
    "measured_scores": ("constant_scores", "The scores differ, or there are none."),
    "one_image_size": ("several_sizes", "All images have one size."),
}
_PROBLEMS = {
    "documents_agree": (("document", "contradiction"), "The documents agree with each other and with the images."),
    "images_complete": (("image_missing", "image_damaged"), "Every frame has an image that can be read."),
    "objects_well_formed": (("frame", "duplicate_frame", "object", "box", "score"), "Every frame and object is as the format has it."),
    "masks_readable": (("mask",), "Every mask is in a form that is known and fits its image."),
}
_CLASSES = "classes_known"

SPECS = [
    dg.AssetCheckSpec(name, asset=ASSET, description=description, partitions_def=partitions.annotation_exports)
    for name, description in {
        **{name: description for name, (_, description) in _FLAGS.items()},
        **{name: description for name, (_, description) in _PROBLEMS.items()},
        _CLASSES: "Every label means a class of the ontology.",
    }.items()
]


def evaluate(counts: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> Iterator[dg.AssetCheckResult]:
    """The verdicts on one import.

    Args:
        counts: of import.json.
        labels: of each class.
    """
    for name, (flag, description) in _FLAGS.items():
        yield _result(name, counts["flags"].get(flag), description)
    for name, (kinds, description) in _PROBLEMS.items():
        found = {kind: counts["problems"][kind] for kind in kinds if kind in counts["problems"]}
        shown = ", ".join(f"{kind.replace('_', ' ')}: {count}" for kind, count in found.items())
        yield _result(name, f"{sum(found.values())} problems ({shown}); import.json lists them." if found else None, description)
    extra = "; ".join(f"{each} ({listed(labels[each])})" for each in counts["extra_classes"])
    advice = "they stay classes of their own. --class LABEL=CLASS (class_map in the Launchpad) names others."
    problem = f"The ontology lacks {extra}; {advice}" if extra else None
    yield _result(_CLASSES, problem, "Every label means a class of the ontology.")


def _result(name: str, problem: str | None, description: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=problem is None, check_name=name, severity=dg.AssetCheckSeverity.WARN, description=problem or description
    )
