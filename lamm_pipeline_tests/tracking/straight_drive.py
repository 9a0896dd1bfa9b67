"""A camera that goes straight on past a parked car."""

import numpy as np

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import projected_box_xyxy
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.tracking.frame_views import FrameView

CAMERA = RectifiedCamera(1240, 376, 720.0, 720.0, 620.0, 188.0, 0.54)

STEP_M = 0.5

FRAMES = 40


class Drive:
    """Images of a camera that goes straight on, as `FrameViews` gives them.

    From `wall_at` on everything is behind a wall. Depth sees the objects of `shown`, from frame number to their boxes, before a background
    far away.
    """

    def __init__(self, wall_at=FRAMES, shown=lambda _: ()):
        self.camera = CAMERA
        self._wall_at = wall_at
        self._shown = shown

    def look(self, frames, *, continued=False, workers=None):
        del workers
        motion = np.eye(4)
        motion[2, 3] = STEP_M
        for n, frame in enumerate(frames):
            if n > 0 or not continued:
                yield frame, FrameView(motion if n > 0 else None)

    def depth(self, frame_id):
        n = int(frame_id.split(":")[1])
        depth = np.full((376, 1240), 3.0 if n >= self._wall_at else 80.0, dtype=np.float32)
        for each in self._shown(n):
            x1, y1, x2, y2 = (round(value) for value in each.box_xyxy)
            depth[y1:y2, x1:x2] = np.minimum(depth[y1:y2, x1:x2], each.box.z - each.box.length / 2.0)
        return depth


def detected(n, x, z, class_id="car", score=0.8):
    box = Box3D(x, 1.6, z - STEP_M * n, 4.0, 1.7, 1.5, -1.57)
    seen = projected_box_xyxy(box, CAMERA.projection_left, CAMERA.width, CAMERA.height)
    return ObjectBox(f"drive:{n:06d}:{x}", class_id, "Car", score, box, 0.0, seen, 0.0, 0, box.z, 500, "prior")


def frame(n, *boxes):
    return FrameBoxes(f"drive:{n:06d}", n, 1_000_000_000 + n * 100_000_000, boxes, ())


def scene():
    """A parked car seen from 0 to 39 but for 15 to 19, and something seen for four frames only, with low scores."""
    for n in range(FRAMES):
        boxes = [] if 15 <= n < 20 else [detected(n, 4.0, 45.0 + 0.1 * (n * 7 % 5 - 2))]
        yield frame(n, *boxes, *([detected(n, -6.0, 40.0, score=0.4)] if 4 <= n < 8 else ()))
