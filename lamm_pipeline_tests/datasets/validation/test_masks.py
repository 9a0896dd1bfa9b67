"""However hostile a mask is, what is wrong with it is said, and nothing crashes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lamm_pipeline.datasets.validation.masks import MaskFacts, look_at_mask, look_at_masks
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline_tests.datasets.sample_factory import AREA, BOX_XYXY, HEIGHT, WIDTH, annotation, mask_of, sample

TEXT = st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=40)


def look(mask_rle: dict[str, Any], area: int = AREA, *, decode: bool = True) -> MaskFacts:
    facts = look_at_mask(annotation("drive:000000", 0, mask_rle=mask_rle, area=area), WIDTH, HEIGHT, decode=decode)
    assert facts is not None
    return facts


@pytest.mark.parametrize("decode", [True, False])
def test_a_sound_mask_has_no_problem_and_a_box(decode: bool) -> None:
    assert look(mask_of(), decode=decode) == MaskFacts(None, box_xyxy=tuple(map(int, BOX_XYXY)))


def test_no_mask_is_no_problem() -> None:
    assert look_at_mask(annotation("drive:000000", 0, mask_rle=None), WIDTH, HEIGHT, decode=True) is None


@pytest.mark.requirement("VAL-06")
@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ("", "sum up to 0 pixels"),
        ("o", "middle of a number"),
        ("0" * 100_000, "sum up to 0 pixels"),
        ("oooooooo0", "sum up to"),
        ("o" * 30 + "0", "too long a number"),
        ("O0O", "sum up to"),
        ("0O", "sum up to"),
        ("\x00\x00", "characters"),
        ("\u4f60\u597d", "characters"),
        ("30 20", "characters"),
        (mask_of()["counts"] + "1", "sum up to"),
    ],
)
def test_hostile_runs_are_told_and_survived(counts: str, said: str) -> None:
    facts = look({"size": [HEIGHT, WIDTH], "counts": counts})
    assert facts.problem == "encoding"
    assert said in facts.detail
    assert look({"size": [HEIGHT, WIDTH], "counts": counts}, decode=False).problem is not None


@given(counts=TEXT)
def test_whatever_decodes_is_what_pycocotools_decodes(counts: str) -> None:
    mask_rle = {"size": [HEIGHT, WIDTH], "counts": counts}
    quick = look(mask_rle, decode=False)
    try:
        decoded = rle.decode(mask_rle)
    except InputError:
        assert look(mask_rle).problem == "encoding"
        return
    assert np.array_equal(decoded, coco_mask.decode({"size": [HEIGHT, WIDTH], "counts": counts.encode()}))
    assert (look(mask_rle).problem, look(mask_rle).detail) == (quick.problem, quick.detail)


@given(data=st.data())
def test_a_mask_cut_anywhere_or_changed_anywhere_is_found_or_is_another_mask(data: st.DataObject) -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = (rows - 20) ** 2 + (columns - 30) ** 2 < 150
    sound = rle.encode(mask)
    text = sound["counts"]
    place = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(st.sampled_from([text[:place], text[:place] + data.draw(TEXT.filter(bool)) + text[place + 1 :]]))
    facts = look({**sound, "counts": changed}, int(mask.sum()))
    if facts.problem is None:
        assert rle.decode({**sound, "counts": changed}).sum() == mask.sum()
    else:
        assert facts.detail


@given(damaged=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4))), decode=st.booleans())
def test_masks_looked_at_together_are_found_as_those_looked_at_one_by_one(damaged: set[tuple[int, int]], decode: bool) -> None:
    cut_off = mask_of() | {"counts": mask_of()["counts"] + "1"}
    samples = [
        sample(
            n, annotations=tuple(annotation(f"drive:{n:06d}", k, mask_rle=cut_off if (n, k) in damaged else mask_of()) for k in range(5))
        )
        for n in range(4)
    ]
    together = look_at_masks(samples, decode=decode)
    assert together == [tuple(look_at_mask(each, WIDTH, HEIGHT, decode=decode) for each in one.annotations) for one in samples]
    if decode:
        assert {(n, k) for n, facts in enumerate(together) for k, each in enumerate(facts) if each and each.problem} == damaged
