"""Clusters against the plain loops they stand for, on arbitrary boxes and on real ones."""

import csv
import random
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.review.clustering import Algorithm, cluster_boxes, enclosing_box

Boxes = list[tuple[float, float, float, float]]
SMOKE = {Algorithm.union_find: 35, Algorithm.greedy_s4: 40}


def naive_union_find(boxes: Boxes, frames: list[int], threshold: float, max_gap: int | None) -> list[int]:
    """Every pair is looked at; linked ones are joined."""
    parents = list(range(len(boxes)))

    def root(box: int) -> int:
        while parents[box] != box:
            box = parents[box]
        return box

    overlap = iou_matrix(boxes, boxes)
    for one in range(len(boxes)):
        for other in range(one):
            if overlap[one, other] > threshold and (max_gap is None or abs(frames[one] - frames[other]) <= max_gap):
                low, high = sorted((root(one), root(other)))
                parents[high] = low
    return numbered([root(box) for box in range(len(boxes))])


def naive_greedy(boxes: Boxes, frames: list[int], threshold: float, max_gap: int | None) -> list[int]:
    """The algorithm as the annotation tool has it: lists, one scan."""
    overlap = iou_matrix(boxes, boxes)
    remaining = list(range(len(boxes)))
    found = [0] * len(boxes)
    count = 0
    while remaining:
        cluster = [remaining.pop(0)]
        left = []
        for box in remaining:
            near = [each for each in cluster if max_gap is None or abs(frames[each] - frames[box]) <= max_gap]
            (cluster if any(overlap[box, each] > threshold for each in near) else left).append(box)
        for box in cluster:
            found[box] = count
        count += 1
        remaining = left
    return found


