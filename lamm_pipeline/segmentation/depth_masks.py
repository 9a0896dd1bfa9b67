"""The outline of an object from its 2D box and the stereo depth inside it.

Depth is the z coordinate of the rectified left camera in metres, NaN where unknown. An object is what stands above the ground within a
band of depths around the box's dominant depth; how wide the band is depends on how long objects of the class are. Where the right eye
sees nothing, at the left border, the box decides. A box may end before its object does: the mask of something small, such as a
person, goes on to the left and right of it where depth goes on smoothly, up to the largest size of the class.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane
from lamm_pipeline.ontology.ontology import SizePrior

Depth = NDArray[np.float32]

LOG_BIN = 0.04
MIN_KNOWN_SHARE = 0.08
MIN_MASK_SHARE = 0.15
MIN_PIXELS = 30
LOWEST_STRIP = 0.1
"""Largest share of a box's height by which a mask is drawn out to the ground."""
LARGEST_WIDENED_M = 1.0
"""Masks of classes that may be larger than this keep to the box: within a band of depths as wide as a car there are neighbours too."""
CENTRAL_SHARE = 0.1
CENTRAL_MIN_SAMPLES = 10


@dataclass(frozen=True)
class MaskCrop:
    """A mask within a part of the image; everything outside is background.

    Attributes:
        x, y: column and row of the crop's first pixel.
        pixels: `(h, w)` bool.
    """

    x: int
    y: int
    pixels: NDArray[np.bool_]

    def full(self, width: int, height: int) -> NDArray[np.bool_]:
        """The mask of the whole image, `(height, width)` bool."""
        mask = np.zeros((height, width), dtype=bool)
        mask[self.y : self.y + self.pixels.shape[0], self.x : self.x + self.pixels.shape[1]] = self.pixels
        return mask


@dataclass(frozen=True)
class ObjectDepth:
    """What the depth in a box says about the object.

    Attributes:
        mask: its pixels.
        depth_m: its dominant depth.
        bottom_m: height of the box's lower edge above the ground at that depth, None without a ground plane.
    """

    mask: MaskCrop
    depth_m: float
    bottom_m: float | None


def object_depth(
    box_xyxy: NDArray[np.float64], depth: Depth, camera: RectifiedCamera, ground: GroundPlane | None, prior: SizePrior | None
) -> ObjectDepth | None:
    """Outline the object in a box.

    Args:
        box_xyxy: in pixels of the left image, within the image.
        depth: `(H, W)` float32, metres, NaN = unknown.
        camera: of this depth map.
        ground: of this frame, None when unknown.
        prior: sizes of the class, None when it has none.

    Returns:
        Mask and depth, or None when too little depth is known in the box or no connected part stands out.
    """
    x1, y1, x2, y2 = pixel_box(box_xyxy, depth.shape[1], depth.shape[0])
    crop = depth[y1:y2, x1:x2].astype(np.float64)
    known = np.isfinite(crop)
    if known.sum() < max(MIN_PIXELS, MIN_KNOWN_SHARE * crop.size):
        return None
    z = np.where(known, crop, 1.0)
    standing = known & _above_ground(z, (x1, y1), camera, ground)
    if standing.sum() < MIN_PIXELS:
        return None
    weights = central_weights(crop.shape)
    contact = _contact_depth(box_xyxy, camera, ground, depth.shape[0])
    mode = dominant_depth(z[standing], weights[standing], contact)
    nearest, farthest = depth_band(mode, camera, prior, float(box_xyxy[2] - box_xyxy[0]))
    inside = standing & (z >= nearest) & (z <= farthest)
    # The left border of the left image is not in the right one, so nothing there contradicts the box.
    unseen = ~known & (np.arange(x1, x2) < camera.fx * camera.baseline_m / mode)
    unseen &= _above_ground(np.full_like(z, mode), (x1, y1), camera, ground)
    pixels = _one_part(_fill_unknown(inside | unseen, ~known), weights)
    if pixels.sum() < max(MIN_PIXELS, MIN_MASK_SHARE * crop.size):
        return None
    mask = MaskCrop(x1, y1, pixels)
    largest = max(prior.length[1], prior.width[1]) if prior is not None else np.inf
    if largest <= LARGEST_WIDENED_M:
        reach = round(largest * camera.fx / mode - (x2 - x1))
        mask = _widened(mask, reach, depth, (nearest, farthest), camera, ground)
    if ground is not None:
        mask = _down_to_ground(mask, depth, mode, camera, ground)
    return ObjectDepth(mask, mode, bottom_above_ground(box_xyxy, mode, camera, ground))


