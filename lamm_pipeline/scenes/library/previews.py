"""Two small pictures of a recording: what the camera saw in its middle, and the point cloud of the same frame from above.

They are an artifact of their own, made once for a version of the frames, so that a library of 10,000 scenes is refreshed without touching
those that have not changed.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.making import find_or_make

ASSET = "scene_previews"
CODE_VERSION = "1"
IMAGE, POINTS = "image.jpg", "points.jpg"

WIDTH, HEIGHT = 240, 135
SIDE_M, AHEAD_M = 16.0, 18.0
"""What is seen from above: metres to each side at the width of the picture, and ahead of the camera."""

LOW_M, HIGH_M = -2.0, 3.0
_BACKGROUND = (32, 24, 18)
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 82]


def previews(store: ArtifactStore, frames: Artifact) -> Artifact:
    """The pictures of a recording; those there are of these frames are taken again.

    Args:
        store: where artifacts are.
        frames: of the recording, in force.

    Returns:
        An artifact with `image.jpg`, `points.jpg`, both, or, where no frame can be shown, nothing.
    """
    key = ArtifactKey("recordings", frames.key.partition, ASSET)
    identity = Identity(ASSET, CODE_VERSION, {}, {"frames": frames.version}, {})

    def make(draft: Draft) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return _draw(frames, draft), {}

    return find_or_make(store, key, identity, make, frames.manifest.sources)


def is_of(made: Artifact, frames: str) -> bool:
    """Whether pictures are of this version of the frames, as this code would draw them."""
    identity = made.manifest.identity
    return (identity.inputs.get("frames"), identity.code_version) == (frames, CODE_VERSION)


def from_above(points: NDArray[np.float32], width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A point cloud seen from above, the camera at the middle of the lower edge; height as colour, the highest point of a pixel wins.

    Args:
        points: `(N, >=3)` x forward, y left, z up, metres.
        width: pixels.
        height: pixels.

    Returns:
        `(height, width, 3)` uint8, BGR.
    """
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    scale = min(width / (2 * SIDE_M), height / AHEAD_M)
    finite = points[np.isfinite(points[:, :3]).all(axis=1), :3].astype(np.float64)
    column = np.floor(width / 2 - finite[:, 1] * scale)
    row = np.floor(height - 1 - finite[:, 0] * scale)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (finite[:, 2] > LOW_M) & (finite[:, 2] < HIGH_M)
    order = np.argsort(finite[inside, 2], kind="stable")
    level = ((finite[inside, 2][order] - LOW_M) / (HIGH_M - LOW_M) * 215 + 40).astype(np.uint8)
    palette = np.asarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(-1, 1), cv2.COLORMAP_TURBO), np.uint8).reshape(-1, 3)
    picture[row[inside][order].astype(int), column[inside][order].astype(int)] = palette[level]
    return picture


def _draw(frames: Artifact, draft: Draft) -> dict[str, Any]:
    records = [each for each in frame_registry.read(frames.file(frame_registry.FILE_NAME)).selected_frames if each.image_left is not None]
    if not records:
        return {"frame_id": None}
    record = records[len(records) // 2]
    image = read_image(frames.file(str(record.image_left)))
    if image is not None:
        cv2.imwrite(str(draft.directory / IMAGE), _fitted(image), _JPEG)
    if record.point_cloud is not None:
        cv2.imwrite(str(draft.directory / POINTS), from_above(_points(frames, record)), _JPEG)
    return {"frame_id": record.frame_id}


def _points(frames: Artifact, record: FrameRecord) -> NDArray[np.float32]:
    content = np.fromfile(frames.file(str(record.point_cloud)), np.float32)
    return content[: len(content) // 4 * 4].reshape(-1, 4)


def _fitted(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of an image at the size of a preview."""
    height, width = image_bgr.shape[:2]
    wide = min(width, round(height * WIDTH / HEIGHT))
    high = min(height, round(width * HEIGHT / WIDTH))
    top, left = (height - high) // 2, (width - wide) // 2
    cut = image_bgr[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
