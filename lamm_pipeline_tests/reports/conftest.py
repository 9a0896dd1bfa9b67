"""A world with the recording `drive`, a report server that shows it, and a browser to look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from lamm_pipeline_tests.browser import chromium
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root")


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    with running(world.root) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found
