"""Frames to be split, made without any files."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamm_pipeline.datasets.splits.split_frames import SPLITS, SplitFrames


def frames_of(
    counts: Mapping[str, int],
    *,
    labels: Sequence[Sequence[str]] | None = None,
    hashes: NDArray[np.uint64] | None = None,
    stamps: Mapping[str, int | None] | None = None,
    places: Mapping[str, Sequence[int]] | None = None,
    shuffle: int | None = None,
) -> SplitFrames:
    """Frames of recordings of some lengths.

    Args:
        counts: frames by recording.
        labels: classes on each frame, in the recordings' order; `car` on all by default.
        hashes: of each frame; none by default.
        stamps: of the recordings' first frames; none by default.
        places: of each recording's frames in it, ascending; from 0 on without a step by default.
        shuffle: seed of another order of the frames.
    """
    names = [name for name, count in counts.items() for _ in range(count)]
    there = {name: (places or {}).get(name, range(count)) for name, count in counts.items()}
    index = np.array([place for each in there.values() for place in each], np.int64)
    labels = labels or [["car"]] * len(names)
    order = np.arange(len(names)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(names))
    recordings = tuple(sorted(name for name, count in counts.items() if count))
    classes = tuple(sorted({label for each in labels for label in each}))
    shuffled = [labels[place] for place in order]
    return SplitFrames(
        frame_ids=pa.chunked_array([[f"{names[place]}:{index[place]:06d}" for place in order]], pa.string()),
        recordings=recordings,
        recording=np.array([recordings.index(names[place]) for place in order], np.int64),
        frame_index=index[order],
        place=index[order],
        first_stamps=tuple((stamps or {}).get(name) for name in recordings),
        image_hash=np.zeros(len(names), np.uint64) if hashes is None else hashes[order],
        hashed=np.full(len(names), hashes is not None),
        classes=classes,
        owner=np.repeat(np.arange(len(names)), [len(each) for each in shuffled]),
        label=np.array([classes.index(label) for each in shuffled for label in each], np.int64),
    )


def nearest_of_two_splits(frames: SplitFrames, codes: NDArray[np.int8]) -> dict[str, int]:
    """How many frames of a recording lie between its two nearest frames of different splits, of each recording that is in more than one."""
    found = {}
    for number, name in enumerate(frames.recordings):
        here = np.flatnonzero((frames.recording == number) & (codes >= 0))
        index, code = frames.frame_index[here], codes[here]
        between = np.abs(index[:, None] - index[None, :])[code[:, None] != code[None, :]] - 1
        if len(between):
            found[name] = int(between.min())
    return found


def where(frames: SplitFrames, codes: NDArray[np.int8]) -> dict[str, str | None]:
    """The split of each frame by its id."""
    names = [SPLITS[code] if code >= 0 else None for code in codes.tolist()]
    return dict(zip(frames.frame_ids.to_pylist(), names, strict=True))


def sizes(codes: NDArray[np.int8]) -> dict[str, int]:
    """Frames in each split that has any."""
    return {split: count for code, split in enumerate(SPLITS) if (count := int(np.count_nonzero(codes == code)))}


def splits_of(frames: SplitFrames, codes: NDArray[np.int8]) -> dict[str, set[str]]:
    """The splits that each recording is in."""
    return {
        name: {SPLITS[code] for code in codes[frames.recording == number].tolist() if code >= 0}
        for number, name in enumerate(frames.recordings)
    }
