"""Which boxes of a recording are one object: those that overlap, whatever frames they are of.

Two boxes are linked when their IoU is strictly greater than a threshold, so that 0 means "any overlap". Links become clusters in two ways:

- `union_find`: single link. Boxes are of one cluster when a chain of links leads from one to the other. The order of the boxes makes no
  difference.
- `greedy_s4`: as the annotation tool does it that the format comes from. The first box left, in the order of recording, begins a cluster;
  the boxes behind it are gone through once, and each that is linked to any box already in the cluster joins it. A box that stands before
  its bridge is left for a later cluster, so the result depends on the order.

Both are the same walk: a cluster is what can be reached from its first box among the boxes that are still free, by any links or only by
those that lead on in the order of recording. The free boxes get less and less, and partners are looked for in leaves of boxes alike in
place, size and time; so neither 100,000 scattered boxes nor a parked car in 100,000 frames costs its 5 billion pairs.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamm_pipeline.geometry.boxes_2d import area_xyxy, iou_matrix

LEAF_SIZE = 64
PAIRS_AT_ONCE = 2**18
ROUNDING = 1.0 + 1e-9
"""By how much a bound is widened, so that rounding never makes it too narrow."""

Indices = NDArray[np.intp]


class Algorithm(StrEnum):
    """How links between boxes become clusters."""

    union_find = "union_find"
    greedy_s4 = "greedy_s4"


def cluster_boxes(
    boxes_xyxy: ArrayLike,
    frames: ArrayLike,
    *,
    iou_threshold: float,
    algorithm: Algorithm = Algorithm.union_find,
    max_gap: int | None = None,
) -> Indices:
    """Number the clusters of boxes.

    Args:
        boxes_xyxy: `(N, 4)`, in the order of recording.
        frames: `(N,)` integers: place of each box's frame in time.
        iou_threshold: boxes are linked when their IoU is greater, in 0..1.
        algorithm: how links become clusters.
        max_gap: boxes are linked only when their frames lie at most this far apart; None = however far.

    Returns:
        `(N,)` cluster of each box, from 0, in the order of their first boxes. Boxes without area are linked to none.
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    links = _Links(boxes, np.asarray(frames, np.int64), iou_threshold, max_gap, onward=algorithm is Algorithm.greedy_s4)
    clusters = np.full(len(boxes), -1, np.intp)
    count = 0
    for first in range(len(boxes)):
        if clusters[first] >= 0:
            continue
        clusters[first] = count
        waiting = [first]
        while waiting:
            partners = links.of(waiting.pop(), clusters)
            partners = partners[clusters[partners] < 0]
            clusters[partners] = count
            waiting += partners.tolist()
        count += 1
    return clusters


def enclosing_box(boxes_xyxy: ArrayLike) -> tuple[float, float, float, float]:
    """The smallest box around all of `(N, 4)` boxes."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    (x1, y1), (x2, y2) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


class _Links:
    """Which boxes are linked. A leaf's links are looked up when the first of its boxes is asked about, to what is free by then.

    What a leaf's boxes have in common bounds how much they can overlap other boxes: most pairs need no closer look.
    """

    def __init__(
        self, boxes: NDArray[np.float64], frames: NDArray[np.int64], iou_threshold: float, max_gap: int | None, *, onward: bool
    ) -> None:
        self._boxes = boxes
        self._frames = frames
        self._threshold = iou_threshold
        self._max_gap = max_gap
        self._onward = onward
        areas = area_xyxy(boxes)
        self._leaves = _leaves(boxes, frames, np.flatnonzero(areas > 0.0), max_gap)
        self._leaf_of = np.full(len(boxes), len(self._leaves), np.intp)
        self._values = np.column_stack([boxes, boxes[:, 2:] - boxes[:, :2], areas, frames])
        self._lowest, self._highest = np.empty((2, len(self._leaves), self._values.shape[1]))
        for number, members in enumerate(self._leaves):
            self._leaf_of[members] = number
            self._lowest[number], self._highest[number] = self._values[members].min(axis=0), self._values[members].max(axis=0)
        self._found: dict[int, Indices] = {}

    def of(self, box: int, clusters: Indices) -> Indices:
        """Boxes linked to this one, to be asked once: all that are in no cluster (negative) now, and maybe some that are."""
        if box not in self._found:
            leaf = int(self._leaf_of[box])
            if leaf == len(self._leaves):
                return np.empty(0, np.intp)
            self._look_up(self._leaves[leaf], self._near(leaf, clusters))
        return self._found.pop(box)

    def _near(self, leaf: int, clusters: Indices) -> Indices:
        """The free boxes that may be linked to one of this leaf."""
        leaves = np.flatnonzero(self._may_link(leaf, self._lowest, self._highest))
        if not len(leaves):
            return np.empty(0, np.intp)
        near = np.concatenate([self._leaves[each] for each in leaves.tolist()])
        near = near[clusters[near] < 0]
        values = self._values[near]
        possible: Indices = near[self._may_link(leaf, values, values)]
        return possible

    def _may_link(self, leaf: int, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where boxes with such extremes, `(M, 8)` each, may be linked to one of this leaf."""
        low, high = self._lowest[leaf], self._highest[leaf]
        shared = np.minimum(highest[:, 2:4], high[2:4]) - np.maximum(lowest[:, 0:2], low[0:2])
        shared = np.clip(np.minimum(shared, np.minimum(highest[:, 4:6], high[4:6])), 0.0, None)
        common = shared[:, 0] * shared[:, 1] * ROUNDING
        union = np.maximum(lowest[:, 6] + low[6] - common, np.maximum(lowest[:, 6], low[6]))
        possible: NDArray[np.bool_] = common > self._threshold * union
        if self._max_gap is not None:
            possible &= (lowest[:, 7] <= high[7] + self._max_gap) & (highest[:, 7] >= low[7] - self._max_gap)
        return possible

    def _look_up(self, members: Indices, near: Indices) -> None:
        rows = max(1, PAIRS_AT_ONCE // max(1, len(near)))
        for begin in range(0, len(members), rows):
            some = members[begin : begin + rows]
            pairs = iou_matrix(self._boxes[some], self._boxes[near]) > self._threshold
            if self._onward:
                pairs &= near[None, :] > some[:, None]
            if self._max_gap is not None:
                pairs &= np.abs(self._frames[near][None, :] - self._frames[some][:, None]) <= self._max_gap
            counts = np.count_nonzero(pairs, axis=1)
            partners = np.split(near[np.nonzero(pairs)[1]], np.cumsum(counts)[:-1])
            self._found.update(zip(some.tolist(), partners, strict=True))


def _leaves(boxes: NDArray[np.float64], frames: NDArray[np.int64], indices: Indices, max_gap: int | None) -> list[Indices]:
    """Halve boxes along what differs most, in relation to how far linked boxes may differ, until the parts are small."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, 2:] + boxes[:, :2]) / 2.0
    leaves, waiting = [], [indices] if len(indices) else []
    while waiting:
        members = waiting.pop()
        if len(members) <= LEAF_SIZE:
            leaves.append(members)
            continue
        values = [*(centers[members] / sizes[members].mean(axis=0)).T, *np.log(sizes[members]).T]
        if max_gap is not None:
            values.append(frames[members] / (max_gap + 1.0))
        order = np.argpartition(max(values, key=np.ptp), len(members) // 2)
        waiting += [members[order[: len(members) // 2]], members[order[len(members) // 2 :]]]
    return leaves
