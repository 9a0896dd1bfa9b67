"""What tests need that is not everywhere: without it they are skipped, with LAMM_TEST_NO_SKIPS=1 they fail."""

import os

import pytest


def need(there: bool, reason: str) -> None:
    """Go on only where something is there.

    Args:
        there: whether it is.
        reason: that it is not, and how to get it.
    """
    if there:
        return
    if os.environ.get("LAMM_TEST_NO_SKIPS"):
        pytest.fail(reason)
    pytest.skip(reason)
