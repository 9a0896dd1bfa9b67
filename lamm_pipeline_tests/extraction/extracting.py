"""Extraction of recordings in memory."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.extract import extract_frames
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.extraction.settings import FrameSettings, StereoSettings
from lamm_pipeline.geometry.camera import RectifiedCamera, StereoCalibration
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.extraction.fake_reader import (
    FakeReader,
    calibration,
)

STEREO = StereoSettings(max_disparity=48)


def extract(folder: Path, reader: FakeReader, settings: FrameSettings | None = None, **options: Any) -> FrameRegistry:
    """Extract `reader` into `folder`; rectified unless `calibration=None` is given."""
    draft = Draft.open(folder)
    known: StereoCalibration | None = options.pop("calibration", calibration(reader.width, reader.height))
    registry = extract_frames(
        reader,
        known,
        settings or FrameSettings(stereo=STEREO),
        draft,
        recording="drive",
        svo2_file="drive.svo2",
        svo2_hash="ab" * 32,
        lineage={"dataset_id": "d1"},
        **{"workers": 2} | options,
    )
    draft.finish()
    return registry


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class ConstantMatcher:
    """Depth that is the same everywhere, with the sentinels of other back ends in the first row."""

    def __init__(self, metres: float) -> None:
        self.metres = metres

    @property
    def identity(self) -> dict[str, Any]:
        return {"matcher": "constant"}

    def depth(self, left_bgr: NDArray[np.uint8], right_bgr: NDArray[np.uint8], camera: RectifiedCamera) -> NDArray[np.float32]:
        assert right_bgr.shape == (camera.height, camera.width, 3)
        depth = np.full(left_bgr.shape[:2], self.metres, np.float32)
        depth[0, :5] = [np.inf, -np.inf, np.nan, 0.0, -1.0]
        return depth