def numbered(labels: list[Any]) -> list[int]:
    """The same clusters, numbered in the order of their first boxes."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


NAIVE = {Algorithm.union_find: naive_union_find, Algorithm.greedy_s4: naive_greedy}

corner = st.integers(0, 30)
extent = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 30])
some_box = st.tuples(corner, corner, extent, extent).map(lambda each: (each[0], each[1], each[0] + each[2], each[1] + each[3]))
thresholds = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 2 / 3, 0.9, 1.0]) | st.floats(0.0, 1.0)


@pytest.mark.requirement("SEQ-04", "SEQ-05")
@pytest.mark.parametrize("algorithm", Algorithm)
@given(
    boxes=st.lists(st.tuples(some_box, st.integers(0, 9)), max_size=60),
    threshold=thresholds,
    max_gap=st.none() | st.integers(0, 4),
    leaf_size=st.sampled_from([1, 2, 5, 64]),
)
@settings(max_examples=150)
def test_the_index_finds_what_the_loop_over_all_pairs_finds(
    algorithm: Algorithm, boxes: list[tuple[Any, int]], threshold: float, max_gap: int | None, leaf_size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamm_pipeline.review.clustering.LEAF_SIZE", leaf_size)
        patch.setattr("lamm_pipeline.review.clustering.PAIRS_AT_ONCE", 7)
        places, frames = [each[0] for each in boxes], sorted(each[1] for each in boxes)
        found = cluster_boxes(places, frames, iou_threshold=threshold, algorithm=algorithm, max_gap=max_gap)
    assert found.tolist() == NAIVE[algorithm](places, frames, threshold, max_gap)


@pytest.mark.requirement("SEQ-05")
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("algorithm", Algorithm)
def test_hundreds_of_boxes_of_all_sizes_are_clustered_as_by_the_loop(algorithm: Algorithm, scale: float) -> None:
    draw = np.random.default_rng(3)
    centers, sizes = draw.uniform(0, 1, (700, 2)), np.exp(draw.uniform(np.log(0.004), np.log(0.6), (700, 2)))
    boxes = np.hstack([centers - sizes / 2, centers + sizes / 2]) * scale
    frames = np.sort(draw.integers(0, 200, 700))
    for threshold, max_gap in ((0.0, 3), (0.2, None), (0.3, 30), (0.5, None), (0.7, None)):
        found = cluster_boxes(boxes, frames, iou_threshold=threshold, algorithm=algorithm, max_gap=max_gap)
        assert found.max() < 699
        assert found.tolist() == NAIVE[algorithm](boxes.tolist(), frames.tolist(), threshold, max_gap)


@pytest.mark.requirement("SEQ-05")
@given(boxes=st.lists(some_box, min_size=1, max_size=40), threshold=thresholds, seed=st.integers(0, 99))
def test_single_link_does_not_depend_on_the_order_of_the_boxes(boxes: Boxes, threshold: float, seed: int) -> None:
    order = list(range(len(boxes)))
    random.Random(seed).shuffle(order)
    straight = cluster_boxes(boxes, [0] * len(boxes), iou_threshold=threshold)
    shuffled = cluster_boxes([boxes[each] for each in order], [0] * len(boxes), iou_threshold=threshold)
    assert numbered(straight[order].tolist()) == shuffled.tolist()


@pytest.mark.requirement("SEQ-05")
@given(boxes=st.lists(some_box, max_size=40), threshold=thresholds)
def test_greedy_clusters_are_parts_of_single_link_ones(boxes: Boxes, threshold: float) -> None:
    frames = [0] * len(boxes)
    whole = cluster_boxes(boxes, frames, iou_threshold=threshold)
    parts = cluster_boxes(boxes, frames, iou_threshold=threshold, algorithm=Algorithm.greedy_s4)
    owners = defaultdict(set)
    for part, owner in zip(parts.tolist(), whole.tolist(), strict=True):
        owners[part].add(owner)
    assert all(len(each) == 1 for each in owners.values())


@pytest.mark.requirement("SEQ-05")
def test_a_box_before_its_bridge_is_left_out_by_the_greedy_scan_alone() -> None:
    left, right, bridge = (0, 0, 10, 10), (8, 0, 18, 10), (4, 0, 14, 10)
    assert cluster_boxes([left, right, bridge], [0, 1, 2], iou_threshold=0.3).tolist() == [0, 0, 0]
    assert cluster_boxes([left, right, bridge], [0, 1, 2], iou_threshold=0.3, algorithm=Algorithm.greedy_s4).tolist() == [0, 1, 0]
    assert cluster_boxes([left, bridge, right], [0, 1, 2], iou_threshold=0.3, algorithm=Algorithm.greedy_s4).tolist() == [0, 0, 0]


@pytest.mark.requirement("SEQ-05")
@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_threshold_itself_does_not_link(algorithm: Algorithm) -> None:
    halves = [(0, 0, 2, 1), (1, 0, 2, 1)]
    assert iou_matrix(*([each] for each in halves))[0, 0] == 0.5
    assert cluster_boxes(halves, [0, 1], iou_threshold=0.5, algorithm=algorithm).tolist() == [0, 1]
    assert cluster_boxes(halves, [0, 1], iou_threshold=0.4999, algorithm=algorithm).tolist() == [0, 0]
    touching = [(0, 0, 1, 1), (1, 0, 2, 1)]
    assert cluster_boxes(touching, [0, 1], iou_threshold=0.0, algorithm=algorithm).tolist() == [0, 1]


@pytest.mark.requirement("SEQ-24")
@pytest.mark.parametrize("algorithm", Algorithm)
def test_three_identical_boxes_are_one_cluster(algorithm: Algorithm) -> None:
    boxes = [(0.735, 0.511, 0.748, 0.52)] * 3
    assert cluster_boxes(boxes, [0, 1, 2], iou_threshold=0.3, algorithm=algorithm).tolist() == [0, 0, 0]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_no_boxes_and_boxes_without_area_are_no_trouble(algorithm: Algorithm) -> None:
    assert cluster_boxes([], [], iou_threshold=0.3, algorithm=algorithm).tolist() == []
    flat = [(1, 1, 1, 5), (1, 1, 1, 5), (0, 0, 0, 0)]
    assert cluster_boxes(flat, [0, 1, 2], iou_threshold=0.0, algorithm=algorithm).tolist() == [0, 1, 2]


def test_an_enclosing_box_reaches_to_the_outermost_corners() -> None:
    assert enclosing_box([(1, 5, 3, 6), (2, 2, 9, 5)]) == (1.0, 2.0, 9.0, 6.0)


def smoke_boxes(folder: Path) -> dict[str, list[tuple[datetime, tuple[float, float, float, float]]]]:
    """Boxes that people drew around smoke, by camera, in the order of recording."""
    cameras = defaultdict(list)
    with (folder / "fuego_smoke_boxes" / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            camera, _, stamp = row["Filename"].removesuffix(".jpg").partition("__")
            at = datetime.strptime(stamp, "%Y-%m-%dT%H;%M;%S").replace(tzinfo=UTC)
            cameras[camera].append((at, tuple(float(row[name]) for name in ("MinX", "MinY", "MaxX", "MaxY"))))
    return {camera: sorted(boxes) for camera, boxes in sorted(cameras.items())}


@pytest.mark.requirement("SEQ-01", "SEQ-04", "SEQ-05")
@pytest.mark.parametrize("algorithm", Algorithm)
def test_real_smoke_is_clustered_as_by_the_loop(algorithm: Algorithm, shared_data: Path) -> None:
    clusters = 0
    for boxes in smoke_boxes(shared_data).values():
        frames, places = list(range(len(boxes))), [each[1] for each in boxes]
        found = cluster_boxes(places, frames, iou_threshold=0.3, algorithm=algorithm)
        assert found.tolist() == NAIVE[algorithm](places, frames, 0.3, None)
        clusters += found.max() + 1
    assert clusters == SMOKE[algorithm]
