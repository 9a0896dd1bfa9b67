import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle

masks = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@pytest.mark.requirement("AV-13")
@given(masks)
def test_encoding_is_lossless_and_that_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    encoded = rle.encode(mask)
    theirs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert encoded == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    np.testing.assert_array_equal(rle.decode(encoded), mask)
    assert rle.area(encoded) == mask.sum()
    assert sum(rle.run_lengths(encoded["counts"])) == mask.size


def single_pixel(row: int, column: int) -> NDArray[np.bool_]:
    mask = np.zeros((5, 9), dtype=bool)
    mask[row, column] = True
    return mask


@pytest.mark.requirement("AV-13")
@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        (np.zeros((5, 9), dtype=bool), [45]),
        (np.ones((5, 9), dtype=bool), [0, 45]),
        (single_pixel(2, 3), [17, 1, 27]),
        (single_pixel(0, 0), [0, 1, 44]),
        (single_pixel(4, 8), [44, 1]),
    ],
)
def test_runs_go_down_the_columns_and_start_with_zeros(mask: NDArray[np.bool_], runs: list[int]) -> None:
    encoded = rle.encode(mask)
    assert encoded["size"] == [5, 9]
    assert rle.run_lengths(encoded["counts"]).tolist() == runs
    assert coco_mask.decode({"size": [5, 9], "counts": encoded["counts"].encode()}).tolist() == mask.astype(int).tolist()


def test_masks_with_values_0_and_255_and_any_memory_order_are_the_same_mask() -> None:
    mask = single_pixel(1, 2)
    assert rle.encode(mask.astype(np.uint8) * 255) == rle.encode(np.asfortranarray(mask)) == rle.encode(mask)


@given(st.integers(1, 44))
def test_runs_that_do_not_fill_the_size_are_refused(row: int) -> None:
    encoded = rle.encode(np.ones((5, 9), dtype=bool))
    with pytest.raises(InputError, match="sum up to 45 pixels"):
        rle.decode({"size": [row, 1], "counts": encoded["counts"]})


def test_counts_cut_in_the_middle_are_refused() -> None:
    encoded = rle.encode(np.ones((500, 500), dtype=bool))
    with pytest.raises(InputError, match="end in the middle"):
        rle.decode({"size": [500, 500], "counts": encoded["counts"][:-1]})


def test_only_masks_with_two_dimensions_and_pixels_are_encoded() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 5, 9\)"):
        rle.encode(np.zeros((1, 5, 9)))
    with pytest.raises(ValueError, match=r"shape \(0, 9\)"):
        rle.encode(np.zeros((0, 9)))


@given(st.integers(1, 12).flatmap(lambda side: st.lists(arrays.arrays(np.bool_, (side, 9)), max_size=5)))
def test_containment_is_the_share_of_a_masks_pixels_in_another(several: list[NDArray[np.bool_]]) -> None:
    found = rle.containment([rle.encode(mask) for mask in several])
    expected = np.array([[(a & b).sum() / max(1, a.sum()) for b in several] for a in several]).reshape(len(several), len(several))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.requirement("OPT-04")
@pytest.mark.parametrize("objects", [1, 5, 40])
def test_masks_of_full_hd_are_lossless_and_ten_times_smaller_than_their_bits(objects: int) -> None:
    rng = np.random.default_rng(objects)
    coarse = np.zeros((108, 192), np.float32)
    for row, column in rng.integers((10, 10), (98, 182), (objects, 2)):
        coarse[row - 5 : row + 5, column - 5 : column + 5] = 1.0
    rough = cv2.resize(coarse + rng.normal(0, 0.1, coarse.shape).astype(np.float32), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    mask = rough > 0.5
    runs = rle.encode(mask)
    assert np.array_equal(rle.decode(runs), mask)
    assert np.array_equal(coco_mask.decode(runs).astype(bool), mask)
    assert 10 * len(runs["counts"]) <= mask.size / 8
