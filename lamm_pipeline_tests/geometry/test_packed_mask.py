import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle

Mask = NDArray[np.bool_]
masks = st.tuples(st.integers(1, 23), st.integers(1, 23)).flatmap(lambda shape: arrays(np.bool_, shape))


@pytest.mark.requirement("VOS-09", "VOS-16")
@given(masks)
def test_packing_and_json_lose_nothing(mask: Mask) -> None:
    packed = packed_mask.pack(mask)
    assert packed["packed_bits"].dtype == np.uint8
    assert packed["shape"] == mask.shape
    assert "full_resolution_shape" not in packed
    np.testing.assert_array_equal(packed_mask.unpack(packed), mask)
    stored = json.loads(json.dumps(packed_mask.to_json(packed)))
    assert set(stored) == {"packed_bits_b64", "shape"}
    np.testing.assert_array_equal(packed_mask.unpack(packed_mask.from_json(stored)), mask)
    np.testing.assert_array_equal(packed_mask.unpack(stored), mask)


@pytest.mark.requirement("AV-13")
@pytest.mark.parametrize("name", ["all zero", "all one", "single pixel", "first pixel", "non-square"])
def test_the_masks_of_the_acceptance_vector_survive(name: str) -> None:
    mask = np.zeros((7, 7), bool)
    if name == "all one":
        mask[:] = True
    elif name == "single pixel":
        mask[3, 5] = True
    elif name == "first pixel":
        mask[0, 0] = True
    elif name == "non-square":
        mask = np.zeros((3, 11), bool)
        mask[1, 4:9] = True
    back = packed_mask.unpack(packed_mask.to_json(packed_mask.pack(mask)))
    np.testing.assert_array_equal(back, mask)
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.encode(back) == {"size": list(mask.shape), "counts": runs["counts"].decode()}


@pytest.mark.requirement("VOS-16")
def test_bits_go_row_by_row_from_the_highest_bit() -> None:
    mask = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1]], bool)
    assert packed_mask.pack(mask)["packed_bits"].tolist() == [0b10001111, 0b10000000]


@pytest.mark.requirement("VOS-16", "VOS-17")
@given(masks, st.sampled_from([1.0, 0.5, 0.3]))
def test_a_channel_of_one_is_dropped_wherever_it_comes_from(mask: Mask, scale: float) -> None:
    packed = packed_mask.pack(mask[np.newaxis], scale)
    assert len(packed["shape"]) == 2
    assert packed_mask.full_shape(packed) == mask.shape
    of_the_first_tool = packed_mask.to_json(packed) | {"shape": [1, *packed["shape"]]}
    np.testing.assert_array_equal(packed_mask.unpack(of_the_first_tool), packed_mask.unpack(packed))


@pytest.mark.requirement("VOS-17")
def test_the_impossible_full_shape_of_the_first_tool_counts_as_none() -> None:
    packed = packed_mask.pack(np.ones((30, 40), bool), 0.5) | {"full_resolution_shape": (1, 30)}
    assert packed_mask.full_shape(packed) == (15, 20)
    assert packed_mask.full_shape(packed, (30, 40)) == (30, 40)
    assert packed_mask.relative_scale(packed) == 1.0
    assert "full_resolution_shape" not in packed_mask.from_json(packed_mask.to_json(packed))


@pytest.mark.requirement("VOS-03", "VOS-17")
@given(masks, st.floats(0.05, 1.0))
def test_a_smaller_mask_knows_its_full_shape_and_scale(mask: Mask, scale: float) -> None:
    packed = packed_mask.pack(mask, scale)
    rows, columns = (max(1, round(side * scale)) for side in mask.shape)
    assert packed["shape"] == (rows, columns)
    assert packed_mask.full_shape(packed) == mask.shape
    assert packed_mask.relative_scale(packed) == pytest.approx((rows / mask.shape[0] + columns / mask.shape[1]) / 2)
    assert packed_mask.resize(packed_mask.unpack(packed), packed_mask.full_shape(packed)).shape == mask.shape
    assert packed_mask.unpack(packed).all() == mask.all() or not mask.all()


@pytest.mark.requirement("VOS-03")
def test_down_scaling_is_pillows_box_filter_but_for_ties() -> None:
    random = np.random.default_rng(5)
    for height, width, scale in ((90, 120, 0.3), (78, 132, 0.5), (64, 64, 0.25), (50, 31, 0.77)):
        mask = random.random((height, width)) < 0.5
        found = packed_mask.downscale(mask, scale)
        picture = Image.fromarray(mask.astype(np.uint8) * 255).resize((found.shape[1], found.shape[0]), Image.Resampling.BOX)
        shares = np.asarray(picture, dtype=float) / 255.0
        clear = np.abs(shares - 0.5) > 0.01  # Pillow rounds the shares to bytes
        np.testing.assert_array_equal(found[clear], shares[clear] > 0.5)
        assert clear.mean() > 0.5


@pytest.mark.requirement("VOS-17")
@given(masks, st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_resizing_is_pillows_nearest_neighbour(mask: Mask, shape: tuple[int, int]) -> None:
    picture = Image.fromarray(mask.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(packed_mask.resize(mask, shape), np.asarray(picture) > 0)


@pytest.mark.requirement("VOS-19")
@given(masks, masks.filter(lambda mask: mask.size > 0), st.integers(2, 4))
def test_iou_of_masks_of_two_sizes_is_that_at_the_larger_size(a: Mask, other: Mask, factor: int) -> None:
    b = packed_mask.resize(other, a.shape)
    larger = np.kron(b, np.ones((factor, factor), bool)).astype(bool)
    assert packed_mask.iou(a, larger) == packed_mask.iou(larger, a) == packed_mask.iou(a, b)


@pytest.mark.requirement("VOS-19")
def test_iou_of_known_masks() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert packed_mask.iou(a, b) == 0.0
    a[:, :2], b[:, 1:3] = True, True
    assert packed_mask.iou(a, b) == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ({"shape": [2, 2]}, "packed_bits_b64"),
        ({"shape": [2, 2], "packed_bits_b64": "!!"}, "base64"),
        ({"shape": [200, 200], "packed_bits_b64": "8A=="}, "only 8 bits"),
        ({"shape": [4], "packed_bits_b64": "8A=="}, "rows and columns"),
        ({"shape": [3, 2, 2], "packed_bits_b64": "8A=="}, "rows and columns"),
        ({"shape": [-2, -2], "packed_bits_b64": "8A=="}, "rows and columns"),
        ({"shape": "2x2", "packed_bits_b64": "8A=="}, "rows and columns"),
        ({"packed_bits_b64": "8A=="}, "rows and columns"),
    ],
)
def test_damaged_packed_masks_are_refused_with_a_sentence(damaged: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        packed_mask.unpack(damaged)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.5])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        packed_mask.pack(np.ones((2, 2), bool), scale)


def test_several_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="rows and columns"):
        packed_mask.pack(np.ones((3, 2, 2), bool))
