"""The oriented 3D box in KITTI's terms. The operations on it are in `boxes_3d.py`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box3D:
    """An upright box in the rectified left-camera frame (x right, y down, z forward), metres and radians.

    Attributes:
        x, y, z: centre of the *bottom* face.
        length, width, height: extents along the box's own axes; height is vertical.
        rotation_y: rotation about +y; 0 means the box's length points along +x. In (-pi, pi].
    """

    x: float
    y: float
    z: float
    length: float
    width: float
    height: float
    rotation_y: float
