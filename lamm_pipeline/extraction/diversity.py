"""How much frames differ: difference hashes for repetition and a motion score for standstill.

All are computed on the grey image shrunk to a quarter. The hashes are those of `imagehash.dhash` up to a few bits: 17x16 pixels (256 bits,
`hash_size=16`, for the frames of one recording) and 9x8 pixels (64 bits, `hash_size=8`, to find near-duplicates among many recordings) by
Lanczos, each compared with its left neighbour. Motion is the mean absolute difference of Gaussian-blurred grey images (sigma 2
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
        ("dhash64", pa.string()),
        ("motion", pa.float64()),
        ("failure", pa.string()),
    ]
)
MAX_BAD_SHARE = 0.2

HASH_BITS = 256
HASH_WIDTH, HASH_HEIGHT = 17, 16
SMALL_WIDTH, SMALL_HEIGHT = 9, 8
SHRINK = 4
ONE_THREAD = 250_000  # multiplications; for larger products the library starts threads that wait for each other longer than the work takes
MOTION_SIGMA = 2.0
FIRST_MOTION = 1.0

Grey = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Signature:
    """What is kept of an image to compare it with others.

    Attributes:
        dhash: `(4,)` uint64, most significant bits first.
        dhash64: the hash of 64 bits.
        blurred: `(H / 4, W / 4)` uint8, rounded up, for the motion score of the next frame.
    """

    dhash: Hashes
    dhash64: int
    blurred: Grey


def signature(image_bgr: NDArray[np.uint8]) -> Signature:
    """Hashes and blurred image of `image_bgr`, `(H, W, 3)` uint8."""
    grey = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
    small = _quarter(grey)
    # The variance of a box of n pixels is (n^2 - 1) / 12; the Gaussian adds what is missing to sigma 2.
    sigma = math.sqrt(MOTION_SIGMA**2 - (SHRINK**2 - 1) / 12) / SHRINK
    columns = _resampled(small, grey.shape)
    dhash = _dhash(columns[:, :HASH_WIDTH], grey.shape[0], HASH_HEIGHT)
    dhash64 = int(_dhash(columns[:, HASH_WIDTH:], grey.shape[0], SMALL_HEIGHT)[0])
    return Signature(dhash, dhash64, np.asarray(cv2.GaussianBlur(np.rint(small).astype(np.uint8), (0, 0), sigma), np.uint8))


def small_hash(grey: Grey) -> int:
    """`Signature.dhash64` of an image of the grey values `grey`, `(H, W)` uint8, alone."""
    columns = _resampled(_quarter(grey), grey.shape)[:, HASH_WIDTH:]
    return int(_dhash(columns, grey.shape[0], SMALL_HEIGHT)[0])


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
        dhash64: `(N,)` uint64.
        motion: `(N,)` float64.
    """

    frame_ids: tuple[str, ...]
    svo2_frame_index: NDArray[np.int64]
    dhash: Hashes
    dhash64: Hashes
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
            row |= {"dhash": None, "dhash64": None, "motion": None, "failure": f"the image {frame.image_left} is missing or damaged"}
        else:
            hashes = {"dhash": to_hex(current.dhash), "dhash64": f"{current.dhash64:016x}"}
            row |= {**hashes, "motion": motion(current.blurred, previous), "failure": None}
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
    """Read `diversity_metrics.parquet`.

    Raises:
        InputError: an earlier version has written it, without the hash of 64 bits.
    """
    table = pq.read_table(path, schema=SCHEMA)
    failed = table.filter(pc.is_valid(table["failure"])).to_pylist()
    table = table.filter(pc.is_null(table["failure"]))
    if table["dhash64"].null_count:
        raise InputError(f"{path} lacks the hash of 64 bits: an earlier version made it. Materialize `diversity_metrics` again.")
    hashes = [from_hex(text) for text in table["dhash"].to_pylist()]
    return DiversityMetrics(
        frame_ids=tuple(table["frame_id"].to_pylist()),
        svo2_frame_index=table["svo2_frame_index"].to_numpy(),
        dhash=np.array(hashes, np.uint64).reshape(-1, 4),
        dhash64=np.array([int(text, 16) for text in table["dhash64"].to_pylist()], np.uint64),
        motion=table["motion"].to_numpy(),
        failed_frames=tuple(FailedFrame(row["svo2_frame_index"], row["failure"]) for row in failed),
    )


def _read_signature(folder: Path, frame: FrameRecord) -> Signature | None:
    image = cv2.imread(str(folder / str(frame.image_left)), cv2.IMREAD_COLOR)
    return None if image is None else signature(np.asarray(image, np.uint8))


def _quarter(grey: Grey) -> NDArray[np.float32]:
    """Shrink to a quarter in two halvings, for which the library has fast code; odd edges are repeated until they divide."""
    below, right = (-side % SHRINK for side in grey.shape)
    if below or right:
        grey = np.asarray(cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    height, width = grey.shape
    half = np.asarray(cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.resize(half, (width // SHRINK, height // SHRINK), interpolation=cv2.INTER_AREA), np.float32)


def _resampled(small: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """An image with the columns of both hashes, side by side.

    Args:
        small: the image shrunk to a quarter.
        shape: of the image before.
    """
    weights = _columns(small.shape[1], shape[1])
    rows = max(1, ONE_THREAD // weights.size)
    return _round(np.vstack([small[start : start + rows] @ weights for start in range(0, len(small), rows)]).astype(np.float64))


def _dhash(columns: NDArray[np.float64], full_height: int, height: int) -> Hashes:
    """The hash of an image whose columns are resampled already, of which it gets `height` rows."""
    pixels = _round(_lanczos(len(columns), full_height, height) @ columns)
    return np.packbits(pixels[:, 1:] > pixels[:, :-1]).view(">u8").astype(np.uint64)


@functools.lru_cache(maxsize=16)
def _columns(size: int, full_size: int) -> NDArray[np.float32]:
    """`(size, 17 + 9)` weights that resample the columns of an image for both hashes at once."""
    weights = [_lanczos(size, full_size, width) for width in (HASH_WIDTH, SMALL_WIDTH)]
    return np.ascontiguousarray(np.vstack(weights).T, np.float32)


def _round(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To whole grey levels, as image libraries do after each pass; ties then fall as theirs do."""
    return np.clip(np.floor(values + 0.5), 0, 255)


@functools.lru_cache(maxsize=64)
def _lanczos(size: int, full_size: int, target: int) -> NDArray[np.float64]:
    """Weights that resample an image to `target` pixels with the Lanczos kernel of three lobes, widened when shrinking.

    Args:
        size: pixels of the image that was shrunk to a quarter; the last one may stand for fewer of those before.
        full_size: pixels of the image before.
        target: pixels wanted.

    Returns:
        `(target, size)`.
    """
    scale = full_size / SHRINK / target
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
