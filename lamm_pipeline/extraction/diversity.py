"""How much frames differ: a difference hash for repetition and a motion score for standstill.

Both are computed on the grey image shrunk to a quarter. The hash is that of `imagehash.dhash(hash_size=16)` up to a few bits: 17x16
pixels by Lanczos, each compared with its left neighbour. Motion is the mean absolute difference of Gaussian-blurred grey images (sigma 2
pixels of the full image; the shrinking already blurs by 1.1 of them) over 255, between a frame and the one before it in the file.
"""

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FailedFrame, FrameRecord, FrameRegistry
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

FILE_NAME = "diversity_metrics.parquet"
SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("svo2_frame_index", pa.int64()),
        ("dhash", pa.string()),
        ("motion", pa.float64()),
        ("failure", pa.string()),
    ]
)
MAX_BAD_SHARE = 0.2

HASH_BITS = 256
HASH_WIDTH, HASH_HEIGHT = 17, 16
SHRINK = 4
MOTION_SIGMA = 2.0
FIRST_MOTION = 1.0

Grey = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Signature:
    """What is kept of an image to compare it with others.

    Attributes:
        dhash: `(4,)` uint64, most significant bits first.
        blurred: `(H / 4, W / 4)` uint8, for the motion score of the next frame.
    """

    dhash: Hashes
    blurred: Grey


def signature(image_bgr: NDArray[np.uint8]) -> Signature:
    """Hash and blurred image of `image_bgr`, `(H, W, 3)` uint8."""
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    size = (max(1, grey.shape[1] // SHRINK), max(1, grey.shape[0] // SHRINK))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    # The variance of a box of n pixels is (n^2 - 1) / 12; the Gaussian adds what is missing to sigma 2.
    sigma = math.sqrt(MOTION_SIGMA**2 - (SHRINK**2 - 1) / 12) / SHRINK
    return Signature(_dhash_of_grey(small), np.asarray(cv2.GaussianBlur(small, (0, 0), sigma), np.uint8))


def motion(blurred: Grey, previous_blurred: Grey | None) -> float:
    """Motion score in 0..1 of a frame relative to the one before it; 1.0 for the first frame (None)."""
    if previous_blurred is None:
        return FIRST_MOTION
    return float(cv2.absdiff(blurred, previous_blurred).mean() / 255.0)


def similarity(first: Hashes, second: Hashes) -> NDArray[np.float64]:
    """1 - Hamming distance / 256 of hashes `(..., 4)`; shapes broadcast."""
    different = np.bitwise_count(first ^ second).sum(axis=-1, dtype=np.int64)
    return np.asarray(1.0 - different / HASH_BITS, np.float64)


def to_hex(dhash: Hashes) -> str:
    """64 hexadecimal digits of a hash, as `imagehash` prints it."""
    return dhash.astype(">u8").tobytes().hex()


def from_hex(text: str) -> Hashes:
    """Inverse of `to_hex`."""
    return np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64)


class DiversityFilter:
    """Decides frame by frame, in file order, which to keep.

    A frame with less motion than the threshold is still (never the first one). Otherwise it is compared with all frames kept so far, and
    repeated when its similarity to one of them is strictly above the threshold; the first such frame counts.
    """

    def __init__(self, similarity_threshold: float, motion_threshold: float) -> None:
        self._similarity_threshold = similarity_threshold
        self._motion_threshold = motion_threshold
        self._hashes: Hashes = np.empty((64, 4), np.uint64)
        self._names: list[str] = []

    def judge(self, dhash: Hashes, motion_score: float) -> str | None:
        """Why a frame is to be dropped, None when it is to be kept; `keep` must then be told."""
        if self._names and motion_score < self._motion_threshold:
            return f"still: motion {motion_score:.4f} is below {self._motion_threshold:g}"
        values = similarity(self._hashes[: len(self._names)], dhash)
        matches = np.flatnonzero(values > self._similarity_threshold)
        if matches.size == 0:
            return None
        first = int(matches[0])
        return f"repeated: similarity {values[first]:.4f} to {self._names[first]} is above {self._similarity_threshold:g}"

    def keep(self, dhash: Hashes, name: str) -> None:
        """Remember a kept frame."""
        if len(self._names) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self._names)] = dhash
        self._names.append(name)


