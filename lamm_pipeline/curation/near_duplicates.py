"""Images of different recordings that look alike: every pair of 64-bit hashes within a radius, without comparing all with all.

Two hashes that differ in at most r of their bits are equal in at least one of r + 1 parts of them (Norouzi, Punjani, Fleet: Fast Search in
Hamming Space with Multi-Index Hashing, CVPR 2012). So for each part the hashes are sorted by it, and only those with equal parts are
compared: neighbours first, then those two places apart, and so on until the longest run of equal parts is done. Nothing is missed, and
nothing is approximated. A part takes every (r + 1)th bit, because neighbouring bits of an image hash go together.

Clusters and leaks between splits ask for less than all pairs: runs that can tell nothing new are left out as soon as that is known, so that
thousands of images that all look alike are little work.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
RADIUS = 5
MAX_RADIUS = 15
DENSE = 0.2
SORTING = 20  # an order of hashes takes as long as so many comparisons with each

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_Meet = Callable[[Places, Places], None]
_WorthIt = Callable[[Places, Places], NDArray[np.bool_]]


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


def near_clusters(hashes: Hashes, radius: int = RADIUS) -> Places:
    """Clusters of hashes: those within the radius of each other, and those that are linked through others.

    Args:
        hashes: `(N,)` uint64; equal ones cost nothing.
        radius: 0 to 15.

    Returns:
        `(N,)` number of the cluster, from 0, in the order in which the clusters' lowest hashes come.
    """
    values, which = np.unique(hashes, return_inverse=True)
    labels = np.arange(len(values), dtype=np.int64)

    def meet(one: Places, other: Places) -> None:
        nonlocal labels
        count = int(labels.max()) + 1
        edges = coo_array((np.ones(len(one), np.int8), (labels[one], labels[other])), shape=(count, count))
        labels = connected_components(edges, directed=False)[1].astype(np.int64)[labels]

    def not_yet_one(order: Places, starts: Places) -> NDArray[np.bool_]:
        here = labels[order]
        return np.asarray(np.minimum.reduceat(here, starts) != np.maximum.reduceat(here, starts))

    _compare(values, radius, meet, not_yet_one)
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.asarray(rank[numbers][which], np.int64)


def near_duplicates_across(hashes: Hashes, codes: NDArray[np.integer[Any]], radius: int = RADIUS) -> Places:
    """Find every image that has a near-duplicate in another part of a division.

    Args:
        hashes: `(N,)` uint64.
        codes: `(N,)` number of the part that the image is in; images with a negative one are in no part and are left out.
        radius: most bits in which near-duplicates differ, 0 to 15.

    Returns:
        `(M, 2)` places: each image that has one, in their order, and one such near-duplicate of it in another part.
    """
    inside = np.flatnonzero(codes >= 0)
    values, which = np.unique(hashes[inside], return_inverse=True)
    names, part = np.unique(codes[inside], return_inverse=True)
    first = np.full((len(values), len(names)), -1, np.int64)  # of the images with a hash, in a part
    first[which[::-1], part[::-1]] = inside[::-1]
    there = first >= 0
    parts = there.sum(axis=1)
    witness = np.full_like(first, -1)  # of the images with a hash, in a part

    def meet(one: Places, other: Places) -> None:
        for here, twin in ((one, other), (other, one)):
            for mine in range(len(names)):
                for theirs in range(len(names)):
                    if mine != theirs:
                        found = there[here, mine] & (witness[here, mine] < 0) & there[twin, theirs]
                        witness[here[found], mine] = first[twin[found], theirs]

    def may_tell(order: Places, starts: Places) -> NDArray[np.bool_]:
        lacking = np.maximum.reduceat((there & (witness < 0))[order].any(axis=1), starts)
        mixed = np.maximum.reduceat(there[order], starts, axis=0).sum(axis=1) > 1
        return np.asarray(lacking & mixed, np.bool_)

    shared = np.flatnonzero(parts > 1)
    meet(shared, shared)
    _compare(values, radius, meet, may_tell)
    found = witness[which, part]
    return np.stack([inside, found], axis=1)[found >= 0]


def _compare(values: Hashes, radius: int, meet: _Meet, worth_it: _WorthIt) -> None:
    """Tell of near pairs until nothing more is to be told.

    Args:
        values: `(U,)` hashes, each once.
        radius: 0 to 15.
        meet: is told of pairs, by their places; of some more than once.
        worth_it: asked for the places in an order and the starts of runs in it, whether pairs within each run could tell anything new.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"the radius {radius} is not within 0 and {MAX_RADIUS}")
    count = len(values)
    for key, turned in _keys(values, radius):
        order = np.argsort(turned)
        here = turned[order]
        sizes = np.diff(np.flatnonzero(np.diff(here & key, prepend=~here[:1])), append=count)
        order, sizes = _runs(order, sizes, sizes > 1)
        step = 0
        while order.size:
            if step & (step - 1) == 0:  # 0 and the powers of two
                order, sizes = _runs(order, sizes, worth_it(order, np.cumsum(sizes) - sizes) & (sizes > step + 1))
                following = np.repeat(np.cumsum(sizes), sizes) - np.arange(order.size) - 1
                alive, here = np.arange(order.size), values[order]
            step += 1
            alive = alive[following[alive] >= step]
            near = alive[np.bitwise_count(here[alive] ^ here[alive + step]) <= radius]
            if near.size:
                meet(order[near], order[near + step])
            elif not alive.size:
                break


def _keys(values: Hashes, radius: int) -> Iterator[tuple[np.uint64, Hashes]]:
    """Ways to look at hashes so that any two within the radius are equal in the key of at least one.

    Of r + k parts k are equal. More parts make longer keys, so shorter runs, but more of them.

    Yields:
        The bits of the key, which are the highest, and `(U,)` the hashes with their bits in another order.
    """
    count = len(values)
    chosen = min(range(1, 4), key=lambda k: math.comb(radius + k, k) * (SORTING + count / 2 ** (BITS * k / (radius + k))))
    parts = [np.zeros_like(values) for _ in range(radius + chosen)]
    widths = [0] * len(parts)
    for bit in range(BITS):  # a part takes every (r + k)th bit, because neighbouring bits of an image hash go together
        part = bit % len(parts)
        parts[part] |= ((values >> np.uint64(bit)) & np.uint64(1)) << np.uint64(widths[part])
        widths[part] += 1
    for equal in itertools.combinations(range(len(parts)), chosen):
        turned, room = np.zeros_like(values), BITS
        for part in sorted(range(len(parts)), key=lambda part: part not in equal):
            room -= widths[part]
            turned |= parts[part] << np.uint64(room)
        length = sum(widths[part] for part in equal)
        yield np.uint64(2**BITS - 2 ** (BITS - length)), turned


def _runs(order: Places, sizes: Places, kept: NDArray[np.bool_]) -> tuple[Places, Places]:
    """Those runs of an order that are kept, and their sizes."""
    return order[np.repeat(kept, sizes)], sizes[kept]


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
