import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lamm_pipeline.geometry.boxes_2d import area_xyxy, box_of_mask, clip_xyxy, ios_matrix, iou_matrix, nms, xywh_to_xyxy, xyxy_to_xywh

coordinate = st.integers(0, 200).map(float)
box_xywh = st.tuples(coordinate, coordinate, st.integers(1, 100).map(float), st.integers(1, 100).map(float))
boxes_xywh = st.lists(box_xywh, min_size=1, max_size=8).map(lambda rows: np.array(rows, dtype=np.float64))


@given(boxes_xywh, boxes_xywh)
def test_iou_is_that_of_pycocotools(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    expected = coco_mask.iou(a, b, [0] * len(b))
    np.testing.assert_allclose(iou_matrix(xywh_to_xyxy(a), xywh_to_xyxy(b)), expected, atol=1e-12)


@given(boxes_xywh)
def test_xywh_and_xyxy_are_each_others_inverse(boxes: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(xyxy_to_xywh(xywh_to_xyxy(boxes)), boxes)
    np.testing.assert_array_equal(area_xyxy(xywh_to_xyxy(boxes)), boxes[:, 2] * boxes[:, 3])


@given(boxes_xywh, st.floats(0.1, 0.9))
def test_nms_keeps_boxes_that_do_not_overlap_and_every_dropped_box_overlaps_a_better_kept_one(
    boxes: NDArray[np.float64], limit: float
) -> None:
    xyxy = xywh_to_xyxy(boxes)
    scores = np.linspace(0.1, 0.9, len(boxes))
    kept = nms(xyxy, scores, limit)
    overlap = iou_matrix(xyxy, xyxy)
    assert all(overlap[i, j] <= limit for i in kept for j in kept if i != j)
    assert all(any(overlap[i, j] > limit and scores[j] > scores[i] for j in kept) for i in set(range(len(boxes))) - set(kept.tolist()))
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)


@pytest.mark.requirement("SEG-07")
def test_nms_works_within_groups_only() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5]]
    assert nms(boxes, [0.5, 0.9, 0.7], 0.7).tolist() == [1]
    assert nms(boxes, [0.5, 0.9, 0.7], 0.7, [0, 1, 0]).tolist() == [1, 2]
    assert nms(np.zeros((0, 4)), [], 0.7).tolist() == []


def test_ios_is_one_for_a_contained_box_and_boxes_without_area_share_nothing() -> None:
    np.testing.assert_allclose(ios_matrix([[0, 0, 10, 10]], [[2, 2, 4, 4], [5, 5, 15, 15], [3, 3, 3, 9]]), [[1.0, 0.25, 0.0]])
    assert iou_matrix([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]


def test_clipping_cuts_at_the_image_border() -> None:
    assert clip_xyxy([[-5, 10, 700, 500], [650, 1, 660, 2]], 640, 480).tolist() == [[0, 10, 640, 480], [640, 1, 640, 2]]


@given(st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(np.bool_, shape)))
def test_the_box_of_a_mask_is_that_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    found = box_of_mask(mask)
    if not mask.any():
        assert found is None
    else:
        runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert found == tuple(xywh_to_xyxy(coco_mask.toBbox(runs)))