@dataclass(frozen=True)
class DiversityMetrics:
    """The metrics of a recording's frames, in file order; N counts those whose image could be read.

    Attributes:
        frame_ids: one a frame.
        failed_frames: those whose image could not be read.
        svo2_frame_index: `(N,)` int64.
        dhash: `(N, 4)` uint64.
        motion: `(N,)` float64.
    """

    frame_ids: tuple[str, ...]
    svo2_frame_index: NDArray[np.int64]
    dhash: Hashes
    motion: NDArray[np.float64]
    failed_frames: tuple[FailedFrame, ...]


def diversity_metrics(
    registry: FrameRegistry,
    folder: Path,
    draft: Draft,
    progress: Progress = no_progress,
    *,
    workers: int | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> DiversityMetrics:
    """Compute the metrics of all published frames and write `diversity_metrics.parquet`.

    A frame whose image cannot be read gets a row with the reason in `failure` and no values; motion is relative to the last readable frame.

    Args:
        registry: the frames.
        folder: the folder they lie in.
        draft: where to write; resumable.
        progress: told after each frame.
        workers: threads.
        max_bad_share: largest share of frames that may be unreadable.

    Returns:
        What was written.

    Raises:
        InputError: more images than that cannot be read.
    """
    frames = registry.selected_frames
    log = draft.log("diversity.jsonl")
    done = int(draft.state.get("done", 0))
    readable = (found for frame in reversed(frames[:done]) if (found := _read_signature(folder, frame)) is not None)
    previous = next((found.blurred for found in readable), None)
    pairs = map_ordered(functools.partial(_read_signature, folder), frames[done:], workers)
    for count, (frame, current) in enumerate(pairs, start=done + 1):
        row: dict[str, object] = {"frame_id": frame.frame_id, "svo2_frame_index": frame.svo2_frame_index}
        if current is None:
            row |= {"dhash": None, "motion": None, "failure": f"the image {frame.image_left} is missing or damaged"}
        else:
            row |= {"dhash": to_hex(current.dhash), "motion": motion(current.blurred, previous), "failure": None}
            previous = current.blurred
        log.append(row)
        progress(count, len(frames))
        if count % CHECKPOINT_EVERY == 0:
            draft.checkpoint({"done": count})
    failures = [str(row["failure"]) for row in log if row["failure"] is not None]
    if len(failures) > max_bad_share * len(frames):
        raise InputError(
            f"{len(failures)} of the {len(frames)} frames of {registry.recording} cannot be read (the first: {failures[0]}); extract them "
            "again."
        )
    path = draft.directory / FILE_NAME
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for batch in _batches(log, 10_000):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
    return read_metrics(path)


def read_metrics(path: Path) -> DiversityMetrics:
    """Read `diversity_metrics.parquet`."""
    table = pq.read_table(path, schema=SCHEMA)
    failed = table.filter(pc.is_valid(table["failure"])).to_pylist()
    table = table.filter(pc.is_null(table["failure"]))
    hashes = [from_hex(text) for text in table["dhash"].to_pylist()]
    return DiversityMetrics(
        frame_ids=tuple(table["frame_id"].to_pylist()),
        svo2_frame_index=table["svo2_frame_index"].to_numpy(),
        dhash=np.array(hashes, np.uint64).reshape(-1, 4),
        motion=table["motion"].to_numpy(),
        failed_frames=tuple(FailedFrame(row["svo2_frame_index"], row["failure"]) for row in failed),
    )


def _read_signature(folder: Path, frame: FrameRecord) -> Signature | None:
    image = cv2.imread(str(folder / str(frame.image_left)), cv2.IMREAD_COLOR)
    return None if image is None else signature(np.asarray(image, np.uint8))


def _dhash_of_grey(grey: Grey) -> Hashes:
    horizontal = _round(grey.astype(np.float64) @ _lanczos(grey.shape[1], HASH_WIDTH).T)
    pixels = _round(_lanczos(grey.shape[0], HASH_HEIGHT) @ horizontal)
    bits = pixels[:, 1:] > pixels[:, :-1]
    return np.packbits(bits).view(">u8").astype(np.uint64)


def _round(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To whole grey levels, as image libraries do after each pass; ties then fall as theirs do."""
    return np.clip(np.floor(values + 0.5), 0, 255)


@functools.lru_cache(maxsize=16)
def _lanczos(size: int, target: int) -> NDArray[np.float64]:
    """`(target, size)` weights that resample `size` pixels to `target` with the Lanczos kernel of three lobes, widened when shrinking."""
    scale = size / target
    widening = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    x = (np.arange(size)[None, :] + 0.5 - centre[:, None]) / widening
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _batches(rows: Iterable[dict[str, object]], size: int) -> Iterator[list[dict[str, object]]]:
    batch: list[dict[str, object]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
