"""Fixtures that several folders of tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Heed interruptions, and have the processes that tests start heed them, when the tests run in the background of a script."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings and ground truth that is not part of the project: `LAMM_SHARED_DATA`, or `../shared/data`."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAMM_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real recordings are not here ({folder} is no folder; set LAMM_SHARED_DATA)")
    return folder


@pytest.fixture(scope="module")
def own_environment() -> Iterator[None]:
    """No settings from outside; who acts is `ada`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in {*(name for name in os.environ if name.startswith("LAMM_")), "DAGSTER_HOME"} - {"LAMM_SHARED_DATA"}:
            patch.setenv(name, "")  # so that the value comes back even if a test sets it
            patch.delenv(name)
        patch.setenv("LAMM_USER", "ada")
        yield
