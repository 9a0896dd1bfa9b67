import numpy as np
import pytest

from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.tracking.masklets.prompts import EMPTY_BOX, EMPTY_MASK, Proposal, long_tail_area, propose
from lamm_pipeline.tracking.masklets.settings import PromptMode
from lamm_pipeline_tests.tracking.masklets.moving_masks import HEIGHT, WIDTH, candidate, rectangle


def kind(given, mode, area=150):
    proposal = propose(given, WIDTH, HEIGHT)
    assert isinstance(proposal, Proposal)
    prompt = proposal.prompt(mode, area)
    assert (prompt.mask is None) is not (prompt.box_xyxy is None)
    return "box" if prompt.mask is None else "mask"


SMALL, LARGE = rectangle(5, 5), rectangle(20, 10, 20, 15)


@pytest.mark.requirement("VOS-04", "VOS-06")
@pytest.mark.parametrize(
    ("mode", "small", "large"),
    [(PromptMode.all_mask, "mask", "mask"), (PromptMode.all_box, "box", "box"), (PromptMode.long_tail_box, "box", "mask")],
)
def test_each_prompt_mode_shows_masks_or_boxes(mode, small, large):
    assert kind(candidate(SMALL, "a"), mode) == small
    assert kind(candidate(LARGE, "b"), mode) == large


@pytest.mark.requirement("VOS-04")
@pytest.mark.parametrize("mode", list(PromptMode))
def test_a_candidate_without_a_mask_is_shown_by_its_box(mode):
    assert kind(candidate(LARGE, "a", boxed=True), mode) == "box"


@pytest.mark.requirement("VOS-18")
def test_a_box_prompt_is_whole_pixels_within_the_frame():
    proposal = propose(MaskCandidate("a", None, None, None, (-3.4, 2.6, 30.5, 99.0), None, 1, "external"), WIDTH, HEIGHT)
    prompt = proposal.prompt(PromptMode.all_mask, 1)
    assert prompt.box_xyxy.tolist() == [0, 3, 30, HEIGHT]
    assert prompt.box_xyxy.dtype == np.int64


def test_a_mask_of_another_size_is_brought_to_that_of_the_frame():
    half = rectangle(20, 10, 20, 16)[::2, ::2]
    proposal = propose(candidate(half, "a"), WIDTH, HEIGHT)
    assert proposal.resized
    assert np.array_equal(proposal.mask, rectangle(20, 10, 20, 16))
    assert proposal.box_xyxy.tolist() == [20, 10, 40, 26]


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.2, 9.0), (70.0, 5.0, 90.0, 20.0), (9.0, 9.0, 2.0, 2.0)])
def test_a_box_without_area_in_the_frame_cannot_be_followed(box):
    assert propose(MaskCandidate("a", None, None, None, box, None, 1, "external"), WIDTH, HEIGHT) == EMPTY_BOX


def test_an_empty_mask_cannot_be_followed():
    empty = MaskCandidate("a", None, None, None, (1.0, 1.0, 5.0, 5.0), rle.encode(np.zeros((HEIGHT, WIDTH))), 0, "external")
    assert propose(empty, WIDTH, HEIGHT) == EMPTY_MASK


@pytest.mark.parametrize(("wanted", "least", "area"), [(None, None, 1500), (None, 300, 900), (700, 300, 700)])
def test_what_is_small_follows_the_least_area_of_candidates(wanted, least, area):
    assert long_tail_area(wanted, least) == area
