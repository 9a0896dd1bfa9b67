"""Check on the KITTI labels: every line follows the format's grammar, read by rules of its own."""

import re
from pathlib import Path

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.reconstruction.reconstruct import LABEL_FOLDER

KITTI_GRAMMAR = dg.AssetCheckSpec(
    "kitti_grammar",
    asset="boxes_3d",
    partitions_def=partitions.recordings,
    description="A label line has a type, truncation, occlusion, alpha, 2D box, size, bottom centre, rotation, perhaps a score.",
)
_NUMBER = r"-?\d+(?:\.\d+)?"
_LINE = re.compile(rf"[A-Z][A-Za-z_]+ {_NUMBER} [0-3](?: {_NUMBER}){{12,13}}")


def kitti_grammar(folder: Path) -> dg.AssetCheckResult:
    """The verdict on the labels of a `boxes_3d` artifact."""
    lines = 0
    wrong = []
    for path in sorted((folder / LABEL_FOLDER).glob("*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            lines += 1
            if _LINE.fullmatch(line) is None:
                wrong.append({"file": path.name, "line": number, "text": line})
    sentence = f"{len(wrong)} of {lines} label lines are not KITTI." if wrong else f"All {lines} label lines are KITTI."
    return dg.AssetCheckResult(passed=not wrong, check_name="kitti_grammar", description=sentence, metadata={"wrong": table(wrong)})
