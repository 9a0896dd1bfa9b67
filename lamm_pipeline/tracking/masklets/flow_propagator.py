"""Follows masks without a network: dense optical flow moves them, and depth, where there is depth, takes away what is not the object.

An object's motion from a frame to the next is one similarity (shift, turn, scale), fitted to the flow of its pixels so that
the few that belong to the background or to something in front do not count, and its outline moves by it: over many frames outlines drift
less so than by the flow of each pixel. They drift all the same, so candidates correct them where there are any.
Flow: Kroeger et al., "Fast Optical Flow using Dense
Inverse Search", ECCV 2016 (OpenCV's DIS).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.boxes_2d import box_of_mask
from lamm_pipeline.streaming import opencv_on_one_thread
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt, Video

LONGEST_SIDE = 960
"""Flow is computed at this size at most; beyond it costs more and finds nothing better."""
SAMPLES = 400
FIT_TOLERANCE_PX = 1.5
LEAST_SAMPLES = 8
LARGEST_ZOOM = 1.25
LEAST_AREA_PX = 25
LEAST_SHARE = 0.4
DEPTH_MARGIN = 0.08
DEPTH_MARGIN_M = 0.5

Flow = NDArray[np.float32]


class FlowPropagator:
    """The back end `flow`."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name and constants."""
        return {
            "name": "flow",
            "longest_side": LONGEST_SIDE,
            "samples": SAMPLES,
            "fit_tolerance_px": FIT_TOLERANCE_PX,
            "least_area_px": LEAST_AREA_PX,
            "least_share": LEAST_SHARE,
            "depth_margin": [DEPTH_MARGIN, DEPTH_MARGIN_M],
        }

    @property
    def corrects(self) -> bool:
        """Flow drifts: candidates put it right."""
        return True

    def session(self, video: Video, first: int, end: int) -> AbstractContextManager["FlowSession"]:
        """Open the frames `first` to `end - 1`."""
        return nullcontext(FlowSession(video, first, end))


@dataclass(frozen=True)
class _View:
    """A frame: grey `(h, w)` at the size of the flow, depth `(H, W)` or None."""

    gray: NDArray[np.uint8]
    depth: NDArray[np.float32] | None


