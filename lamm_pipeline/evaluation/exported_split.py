"""Which frames of which recording the files of an exported KITTI split are: they are numbered anew, and the version's lineage tells."""

import json
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.datasets.lineage import FRAMES_FILE
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.tables import read_table

EXPORT = "kitti_dataset"
LINEAGE = "lineage"


@dataclass(frozen=True)
class SplitFrames:
    """Frames of one recording in a split.

    Attributes:
        frame_of: frame index in the recording by the number of the file in the split.
        recording: folder of the recording in the root.
    """

    frame_of: dict[int, int]
    recording: Path


def split_frames(folder: Path, recording: str | None) -> SplitFrames | None:
    """Frames of a split that lies in its root, `datasets/<version>/kitti_dataset/<artifact>/kitti/<split>`.

    Args:
        folder: the split.
        recording: whose frames; not needed when the split has those of one recording.

    Returns:
        None where the folder is no such split, or its version has no lineage yet.

    Raises:
        InputError: the recording is not named and there are several, or it is not among them.
    """
    split = folder.resolve()
    if len(split.parents) < 6 or split.parents[2].name != EXPORT:
        return None
    lineage = split.parents[3] / LINEAGE
    if not (lineage / "current.json").is_file():
        return None
    current = str(json.loads((lineage / "current.json").read_text())["version"])
    frames: dict[str, dict[int, int]] = {}
    for row in read_table(lineage / current / FRAMES_FILE):
        if row["split"] == split.name:
            frames.setdefault(row["recording"], {})[row["output_index"]] = row["frame_index"]
    chosen = recording or (next(iter(frames)) if len(frames) == 1 else None)
    if chosen not in frames:
        wanted = "Name one with --recording" if recording is None else f"The recording {recording!r} is not among them"
        raise InputError(f"{folder} has frames of {len(frames)} recordings: {', '.join(sorted(frames)[:10]) or 'none'}. {wanted}.")
    return SplitFrames(frames[chosen], split.parents[5] / "recordings" / chosen)
