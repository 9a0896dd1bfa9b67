"""Clusters of boxes by the index against the plain loops over pairs, and what 100,000 boxes take."""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.review.clustering import Algorithm, cluster_boxes
from lamm_pipeline_tests.benchmarks.harness import Means, Row, now, take_turns

BOXES, FEW = 100_000, 2_000
IOU = 0.3
LIMIT_S = 10.0
RATIO = 0.1
Boxes = NDArray[np.float64]


def run(means: Means) -> list[Row]:
    rows = []
    many, few, rounds = (2_000, 200, 1) if means.tiny else (BOXES, FEW, 5)
    for scene, make in {"scattered boxes": scattered, "parked and passing cars": street}.items():
        for algorithm, loop in {Algorithm.union_find: single_link, Algorithm.greedy_s4: greedy}.items():
            boxes = make(few)
            variants: dict[str, Callable[[], object]] = {
                "index": partial(cluster_boxes, boxes, np.arange(few), iou_threshold=IOU, algorithm=algorithm),
                "loop": partial(loop, boxes.tolist()),
            }
            assert cluster_boxes(boxes, np.arange(few), iou_threshold=IOU, algorithm=algorithm).max() + 1 == loop(boxes.tolist())
            took = take_turns(variants, rounds)
            ratio = statistics.median(a.cpu / b.cpu for a, b in zip(took["index"].rounds, took["loop"].rounds, strict=True))
            ours, theirs = (took[name].median.cpu for name in ("index", "loop"))
            what = f"{scene}, {algorithm}"
            rows.append(
                Row(f"{what}: CPU seconds, {few} boxes", ours, theirs, at_most=RATIO, paired=ratio, note="reference: loop over pairs")
            )
            boxes = make(many)
            began = now()
            clusters = int(cluster_boxes(boxes, np.arange(many), iou_threshold=IOU, algorithm=algorithm).max()) + 1
            note = f"reference: limit; {clusters} clusters"
            rows.append(Row(f"{what}: CPU seconds, {many} boxes", (now() - began).cpu, LIMIT_S, at_most=1.0, note=note))
    return rows


def scattered(count: int) -> Boxes:
    """Boxes of 5 to 60 pixels anywhere in an image of 1920x1080, the same however often it is asked."""
    draw = np.random.default_rng(0)
    centers = draw.uniform(0, 1, (count, 2)) * (1920, 1080)
    return _around(centers, np.exp(draw.uniform(np.log(5), np.log(60), (count, 2))))


def street(count: int) -> Boxes:
    """Five cars a frame: three that are parked, two that pass by again and again; boxes tremble as a detector's do."""
    draw = np.random.default_rng(0)
    frames, cars = np.divmod(np.arange(count), 5)
    centers = np.column_stack([150.0 + 250 * cars, 300.0 + 40 * cars])
    passing = cars >= 3
    centers[passing, 0] = (frames[passing] * 7.0 + 400 * cars[passing]) % 1920
    centers[passing, 1] = 550.0 + 120 * (cars[passing] - 3)
    return _around(centers + draw.normal(0, 2, (count, 2)), 60.0 * np.exp(draw.normal(0, 0.05, (count, 2))))


def single_link(boxes: list[list[float]]) -> int:
    """Clusters that a union-find over all pairs makes."""
    parents = list(range(len(boxes)))

    def root(box: int) -> int:
        while parents[box] != box:
            parents[box] = parents[parents[box]]
            box = parents[box]
        return box

    for one, place in enumerate(boxes):
        for other in range(one):
            if _iou(place, boxes[other]) > IOU:
                parents[root(one)] = root(other)
    return sum(root(box) == box for box in range(len(boxes)))


def greedy(boxes: list[list[float]]) -> int:
    """Clusters of the annotation tool's scan."""
    count = 0
    while boxes:
        left: list[list[float]] = []
        cluster = [boxes[0]]
        for box in boxes[1:]:
            (cluster if any(_iou(box, each) > IOU for each in cluster) else left).append(box)
        boxes = left
        count += 1
    return count


def _around(centers: Boxes, sizes: Boxes) -> Boxes:
    return np.hstack([centers - sizes / 2, centers + sizes / 2])


def _iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)
