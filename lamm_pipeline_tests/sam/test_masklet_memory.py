"""The benchmark of masklets' memory runs and says what it is to say; its figures mean nothing here."""

import math
from pathlib import Path

import pytest

from lamm_pipeline_tests.benchmarks import masklet_memory
from lamm_pipeline_tests.benchmarks.harness import Means

pytestmark = pytest.mark.sam


def test_the_memory_of_masklets_is_measured_beside_sam2s_own(tmp_path: Path) -> None:
    rows = masklet_memory.run(Means(tmp_path, tmp_path, tiny=True))
    assert len(rows) == 4
    assert all(row.ratio is not None and math.isfinite(row.ratio) for row in rows)
