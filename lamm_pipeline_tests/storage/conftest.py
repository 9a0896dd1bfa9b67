"""Stores on a disk and in a bucket, for the same tests."""

from pathlib import Path

import pytest

from lamm_pipeline_tests.storage.places import Place


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Both in turn."""
    if request.param == "local":
        return Place(tmp_path)
    return request.getfixturevalue("s3_place")  # type: ignore[no-any-return]


@pytest.fixture
def s3_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The one in a bucket."""
    return Place(tmp_path, request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_server"))
