"""Each form of a mask gives the runs that pycocotools gives for the same pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.imports.mask_forms import to_coco

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(lambda shape: arrays(bool, shape))


def runs(flat):
    """Run lengths, zeros first, counted one pixel after the other."""
    counts, value = [0], False
    for pixel in flat:
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return counts


def expected(mask):
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


@pytest.mark.requirement("AV-13", "LLM-01")
@settings(max_examples=150)
@given(MASKS)
def test_all_five_forms_are_lossless_and_equal_to_pycocotools(mask):
    by_columns, by_rows = runs(mask.flatten(order="F")), runs(mask.flatten())
    forms = [
        (expected(mask), False),
        ({"size": list(mask.shape), "counts": by_columns}, False),
        (" ".join(map(str, by_columns)), False),
        (" ".join(map(str, by_rows)), True),
        (packed_mask.to_json(packed_mask.pack(mask)), False),
    ]
    for form, rows in forms:
        found = to_coco(form, mask.shape, by_rows=rows)
        assert found == expected(mask), form
        assert (coco_mask.decode(found).astype(bool) == mask).all()


@pytest.mark.requirement("AV-13")
@pytest.mark.parametrize("which", ["zeros", "ones", "single", "first"])
def test_the_special_masks_are_lossless_in_every_form(which):
    mask = np.zeros((7, 11), bool)
    mask[{"zeros": np.s_[:0], "ones": np.s_[:], "single": np.s_[4, 6], "first": np.s_[0, 0]}[which]] = True
    for rows in (False, True):
        text = " ".join(map(str, runs(mask.flatten(order="C" if rows else "F"))))
        assert (rle.decode(to_coco(text, mask.shape, by_rows=rows)) == mask).all()


@pytest.mark.requirement("LLM-01")
@pytest.mark.parametrize("rows", [False, True])
def test_a_bare_square_grid_is_scaled_up_to_the_image_as_nearest_neighbour_does(rows):
    grid = np.zeros((16, 16), bool)
    grid[2:5, 8:15] = True
    text = " ".join(map(str, runs(grid.flatten(order="C" if rows else "F"))))
    found = rle.decode(to_coco(text, (48, 64), by_rows=rows))
    assert (found == np.kron(grid, np.ones((3, 4), bool))).all()


def test_a_square_sum_that_is_the_image_is_the_image_not_a_grid():
    mask = np.zeros((4, 9), bool)  # 36 pixels, a square number
    mask[1, :5] = True
    assert (rle.decode(to_coco(" ".join(map(str, runs(mask.flatten(order="F")))), (4, 9), by_rows=False)) == mask).all()


def test_a_packed_mask_at_lower_resolution_is_scaled_up():
    mask = np.zeros((30, 40), bool)
    mask[10:20, 20:40] = True
    half = packed_mask.to_json(packed_mask.pack(mask, 0.5))
    assert (rle.decode(to_coco(half, (30, 40), by_rows=False)) == mask).all()
    with pytest.raises(InputError, match="made for an image of 30 x 40"):
        to_coco(half, (60, 80), by_rows=False)


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("12 14", "sum up to 26 pixels: neither the 30 of its image nor a square grid"),
        ("1 2 x", "no list of run lengths"),
        ("", "no list of run lengths"),
        ("-5 35", "no list of run lengths"),
        ("9" * 40, "too long a number"),
        (17, "no form"),
        ([1, 2], "no form"),
        ({"size": [5, 6]}, "no form"),
        ({"counts": [30]}, "has the size None"),
        ({"size": [6, 5], "counts": [30]}, r"has the size \[6, 5\]"),
        ({"size": [5, 6], "counts": [29]}, "sum up to 29"),
        ({"size": [5, 6], "counts": [-1, 31]}, "whole numbers of 0 or more"),
        ({"size": [5, 6], "counts": [15.0, 15]}, "whole numbers"),
        ({"size": [5, 6], "counts": None}, "neither text nor a list"),
        ({"size": [5, 6], "counts": "a b"}, "no text of COCO's"),
        ({"packed_bits_b64": "AAAA", "shape": [1000000, 1000000]}, "only"),
        ({"packed_bits_b64": "!!", "shape": [5, 6]}, "base64"),
        ({"packed_bits_b64": "AAAAAA==", "shape": "ab"}, "shape"),
        ({"packed_bits_b64": "AAAAAA==", "shape": [5, 6], "full_resolution_shape": ["x", None]}, "makes no sense"),
        ("10000000000000000000000 1", "too long"),
        ("999999999999 1", "neither"),
    ],
)
def test_what_is_no_mask_gets_a_sentence(form, sentence):
    with pytest.raises(InputError, match=sentence):
        to_coco(form, (5, 6), by_rows=False)


def test_runs_of_the_right_form_are_taken_as_they_are_without_being_decoded(monkeypatch):
    monkeypatch.setattr(coco_mask, "decode", None)
    monkeypatch.setattr(coco_mask, "frPyObjects", None)
    wrong = {"size": [5, 6], "counts": "0f"}
    assert to_coco(wrong, (5, 6), by_rows=False) == wrong
