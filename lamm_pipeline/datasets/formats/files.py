"""What the formats share: how frames are walked and counted, and how their files get into a dataset."""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.datasets.classes import VersionClasses
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

FRAMES_PER_CHECKPOINT = 10 * CHECKPOINT_EVERY  # a frame is mostly links here, a checkpoint syncs the disk

# another file system, one without links, a full link count, or files of another owner
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True)
class Export:
    """A dataset version that is to be written in a format.

    Attributes:
        samples: the frames that are in a split, in the version's order: by recording, each in frame order.
        manifest: the version; its settings say what is included.
        classes: of the version.
        draft: gets a folder named like the format.
        total: number of frames, for the progress.
        workers: number of threads, None for one per processor.
        progress: told after every frame.
    """

    samples: Iterable[SplitSample]
    manifest: VersionManifest
    classes: VersionClasses
    draft: Draft
    total: int | None = None
    workers: int | None = None
    progress: Progress = no_progress


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote.

    Attributes:
        frames: by split.
        annotations: by split.
        counts: of everything else, what is missing included: `hard_linked`, `copied`, `masks`, `boxes_3d`, `without_box_3d`, ...
    """

    frames: Mapping[str, int]
    annotations: Mapping[str, int]
    counts: Mapping[str, int]


def export_frames(
    export: Export, write: Callable[[SplitSample], Counter[str]], record: Callable[[int, SplitSample], None]
) -> ExportSummary:
    """Write all frames of an export, from the draft's checkpoint on.

    Args:
        export: what to write.
        write: writes the files of a frame on a worker thread and counts them; writing twice does no harm.
        record: told in order about each frame written, with its number from 1; appends to logs of the draft.
    """
    draft = export.draft
    log = draft.log("frames.jsonl")
    done = int(draft.state.get("done", 0))
    for number, (item, counts) in enumerate(map_ordered(write, islice(export.samples, done, None), export.workers), start=done + 1):
        record(number, item)
        log.append({"split": item.split, "annotations": len(item.sample.annotations), "counts": counts})
        export.progress(number, export.total)
        if number % FRAMES_PER_CHECKPOINT == 0:
            draft.checkpoint({"done": number})
    frames, annotations, others = Counter[str](), Counter[str](), Counter[str]()
    for entry in log:
        frames[entry["split"]] += 1
        annotations[entry["split"]] += entry["annotations"]
        others.update(entry["counts"])
    return ExportSummary(dict(frames), dict(annotations), dict(sorted(others.items())))


def place(source: Path, target: Path) -> str:
    """Make `target` a hard link to `source`, or a copy where links are not possible.

    An existing target is unlinked first, never written into: it may be a link itself.

    Returns:
        `hard_linked` or `copied`.

    Raises:
        InputError: the source does not exist.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise InputError(f"{source} is missing, although the frames list it. Extract or import them again.") from error
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
        return "copied"
    return "hard_linked"


def image_path(sample: Sample) -> Path:
    """Where the left image of a frame lies.

    Raises:
        InputError: the frame has none.
    """
    path = sample.path(sample.image)
    if path is None:
        raise InputError(f"Frame {sample.frame_id!r} is selected but has no image. Extract or import it again.")
    return path


def write_mask(path: Path, mask_rle: Mapping[str, Any] | None) -> str:
    """Write a mask as PNG, one channel, 0 and 255.

    Args:
        path: of the PNG.
        mask_rle: `{"size": [H, W], "counts": text}`; None writes nothing.

    Returns:
        `masks` or `without_mask`.
    """
    if mask_rle is None:
        return "without_mask"
    write_png(path, rle.decode(mask_rle).astype(np.uint8) * 255)
    return "masks"


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image as PNG; a full disk is an error, which OpenCV's own writing keeps to itself.

    Args:
        path: of the PNG; what is there is unlinked, never written into: it may be a link.
        image: `(H, W)` or `(H, W, 3)` BGR.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
