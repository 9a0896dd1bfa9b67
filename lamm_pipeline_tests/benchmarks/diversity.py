"""Image hashes and motion against imagehash, which hashes alone; and how long other thresholds take on 10,000 frames."""

import statistics
from collections.abc import Callable
from functools import partial

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lamm_pipeline.curation.diversity_selection import select_diverse
from lamm_pipeline.extraction.diversity import motion, signature
from lamm_pipeline_tests.benchmarks.harness import Means, Row, now, take_turns

WIDTH, HEIGHT = 1280, 720
FRAMES = 10_000
RATIO = 0.2
LIMIT_S = 1.0
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
Picture = NDArray[np.uint8]


def run(means: Means) -> list[Row]:
    pictures = [_picture(seed) for seed in range(2 if means.tiny else 30)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # imagehash has one as well, and a stage gives each frame one
    took = take_turns({"ours": partial(ours, pictures), "imagehash": partial(theirs, pictures)}, 1 if means.tiny else 7)
    cv2.setNumThreads(threads)
    ratio = statistics.median(a.cpu / b.cpu for a, b in zip(took["ours"].rounds, took["imagehash"].rounds, strict=True))
    mine, other = (1e3 * took[name].median.cpu / len(pictures) for name in ("ours", "imagehash"))
    note = "reference: the hash of 256 bits by imagehash, from an RGB array; ours: both hashes and motion"
    return [
        Row(f"CPU milliseconds a frame of {WIDTH}x{HEIGHT}", mine, other, at_most=RATIO, paired=ratio, note=note),
        *(_thresholds(what, make, 500 if means.tiny else FRAMES) for what, make in (("all different", different), ("a drive", drive))),
    ]


def ours(pictures: list[Picture]) -> None:
    previous = None
    for picture in pictures:
        found = signature(picture)
        motion(found.blurred, previous)
        previous = found.blurred


def theirs(pictures: list[Picture]) -> None:
    for picture in pictures:
        imagehash.dhash(Image.fromarray(picture), hash_size=16)


def different(count: int) -> NDArray[np.uint64]:
    """Hashes that have nothing to do with each other: every frame is kept, and compared with all kept before."""
    return np.random.default_rng(0).integers(0, 2**64, (count, 4), np.uint64)


def drive(count: int) -> NDArray[np.uint64]:
    """Hashes that change by five bits from frame to frame."""
    draw = np.random.default_rng(0)
    turned = np.zeros((count, 256), np.uint8)
    for _ in range(5):
        turned[np.arange(count), draw.integers(0, 256, count)] ^= 1
    bits = np.bitwise_xor.accumulate(turned, axis=0)
    return np.packbits(bits, axis=1).view(np.uint64)


def _thresholds(what: str, make: Callable[[int], NDArray[np.uint64]], count: int) -> Row:
    """The slowest of the thresholds."""
    dhash, moved = make(count), np.ones(count)
    seconds = {}
    for threshold in THRESHOLDS:
        began = now()
        select_diverse(dhash, moved, threshold, 0.02)
        seconds[threshold] = (now() - began).cpu
    slowest = max(seconds, key=seconds.__getitem__)
    note = f"reference: limit; the slowest of {len(THRESHOLDS)} thresholds, {slowest:g}"
    return Row(f"CPU seconds to select from {count} frames, {what}", seconds[slowest], LIMIT_S, at_most=1.0, note=note)


def _picture(seed: int) -> Picture:
    """Smooth blobs, as photographs have them."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
