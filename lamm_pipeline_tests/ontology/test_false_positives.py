from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.false_positives import load_false_positive_types


def test_the_words_that_come_with_the_package_are_those_of_the_annotation_tool() -> None:
    words = "antenna building cliff combine_harvester dark dust high_cloud low_cloud lens_flare lens_droplet light rain trail road sky tree"
    assert load_false_positive_types() == (*words.split(), "water_body", "other", "unlabeled")


def test_a_team_has_words_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("false_positive_types: [shadow, reflection]")
    assert load_false_positive_types(path) == ("shadow", "reflection")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("false_positive_types: []", "at least one word"),
        ("- dust", "no list"),
        ("false_positive_types: [dust, dust]", "twice"),
        ("false_positive_types: ['Two words']", "'Two words' is no word"),
        ("false_positive_types: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        load_false_positive_types(path)


def test_a_missing_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        load_false_positive_types(tmp_path / "words.yaml")
