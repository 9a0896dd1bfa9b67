import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.review.labelling_status import LabellingStatus, advanced, parse_status, processing_stage


@pytest.mark.requirement("SEQ-13")
@pytest.mark.parametrize(
    ("word", "status", "stage"),
    [
        ("Unlabeled", "unlabelled", "imported"),
        ("In Progress", "in_progress", "ready_to_annotate"),
        ("In Review", "in_review", "annotated"),
        ("Labeled", "labelled", "annotated"),
        ("imported", "unlabelled", "imported"),
        ("ready_to_annotate", "in_progress", "ready_to_annotate"),
        ("seq_annotation_done", "in_progress", "ready_to_annotate"),
        ("annotated", "in_review", "annotated"),
        ("in-review", "in_review", "annotated"),
    ],
)
def test_the_words_of_every_tool_mean_one_status(word: str, status: str, stage: str) -> None:
    assert parse_status(word) == status
    assert processing_stage(status) == stage


def test_an_unknown_word_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'finished' is no labelling status.*unlabelled, in_progress.*annotated"):
        parse_status("finished")


def test_a_stage_moves_a_recording_on_and_never_back() -> None:
    assert advanced("unlabelled", LabellingStatus.in_progress) == "in_progress"
    assert advanced("labelled", LabellingStatus.in_progress) == "labelled"
