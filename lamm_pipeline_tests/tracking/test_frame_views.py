"""What tracking reads of a recording's files: each frame once, the same from wherever a run goes on."""

import cv2
import numpy as np
import pytest

from lamm_pipeline.extraction import depth_map
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes
from lamm_pipeline.tracking.frame_views import FrameViews
from lamm_pipeline_tests.extraction.frame_records import frame_record

CAMERA = RectifiedCamera(320, 192, 300.0, 300.0, 160.0, 96.0, 0.5)
WALL_M = 10.0
STEP_PX = 3
STEP_M = STEP_PX * WALL_M / 300.0
FRAMES = 5


@pytest.fixture
def folder(tmp_path):
    """A camera that moves to the right, looking straight at a wall."""
    rng = np.random.default_rng(1)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (192, 320 + FRAMES * STEP_PX), dtype=np.uint8), (7, 7), 0)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    (tmp_path / "depth").mkdir()
    for n in range(FRAMES):
        cv2.imwrite(str(tmp_path / f"{n}.png"), wall[:, n * STEP_PX : n * STEP_PX + 320])
        depth_map.write_depth(tmp_path / "depth" / f"{n}.npy", np.full((192, 320), WALL_M, dtype=np.float32))
    return tmp_path


def views_of(folder):
    records = tuple(frame_record("wall", n, n, image_left=f"{n}.png", depth=f"depth/{n}.npy", valid_depth_ratio=1.0) for n in range(FRAMES))
    return FrameViews.of(FrameRegistry("wall", "wall.svo2", "0", FRAMES, FRAMES, (), {}, {}, True, CAMERA, 320, 192, records), folder)


def frames_from(first):
    return (FrameBoxes(f"wall:{n:06d}", n, n, (), ()) for n in range(first, FRAMES))


@pytest.mark.requirement("TRK-02")
def test_every_frame_but_the_first_tells_the_motion_since_the_one_before(folder):
    seen = list(views_of(folder).look(frames_from(0), workers=2))
    assert [frame.frame_index for frame, _ in seen] == list(range(FRAMES))
    assert seen[0][1].motion is None
    for _, view in seen[1:]:
        np.testing.assert_allclose(view.motion[:3, 3], [STEP_M, 0.0, 0.0], atol=0.01)
        np.testing.assert_allclose(view.motion[:3, :3], np.eye(3), atol=0.001)


@pytest.mark.requirement("TRK-02")
def test_a_run_that_goes_on_sees_the_same_to_the_bit(folder):
    whole = [(frame.frame_index, view.motion) for frame, view in views_of(folder).look(frames_from(0), workers=2)]
    rest = [(frame.frame_index, view.motion) for frame, view in views_of(folder).look(frames_from(2), continued=True, workers=1)]
    assert [(index, motion.tobytes()) for index, motion in whole[3:]] == [(index, motion.tobytes()) for index, motion in rest]


@pytest.mark.requirement("TRK-02")
def test_without_an_image_or_a_depth_map_the_motions_that_need_it_are_not_told(folder):
    (folder / "1.png").write_bytes(b"")
    (folder / "depth" / "3.npy").unlink()
    told = [view.motion is not None for _, view in views_of(folder).look(frames_from(0), workers=2)]
    assert told == [False, False, False, True, False]
