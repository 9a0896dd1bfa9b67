import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.orchestration.metadata import MAX_ROWS, THUMBNAIL_WIDTH, review_url, table, thumbnail
from lamm_pipeline.settings import Settings


@pytest.mark.parametrize(("given", "shown"), [(0, 0), (1, 1), (MAX_ROWS, MAX_ROWS), (MAX_ROWS + 1, MAX_ROWS)])
def test_a_table_shows_at_most_50_rows(given: int, shown: int) -> None:
    assert MAX_ROWS == 50
    assert len(table([{"n": n} for n in range(given)]).records) == shown


def test_columns_have_the_type_of_their_first_value_and_other_values_become_text() -> None:
    made = table([{"a": None, "b": 1, "c": True, "d": Path("x")}, {"a": 0.5, "b": 2, "c": False, "d": Path("y")}])
    assert [(column.name, column.type) for column in made.schema.columns] == [("a", "float"), ("b", "int"), ("c", "bool"), ("d", "string")]
    assert dict(made.records[1].data) == {"a": 0.5, "b": 2, "c": False, "d": "y"}


def test_rows_may_lack_columns_that_others_have() -> None:
    made = table([{"a": 1}, {"a": 2, "b": 0.5}, {"c": "x"}])
    assert [(column.name, column.type) for column in made.schema.columns] == [("a", "int"), ("b", "float"), ("c", "string")]
    assert [dict(each.data) for each in made.records] == [
        {"a": 1, "b": None, "c": None},
        {"a": 2, "b": 0.5, "c": None},
        {"a": None, "b": None, "c": "x"},
    ]


def test_an_empty_table_says_none() -> None:
    assert [column.name for column in table([]).schema.columns] == ["none"]


def test_a_thumbnail_is_a_picture_no_wider_than_the_ui_shows() -> None:
    markdown = thumbnail(np.full((720, 1280, 3), (10, 200, 30), np.uint8), "first frame").value
    assert markdown is not None
    encoded = markdown.split("base64,")[1].split(")")[0]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (253, THUMBNAIL_WIDTH, 3)
    assert np.abs(image.astype(int) - (10, 200, 30)).max() < 12
    assert markdown.endswith("first frame")


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:3001/recordings/drive"),
        ({"LAMM_REPORT_URL": "https://review.example/lamm/"}, "https://review.example/lamm/recordings/drive"),
    ],
)
def test_the_review_page_is_linked_where_people_reach_it(environment: dict[str, str], url: str, tmp_path: Path) -> None:
    assert review_url(Settings.from_environment(environment, root=tmp_path), "drive").url == url


def test_settings_that_are_printed_do_not_show_the_token(tmp_path: Path) -> None:
    assert "0123456789" not in repr(Settings.from_environment({"LAMM_REPORT_TOKEN": "token-0123456789"}, root=tmp_path))
