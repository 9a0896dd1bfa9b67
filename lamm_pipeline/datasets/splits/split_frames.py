"""What a split is made from: the columns of the sample table that it depends on, and where frames were in the previous split."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline import sample_table

SPLITS = ("train", "val", "test")
NOWHERE = -1
NEWCOMER = -2
LOOK_ALIKE = -3
GUARD_GAP = "guard_gap"
NEAR_DUPLICATE = "near_duplicate"
COLUMNS = ["frame_id", "recording", "frame_index", "timestamp_ns", "image_hash", "annotations.list.element.class_id"]

Codes = NDArray[np.int8]
"""Place of each frame's split in `SPLITS`. Frames in none have `NOWHERE`, because of a gap, or `LOOK_ALIKE`, because they look like a frame
in another split; `NEWCOMER` is for those that a previous split does not know."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class SplitFrames:
    """The frames of a version, in any order.

    Attributes:
        frame_ids: `(N,)` texts.
        recordings: names of the recordings, sorted.
        recording: `(N,)` place of each frame's recording there.
        frame_index: `(N,)` index of each frame in its recording.
        place: `(N,)` number of each frame among all frames of its recording that the version knows, kept or not. Gaps count these: they are
            as wide where frames were extracted with a stride, and what was not kept is part of them.
        first_stamps: of each recording, None where no frame has one.
        image_hash: `(N,)` uint64, 0 where there is none.
        hashed: `(N,)` whether there is one.
        classes: class ids, sorted.
        owner: `(A,)` place of the frame that an annotation is on, ascending.
        label: `(A,)` place of its class.
    """

    frame_ids: pa.ChunkedArray
    recordings: tuple[str, ...]
    recording: Places
    frame_index: Places
    place: Places
    first_stamps: tuple[int | None, ...]
    image_hash: NDArray[np.uint64]
    hashed: NDArray[np.bool_]
    classes: tuple[str, ...]
    owner: Places
    label: Places

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.recording)

    @cached_property
    def sizes(self) -> Places:
        """`(R,)` frames of each recording."""
        return np.bincount(self.recording, minlength=len(self.recordings))

    @cached_property
    def order(self) -> Places:
        """The frames by recording and place in it: an order that does not depend on the one given."""
        return np.lexsort((self.frame_index, self.recording))

    @cached_property
    def classes_on(self) -> tuple[Places, Places]:
        """Each class on each frame once: places of the frames, ascending, and of the classes."""
        both = np.unique(self.owner * max(len(self.classes), 1) + self.label)
        return both // max(len(self.classes), 1), both % max(len(self.classes), 1)

    def draws(self, seed: int) -> NDArray[np.uint64]:
        """`(N,)` a random number for each frame, which depends on its recording, its place there, and the seed alone.

        The mixer is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
        """
        names = [hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for name in self.recordings]
        starts = np.array([int.from_bytes(each, "little") for each in names], np.uint64)
        mixed = starts[self.recording] + self.frame_index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def read_frames(samples: Path, selection: Path) -> SplitFrames:
    """Read what a split depends on.

    Args:
        samples: a table of samples.
        selection: a table of all frames that these were kept of, with the columns `recording` and `frame_index`.

    Raises:
        InputError: the file is missing or is no such table.
    """
    batches = list(sample_table.read_batches(samples, columns=COLUMNS))
    schema = pa.schema([sample_table.SCHEMA.field(name) for name in ("frame_id", "recording", "frame_index", "timestamp_ns", "image_hash")])
    columns = {name: pa.chunked_array([batch.column(name) for batch in batches], schema.field(name).type) for name in schema.names}
    lengths = [batch.column("annotations").value_lengths() for batch in batches]
    counts = pa.chunked_array(lengths, pa.int32()).fill_null(0).to_numpy().astype(np.int64)
    labels = pa.chunked_array([batch.column("annotations").flatten().field("class_id") for batch in batches], pa.string())
    recordings, recording = encoded(columns["recording"])
    classes, label = encoded(labels)
    stamps = pa.table({"recording": recording, "stamp": columns["timestamp_ns"]}).group_by("recording").aggregate([("stamp", "min")])
    frame_index = columns["frame_index"].to_numpy()
    first = dict(zip(stamps["recording"].to_pylist(), stamps["stamp_min"].to_pylist(), strict=True))
    return SplitFrames(
        frame_ids=columns["frame_id"],
        recordings=recordings,
        recording=recording,
        frame_index=frame_index,
        place=_places(recordings, recording, frame_index, pq.read_table(selection, columns=["recording", "frame_index"])),
        first_stamps=tuple(first[number] for number in range(len(recordings))),
        image_hash=columns["image_hash"].fill_null(0).to_numpy(),
        hashed=columns["image_hash"].is_valid().to_numpy(),
        classes=classes,
        owner=np.repeat(np.arange(len(counts)), counts),
        label=label,
    )


def _places(recordings: tuple[str, ...], recording: Places, frame_index: Places, known: pa.Table) -> Places:
    """Numbers of frames among all that are known of their recordings."""
    known_recording = pc.index_in(known["recording"], pa.array(recordings, pa.string()))
    there = known_recording.is_valid().to_numpy()
    known_index = known["frame_index"].to_numpy()[there]
    span = int(known_index.max(initial=0)) + 1
    keys = np.unique(known_recording.drop_null().to_numpy().astype(np.int64) * span + known_index)
    return np.asarray(keys.searchsorted(recording * span + frame_index) - keys.searchsorted(recording * span), np.int64)


def previous_codes(frames: SplitFrames, previous: pa.Table) -> tuple[Codes, int]:
    """Where frames were.

    Args:
        frames: those to be placed now.
        previous: rows of a split, with the columns `frame_id`, `split` and `reason`.

    Returns:
        `(N,)` codes, and the number of frames of the previous split that are not there any more.
    """
    known = pc.index_in(frames.frame_ids, previous["frame_id"].combine_chunks()).fill_null(-1).to_numpy()
    splits: Any = pc.index_in(previous["split"], pa.array(SPLITS)).fill_null(NOWHERE)
    looked_alike: Any = pc.equal(previous["reason"], NEAR_DUPLICATE).fill_null(False)
    there = np.append(np.where(looked_alike, LOOK_ALIKE, splits), NEWCOMER).astype(np.int8)
    return there[known], len(previous) - int(np.count_nonzero(known >= 0))


def encoded(texts: pa.ChunkedArray) -> tuple[tuple[str, ...], Places]:
    """The different texts of a column, sorted, and the place of each row's among them."""
    names = pc.unique(texts).sort()
    return tuple(names.to_pylist()), pc.index_in(texts, names).to_numpy().astype(np.int64)
