"""Images of different recordings that look alike: every pair of 64-bit hashes within a radius, without comparing all with all.

Two hashes that differ in at most r of their bits are equal in at least one of r + 1 parts of them (Norouzi, Punjani, Fleet: Fast Search in
Hamming Space with Multi-Index Hashing, CVPR 2012). So for each part the hashes are sorted by it, and only those with equal parts are
compared: neighbours first, then those two places apart, and so on until the longest run of equal parts is done. Nothing is missed, and
nothing is approximated. A part takes every (r + 1)th bit, because neighbouring bits of an image hash go together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 64
RADIUS = 5
MAX_RADIUS = 15
DENSE = 0.2

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


def near_pairs(hashes: Hashes, radius: int = RADIUS) -> tuple[Places, NDArray[np.uint8]]:
    """All pairs of hashes that differ in at most `radius` bits.

    Args:
        hashes: `(N,)` uint64. Equal ones are pairs like others, so give each hash once where there may be many.
        radius: 0 to 15.

    Returns:
        `(M, 2)` places of the hashes, the lower one first, sorted; and `(M,)` the number of bits in which they differ.

    Raises:
        ValueError: the radius is out of its bounds.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"the radius {radius} is not within 0 and {MAX_RADIUS}")
    count = len(hashes)
    found: list[Places] = []
    for part in range(radius + 1):
        key = _part(hashes, part, radius + 1)
        order = np.argsort(key, kind="stable")
        values, starts = hashes[order], np.flatnonzero(np.diff(key[order], prepend=~key[order[:1]]))
        sizes = np.diff(starts, append=count)
        following = np.repeat(starts + sizes, sizes) - np.arange(count) - 1  # with the same part
        lengths = np.bincount(following) if count else following
        left = np.cumsum(lengths[::-1])[::-1]  # how many have so many or more to be compared with
        alive = np.arange(count)
        for step in range(1, len(left)):
            if left[step] > DENSE * count:  # side by side is faster than one by one; pairs of different parts do no harm
                near = np.flatnonzero(np.bitwise_count(values[:-step] ^ values[step:]) <= radius)
            else:
                alive = alive[following[alive] >= step]
                near = alive[np.bitwise_count(values[alive] ^ values[alive + step]) <= radius]
            if near.size:
                one, other = order[near], order[near + step]
                found.append(np.minimum(one, other) * count + np.maximum(one, other))
    codes = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    pairs = np.stack([codes // max(count, 1), codes % max(count, 1)], axis=1)
    return pairs, np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])


@dataclass(frozen=True)
class Twin:
    """A frame and the frame of another recording that looks most like it.

    Attributes:
        frame_id: the frame.
        other_id: of the other recording.
        bits: in which their hashes differ.
    """

    frame_id: str
    other_id: str
    bits: int


def twins_across(hashes: Mapping[str, tuple[Sequence[str], Hashes]], radius: int = RADIUS) -> dict[tuple[str, str], list[Twin]]:
    """Find the frames of each recording that have a near-duplicate in another one.

    Args:
        hashes: by recording, frame ids and their hashes of 64 bits.
        radius: most bits in which near-duplicates differ.

    Returns:
        By recording and other recording, one `Twin` for each such frame in the order of its recording; nothing for those without any.
    """
    recordings = sorted(hashes)
    owner = np.concatenate([np.full(len(hashes[name][1]), number) for number, name in enumerate(recordings)] or [np.empty(0, np.int64)])
    frame_ids = [frame_id for name in recordings for frame_id in hashes[name][0]]
    values, which = np.unique(np.concatenate([hashes[name][1] for name in recordings] or [np.empty(0, np.uint64)]), return_inverse=True)
    frames = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which, minlength=len(values)))[:-1]) if len(values) else []
    firsts = [dict(zip(owner[each[::-1]].tolist(), each[::-1].tolist(), strict=True)) for each in frames]  # of a hash, by recording
    best: dict[tuple[int, int], tuple[int, int]] = {}

    def meet(one: int, other: int, bits: int) -> None:
        for frame in frames[one].tolist():
            for recording, twin in firsts[other].items():
                if recording != owner[frame]:
                    known = best.get((frame, recording))
                    if known is None or (bits, twin) < known:
                        best[frame, recording] = (bits, twin)

    for place, here in enumerate(firsts):
        if len(here) > 1:
            meet(place, place, 0)
    pairs, distances = near_pairs(values, radius)
    for (one, other), bits in zip(pairs.tolist(), distances.tolist(), strict=True):
        meet(one, other, bits)
        meet(other, one, bits)
    found: dict[tuple[str, str], list[Twin]] = {}
    for (frame, recording), (bits, twin) in sorted(best.items()):
        found.setdefault((recordings[owner[frame]], recordings[recording]), []).append(Twin(frame_ids[frame], frame_ids[twin], bits))
    return dict(sorted(found.items()))


def _part(hashes: Hashes, part: int, parts: int) -> NDArray[np.unsignedinteger[Any]]:
    """Every `parts`th bit of the hashes, from bit `part` on, put together; as small numbers where they fit, which sort faster."""
    key = np.zeros_like(hashes)
    for place, bit in enumerate(range(part, BITS, parts)):
        key |= ((hashes >> np.uint64(bit)) & np.uint64(1)) << np.uint64(place)
    return key.astype(np.uint16) if parts * 16 >= BITS else key