def bottom_above_ground(box_xyxy: NDArray[np.float64], depth_m: float, camera: RectifiedCamera, ground: GroundPlane | None) -> float | None:
    """Height of a box's lower edge above the ground if it is at this depth, metres; None when the ground is unknown.

    Args:
        box_xyxy: in pixels of the left image.
        depth_m: along z.
        camera: of the image.
        ground: of this frame, None when unknown.
    """
    if ground is None:
        return None
    centre = (float(box_xyxy[0] + box_xyxy[2]) / 2.0 - camera.cx) / camera.fx
    edge = np.array([centre, (float(box_xyxy[3]) - camera.cy) / camera.fy, 1.0]) * depth_m
    return float(ground.height_above(edge))


def box_mask(box_xyxy: NDArray[np.float64], width: int, height: int) -> MaskCrop:
    """The mask that fills the box, for where nothing better is known."""
    x1, y1, x2, y2 = pixel_box(box_xyxy, width, height)
    return MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=bool))


def crop_to_mask(mask: NDArray[np.bool_]) -> MaskCrop | None:
    """The part of an image's mask that has pixels, None when there are none.

    Args:
        mask: `(H, W)` bool.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return MaskCrop(int(columns[0]), int(rows[0]), mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())


def pixel_box(box_xyxy: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """The whole pixels within a box, at least one: first column and row, and those behind the last."""
    x1, y1 = min(int(np.ceil(box_xyxy[0])), width - 1), min(int(np.ceil(box_xyxy[1])), height - 1)
    x2, y2 = min(int(np.floor(box_xyxy[2])), width), min(int(np.floor(box_xyxy[3])), height)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def central_distance(mask: MaskCrop, depth: Depth) -> float | None:
    """Median depth around the centre of a mask (REC-07).

    Args:
        mask: of the object.
        depth: `(H, W)` float32, metres, NaN = unknown.

    Returns:
        Median over the mask's pixels in the circle around its centroid that has a tenth of the mask's area; None with fewer than ten known
        depths there.
    """
    rows, columns = np.nonzero(mask.pixels)
    if len(rows) == 0:
        return None
    radius_squared = max(CENTRAL_SHARE * len(rows) / np.pi, 1.0)
    near = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2 <= radius_squared
    samples = depth[rows[near] + mask.y, columns[near] + mask.x]
    samples = samples[np.isfinite(samples)]
    return float(np.median(samples)) if len(samples) >= CENTRAL_MIN_SAMPLES else None


def depth_noise(z: NDArray[np.float64], camera: RectifiedCamera) -> NDArray[np.float64]:
    """Depth error of half a pixel of disparity, metres."""
    error: NDArray[np.float64] = 0.5 * np.square(z) / (camera.fx * camera.baseline_m)
    return error


def central_weights(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """`(h, w)` weights of a box's pixels, highest in the middle: corners of a box seldom belong to its object."""
    vertical, horizontal = (np.exp(-2.0 * np.square(np.linspace(-1.0, 1.0, side))) for side in shape)
    return np.outer(vertical, horizontal)


def dominant_depth(z: NDArray[np.float64], weights: NDArray[np.float64], contact: float | None) -> float:
    """The depth at which most of the weighted pixels lie, preferring where the box meets the ground.

    Args:
        z: `(N,)` metres.
        weights: `(N,)`.
        contact: depth of the ground at the box's lower edge, None when unknown.
    """
    logs = np.log(z)
    bins = np.floor((logs - logs.min()) / LOG_BIN).astype(np.intp)
    mass = np.convolve(np.bincount(bins, weights=weights, minlength=3), (0.5, 1.0, 0.5), mode="same")
    centres = logs.min() + (np.arange(len(mass)) + 0.5) * LOG_BIN
    if contact is not None:
        mass = mass * (0.3 + np.exp(-0.5 * np.square((centres - np.log(contact)) / 0.2)))
    peak = centres[int(np.argmax(mass))]
    return float(np.median(z[np.abs(logs - peak) <= LOG_BIN]))


def depth_band(mode: float, camera: RectifiedCamera, prior: SizePrior | None, box_width_px: float) -> tuple[float, float]:
    """Nearest and farthest depth of an object whose dominant depth is `mode`, metres.

    The dominant depth is mostly that of the face turned to the camera, so more of the object lies behind it than before it.
    """
    extent = prior.length[1] if prior is not None else max(box_width_px * mode / camera.fx, 0.5)
    noise = 2.0 * float(depth_noise(np.array(mode), camera))
    return mode - 0.4 * extent - noise, mode + 0.7 * extent + noise


