import numpy as np
import pytest

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.review.decision_rules import checked

TYPES = ["cliff", "dust"]


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (NewDecision("picture", "a", "keep"), "a decision is about a frame, annotation, sequence, class"),
        (NewDecision("frame", "a", "set_class", {"class_id": "car"}), "what can be said of a frame is exclude, keep"),
        (NewDecision("annotation", "a", "undo"), "what can be said of a annotation"),
        (NewDecision("annotation", "", "keep"), "a subject is the id"),
        (NewDecision("annotation", "a" * 201, "keep"), "a subject is the id"),
        (NewDecision("annotation", "a", "note", note=" "), "the note is empty"),
        (NewDecision("annotation", "a", "note", note="x" * 10_001), "at most 10000 characters"),
        (NewDecision("class", "unicorn", "exclude"), "unicorn"),
        (NewDecision("annotation", "a", "set_class", {"class_id": "unicorn"}), "unicorn"),
        (NewDecision("annotation", "a", "set_positive", {"is_positive": 1}), "true or false, not 1"),
        (NewDecision("annotation", "a", "set_false_positive_types", {"types": ["fog"]}), "no false-positive type 'fog'.*cliff, dust"),
        (NewDecision("annotation", "a", "set_false_positive_types", {"types": "dust"}), "a list of words"),
        (NewDecision("annotation", "a", "set_box", {"box_xyxy": [1, 2, 3]}), "in pixels"),
        (NewDecision("annotation", "a", "set_box", {"box_xyxy": [5, 2, 3, 4]}), "x1 < x2"),
        (NewDecision("annotation", "a", "set_box", {"box_xyxy": [1, 2, float("nan"), 4]}), "x1 < x2"),
        (NewDecision("annotation", "a", "set_mask", {"mask_rle": {"size": [2, 2], "counts": [1, 3]}}), "compressed form"),
        (NewDecision("annotation", "a", "set_mask", {"mask_rle": {"size": [10**9, 10**9], "counts": "0"}}), "compressed form"),
        (NewDecision("annotation", "a", "set_mask", {"mask_rle": {"size": [2, 2], "counts": "5"}}), "do not fill"),
        (NewDecision("annotation", "a", "set_mask", {"mask_rle": rle.encode(np.zeros((2, 2), bool))}), "no pixels"),
    ],
)
def test_what_cannot_be_said_is_refused_with_a_sentence(decision: NewDecision, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        checked([decision], load_ontology(), TYPES)


def test_what_is_said_is_kept_in_one_form() -> None:
    mask = rle.encode(np.eye(3, dtype=bool))
    anchor = {"anchor": [{"frame_id": "drive:000001", "class_id": "car", "box_xyxy": [0, 0, 3, 3]}]}
    given_decisions = [
        NewDecision("annotation", "a", "set_false_positive_types", {"types": ("dust", "cliff", "dust")}, "v1"),
        NewDecision("annotation", "a", "set_box", {"box_xyxy": (1, 2, 3, 4), "stray": 1, **anchor}, "v1"),
        NewDecision("annotation", "a", "set_mask", {"mask_rle": mask}, "v1"),
    ]
    assert [each.value for each in checked(given_decisions, load_ontology(), TYPES)] == [
        {"types": ["cliff", "dust"]},
        {"box_xyxy": [1.0, 2.0, 3.0, 4.0], **anchor},
        {"mask_rle": mask},
    ]
