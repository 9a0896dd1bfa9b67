from pathlib import Path

import pytest

from lamm_pipeline.sample.render import SampleResult, render_sample
from lamm_pipeline.sample.rig import Rig, build_rig, sample_calibration
from lamm_pipeline.sample.settings import SampleSettings

SMALL = SampleSettings(frames=15, width=384, height=216)


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> SampleResult:
    return render_sample(tmp_path_factory.mktemp("sample") / "small.svo2", SMALL)


@pytest.fixture(scope="session")
def truth(small_sample: SampleResult) -> Path:
    return small_sample.truth


@pytest.fixture(scope="session")
def rig() -> Rig:
    return build_rig(sample_calibration(900070, 672, 376))
