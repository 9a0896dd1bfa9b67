"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings and ground truth that is not part of the project: `LAMM_SHARED_DATA`, or `../shared/data`."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAMM_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real recordings are not here ({folder} is no folder; set LAMM_SHARED_DATA)")
    return folder
