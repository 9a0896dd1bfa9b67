"""A world with the recording `drive`, and a report server that shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root")


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    with running(world.root) as found:
        yield found
