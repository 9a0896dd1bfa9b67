"""The size of an object in metres, as its mask and the stereo depth say, and whether an object of a class can be so."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.segmentation.depth_masks import MIN_KNOWN_SHARE, MIN_PIXELS, Depth, MaskCrop, depth_noise

# A box may show a part of an object (legs hidden, a car behind another) and depth is off by some percent, so only clear misfits go.
SMALLEST_HEIGHT_SHARE, LARGEST_HEIGHT_SHARE = 0.4, 1.6
# How high the lower edge of a box may lie above the plane of the ground, which real ground leaves with the distance (crests, ramps).
FLOATING_M, FLOATING_SLOPE = 1.0, 0.03
IMAGE_BORDER_PX = 2.0
# Edges of a mask often lie on what is behind the object.
INNER_PERCENTILES = (10.0, 90.0)


@dataclass(frozen=True)
class MetricSize:
    """How large an object looks from where the camera stands, metres.

    Attributes:
        width: from left to right.
        height: from top to bottom.
        thickness: from the nearest to the farthest depth seen, without what the noise of stereo explains.
        depth: median along z.
    """

    width: float
    height: float
    thickness: float
    depth: float


def measure(mask: MaskCrop, depth: Depth, camera: RectifiedCamera) -> MetricSize | None:
    """Measure an object.

    Args:
        mask: of the object; the crop is its box.
        depth: `(H, W)` float32, metres along z, NaN = unknown.
        camera: of this depth map.

    Returns:
        Its size, or None when too little depth is known in the mask.
    """
    rows, columns = mask.pixels.shape
    values = depth[mask.y : mask.y + rows, mask.x : mask.x + columns][mask.pixels].astype(np.float64)
    values = values[np.isfinite(values)]
    if len(values) < max(MIN_PIXELS, MIN_KNOWN_SHARE * float(mask.pixels.sum())):
        return None
    z = float(np.median(values))
    near, far = np.percentile(values, INNER_PERCENTILES)
    noise = 2.0 * float(depth_noise(np.array(z), camera))
    return MetricSize(columns * z / camera.fx, rows * z / camera.fy, max(float(far - near) - noise, 0.0), z)


def misfit(
    box_xyxy: NDArray[np.float64], height_m: float, depth_m: float, bottom_m: float | None, prior: SizePrior | None, image_height: int
) -> str | None:
    """Why an object cannot be one of its class, None when it may be.

    Args:
        box_xyxy: pixels.
        height_m: as measured.
        depth_m: as measured.
        bottom_m: height of the box's lower edge above the ground, None when unknown.
        prior: sizes of the class, None when it has none.
        image_height: pixels.
    """
    if prior is not None:
        whole = box_xyxy[1] > IMAGE_BORDER_PX and box_xyxy[3] < image_height - IMAGE_BORDER_PX
        if height_m > LARGEST_HEIGHT_SHARE * prior.height[1] or (whole and height_m < SMALLEST_HEIGHT_SHARE * prior.height[0]):
            return "size does not fit the class"
    return "floats above the ground" if floats(bottom_m, depth_m) else None


def floats(bottom_m: float | None, depth_m: float) -> bool:
    """Whether an object is too high above the ground to stand on it.

    Args:
        bottom_m: height of its lower edge above the ground, None when unknown.
        depth_m: how far away it is.
    """
    return bottom_m is not None and bottom_m > FLOATING_M + FLOATING_SLOPE * depth_m


def cut_by_border(box_xyxy: NDArray[np.float64], width: int, height: int) -> bool:
    """Whether a box ends at a border of the image, so that its object may go on there.

    Args:
        box_xyxy: pixels.
        width: of the image.
        height: of the image.
    """
    x1, y1, x2, y2 = box_xyxy
    return bool(min(x1, y1) <= IMAGE_BORDER_PX or x2 >= width - IMAGE_BORDER_PX or y2 >= height - IMAGE_BORDER_PX)