class FlowSession:
    """Propagation within one window; it holds two frames at a time."""

    def __init__(self, video: Video, first: int, end: int) -> None:
        self._video, self._first, self._end = video, first, end

    def propagate(
        self, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        """See `propagation.Session`. Where a frame cannot be read masks stand still until the next that can."""
        step, stop = (-1, self._first - 1) if reverse else (1, self._end)
        if limit is not None:
            stop = max(stop, start - limit - 1) if reverse else min(stop, start + limit + 1)
        width, height = self._video.size
        masks: Mapping[int, Mask] = {key: _prompted(prompt, width, height) for key, prompt in prompts.items()}
        yield start, masks
        before = self._view(start) if start + step != stop else None
        for index in range(start + step, stop, step):
            if not masks:
                return
            view = self._view(index)
            if before is not None and view is not None:
                masks = _moved(masks, before, view)
            before = view or before
            yield index, masks

    def _view(self, index: int) -> _View | None:
        image = self._video.image(index)
        if image is None:
            return None
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        share = LONGEST_SIDE / max(gray.shape)
        if share < 1.0:
            gray = cv2.resize(gray, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        return _View(np.asarray(gray, np.uint8), self._video.depth(index))


def _prompted(prompt: Prompt, width: int, height: int) -> Mask:
    """The mask of a prompt; that of a box is the ellipse in it: what lies in the corners of a box is rarely the object."""
    if prompt.mask is not None:
        return prompt.mask
    if prompt.box_xyxy is None:
        raise ValueError("a prompt has a mask or a box")
    x1, y1, x2, y2 = (int(value) for value in prompt.box_xyxy)
    mask = np.zeros((height, width), np.bool_)
    rows, columns = np.mgrid[y1:y2, x1:x2]
    across = (columns + 0.5 - (x1 + x2) / 2.0) / ((x2 - x1) / 2.0)
    down = (rows + 0.5 - (y1 + y2) / 2.0) / ((y2 - y1) / 2.0)
    inside = across**2 + down**2 <= 1.0
    mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = inside[max(-y1, 0) : height - y1, max(-x1, 0) : width - x1]
    return mask


def _moved(masks: Mapping[int, Mask], before: _View, after: _View) -> dict[int, Mask]:
    """The masks in the next frame, without those that end."""
    flow = _flow(before, after)
    found = {key: _follow(mask, flow, before, after) for key, mask in masks.items()}
    return {key: mask for key, mask in found.items() if mask is not None}


def _flow(before: _View, after: _View) -> Flow:
    """`(h, w, 2)` shift in x and y of every pixel, in pixels of the views."""
    flow = np.zeros((*before.gray.shape, 2), np.float32)
    with opencv_on_one_thread():
        return np.asarray(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before.gray, after.gray, flow), np.float32)


def _follow(mask: Mask, flow: Flow, before: _View, after: _View) -> Mask | None:
    """One mask in the next frame; None where too little of it is left."""
    box_xyxy = box_of_mask(mask)
    if box_xyxy is None:
        return None
    x1, y1, x2, y2 = (int(value) for value in box_xyxy)
    motion = _motion(mask, (x1, y1, x2, y2), flow)
    moved = _warped(mask, motion, (x1, y1, x2, y2))
    if before.depth is not None and after.depth is not None:
        moved = _in_depth(moved, mask, before.depth, after.depth)
    expected = np.count_nonzero(mask) * abs(np.linalg.det(motion[:, :2]))
    return moved if np.count_nonzero(moved) >= max(LEAST_AREA_PX, LEAST_SHARE * expected) else None


def _motion(mask: Mask, box_xyxy: tuple[int, int, int, int], flow: Flow) -> NDArray[np.float64]:
    """`(2, 3)` similarity that takes the object's pixels to the next frame."""
    x1, y1, x2, y2 = box_xyxy
    rows, columns = np.nonzero(mask[y1:y2, x1:x2])
    every = max(len(rows) // SAMPLES, 1)
    points = np.column_stack([columns[::every] + x1, rows[::every] + y1]).astype(np.float64)
    shifts = _shifts(points, flow, mask.shape)
    if len(points) >= LEAST_SAMPLES:
        motion, _ = cv2.estimateAffinePartial2D(points, points + shifts, method=cv2.RANSAC, ransacReprojThreshold=FIT_TOLERANCE_PX)
        if motion is not None and 1.0 / LARGEST_ZOOM <= np.hypot(motion[0, 0], motion[1, 0]) <= LARGEST_ZOOM:
            return np.asarray(motion, np.float64)
    x, y = np.median(shifts, axis=0)
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def _shifts(points: NDArray[np.float64], flow: Flow, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """`(N, 2)` flow at points `(N, 2)` x, y of a frame of this shape, in the frame's pixels."""
    share = flow.shape[1] / shape[1]
    columns, rows = (points * share).astype(np.int64).T
    found: NDArray[np.float64] = flow[np.minimum(rows, flow.shape[0] - 1), np.minimum(columns, flow.shape[1] - 1)] / share
    return found


def _warped(mask: Mask, motion: NDArray[np.float64], box_xyxy: tuple[int, int, int, int]) -> Mask:
    """The mask moved, computed around where it goes only."""
    height, width = mask.shape
    x1, y1, x2, y2 = box_xyxy
    corners = np.array([[x1, y1, 1], [x2, y1, 1], [x1, y2, 1], [x2, y2, 1]], np.float64) @ motion.T
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, [width, height])
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, [width, height])
    moved = np.zeros_like(mask)
    if right > left and bottom > top:
        local = motion.copy()
        local[:, 2] += motion[:, :2] @ [x1, y1] - [left, top]
        piece = mask[y1:y2, x1:x2].astype(np.uint8) * 255
        warped = cv2.warpAffine(piece, local, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR)
        moved[top:bottom, left:right] = warped > 127
    return moved


def _in_depth(moved: Mask, mask: Mask, before: NDArray[np.float32], after: NDArray[np.float32]) -> Mask:
    """The mask without pixels that are clearly nearer or farther than the object was; where depth is unknown pixels stay."""
    known = before[mask & np.isfinite(before)]
    if len(known) < LEAST_SAMPLES:
        return moved
    near, middle, far = np.percentile(known, [25, 50, 75])
    margin = max(DEPTH_MARGIN_M + DEPTH_MARGIN * middle, far - near)
    with np.errstate(invalid="ignore"):
        outside = (after < near - margin) | (after > far + margin)
    return np.asarray(moved & ~outside, np.bool_)