def _above_ground(
    z: NDArray[np.float64], corner: tuple[int, int], camera: RectifiedCamera, ground: GroundPlane | None
) -> NDArray[np.bool_]:
    """Which pixels of a crop with its first pixel at `corner` (column, row) would stand above the ground at the depths `z`."""
    if ground is None:
        return np.ones(z.shape, dtype=bool)
    x1, y1 = corner
    across = (np.arange(x1, x1 + z.shape[1]) - camera.cx) / camera.fx
    down = (np.arange(y1, y1 + z.shape[0])[:, None] - camera.cy) / camera.fy
    nx, ny, nz = ground.normal
    height = z * (nx * across + (ny * down + nz)) + ground.offset
    return np.asarray(height > 0.02 + 0.5 * depth_noise(z, camera) * np.abs(down))


def _widened(
    mask: MaskCrop, reach: int, depth: Depth, band: tuple[float, float], camera: RectifiedCamera, ground: GroundPlane | None
) -> MaskCrop:
    """Let each row of a mask that touches a side of its box go on beyond it, at most `reach` pixels, as long as depth goes on smoothly."""
    height, width = mask.pixels.shape
    left, right = min(max(reach, 0), mask.x), min(max(reach, 0), depth.shape[1] - mask.x - width)
    if not left and not right:
        return mask
    x = mask.x - left
    crop = depth[mask.y : mask.y + height, x : mask.x + width + right].astype(np.float64)
    known = np.isfinite(crop)
    z = np.where(known, crop, 1.0)
    fits = known & (z >= band[0]) & (z <= band[1]) & _above_ground(z, (x, mask.y), camera, ground)
    smooth = np.abs(np.diff(z, axis=1)) <= depth_noise(z[:, 1:], camera)
    pixels = np.pad(mask.pixels, ((0, 0), (left, right)))
    end = left + width
    pixels[:, end:] = _run(pixels[:, end - 1], fits[:, end:] & smooth[:, end - 1 :])
    pixels[:, :left] = _run(pixels[:, left], (fits[:, :left] & smooth[:, :left])[:, ::-1])[:, ::-1]
    return MaskCrop(x, mask.y, _fill_unknown(pixels, ~known))


def _run(start: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels each row reaches from its first column's left neighbour without leaving the allowed ones."""
    result: NDArray[np.bool_] = np.logical_and.accumulate(np.column_stack([start, allowed]), axis=1)[:, 1:]
    return result


def _down_to_ground(mask: MaskCrop, depth: Depth, mode: float, camera: RectifiedCamera, ground: GroundPlane) -> MaskCrop:
    """Add the strip between the lowest pixels and the ground, which is too near to it to be told from it; wider gaps stay."""
    height = len(mask.pixels)
    columns = np.flatnonzero(mask.pixels.any(axis=0))
    lowest = height - 1 - np.argmax(mask.pixels[::-1, columns], axis=0)
    measured = depth[mask.y + lowest, mask.x + columns].astype(np.float64)
    z = np.where(np.isfinite(measured), measured, mode)
    x = (columns + mask.x - camera.cx) / camera.fx * z
    contact = np.array([ground.y_at(float(a), float(b)) for a, b in zip(x, z, strict=True)]) / z * camera.fy + camera.cy - mask.y
    fills = contact - lowest <= LOWEST_STRIP * height
    rows = np.arange(height)[:, None]
    result = mask.pixels.copy()
    result[:, columns] |= fills & (rows > lowest) & (rows <= contact)
    return MaskCrop(mask.x, mask.y, result)


def _contact_depth(box_xyxy: NDArray[np.float64], camera: RectifiedCamera, ground: GroundPlane | None, height: int) -> float | None:
    if ground is None or box_xyxy[3] >= height - 2:
        return None
    x = (float(box_xyxy[0] + box_xyxy[2]) / 2.0 - camera.cx) / camera.fx
    descent = -float(np.dot(ground.normal, (x, (float(box_xyxy[3]) - camera.cy) / camera.fy, 1.0)))
    return ground.offset / descent if descent > 1e-3 else None


def _fill_unknown(inside: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add pixels of unknown depth that lie between known ones of the object, or in holes of it."""
    side = max(3, round(0.2 * min(inside.shape))) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    padded = np.pad(inside.astype(np.uint8), side)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side].astype(bool)
    filled = inside | (closed & unknown)
    _, parts, stats, _ = cv2.connectedComponentsWithStats((~filled).astype(np.uint8), connectivity=4)
    height, width = filled.shape
    left, top, right, bottom = stats[:, 0], stats[:, 1], stats[:, 0] + stats[:, 2], stats[:, 1] + stats[:, 3]
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    enclosed[0] = False
    result: NDArray[np.bool_] = filled | (enclosed[parts] & unknown)
    return result


def _one_part(mask: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The connected part with the largest weighted area, thin bridges cut."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(opened, connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    mass = np.bincount(parts.ravel(), weights=weights.ravel())
    mass[0] = 0.0
    part: NDArray[np.bool_] = parts == int(np.argmax(mass))
    return part
