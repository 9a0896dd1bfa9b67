"""What stands and moves in the sample: a gravel path between lawns, brick walls, a hedge, and cuboids with photographs.

Everything visible is a rectangle in space (`Surface`). World axes: x right, y down, z forward, metres; the ground is y = 0. The cuboids
walk along ellipses, their photograph ahead, so that a recording of any length has a scene.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import transform, wrap_angle
from lamm_pipeline.sample.motion import CameraPose

Vector = NDArray[np.float64]

NOT_AN_OBJECT = -1

_DOWN = np.array([0.0, 1.0, 0.0])
_TILE_M = 5.4


@dataclass(frozen=True)
class Surface:
    """A textured rectangle.

    Attributes:
        corner: `(3,)` world position of its upper left corner, seen from outside.
        right, down: `(3,)` unit vectors along its sides.
        width, height: metres.
        texture: name in the atlas.
        tile_m: metres that one tile covers; None stretches the texture over the rectangle.
        brightness: factor for the light that falls on a face of this direction.
        track_id: the object it belongs to, or `NOT_AN_OBJECT`.
        is_ground: whether shadows fall on it.
        is_sky: whether it is infinitely far for all purposes of depth.
    """

    corner: Vector
    right: Vector
    down: Vector
    width: float
    height: float
    texture: str
    tile_m: float | None = None
    brightness: float = 1.0
    track_id: int = NOT_AN_OBJECT
    is_ground: bool = False
    is_sky: bool = False


@dataclass(frozen=True)
class Loop:
    """An ellipse on the ground, walked round and round at constant angular speed.

    Attributes:
        x, z: position at `middle_s`, on one of the ellipse's flat sides, metres.
        heading: direction of motion there, KITTI's rotation_y: `(cos, 0, -sin)`, radians.
        along, across: semi-axes, metres; it turns left where `across` is positive, right where it is negative.
        period_s: seconds for a round.
        middle_s: scene time at which the position is `x`, `z`.
    """

    x: float
    z: float
    heading: float
    along: float
    across: float
    period_s: float
    middle_s: float = 1.65

    def at(self, scene_s: float) -> tuple[float, float, float]:
        """Position x, z and heading (rotation_y) at a scene time."""
        rate = 2.0 * math.pi / self.period_s
        angle = rate * (scene_s - self.middle_s)
        c, s = math.cos(self.heading), math.sin(self.heading)
        forward, sideways = self.along * math.sin(angle), self.across * (1.0 - math.cos(angle))
        v_forward, v_sideways = self.along * math.cos(angle) * rate, self.across * math.sin(angle) * rate
        vx, vz = c * v_forward + s * v_sideways, -s * v_forward + c * v_sideways
        return self.x + c * forward + s * sideways, self.z - s * forward + c * sideways, wrap_angle(math.atan2(-vz, vx))


@dataclass(frozen=True)
class Actor:
    """A cuboid that moves.

    Attributes:
        track_id: identity in the truth.
        class_id: id in the ontology.
        kitti_type: type in the labels.
        photograph: what its front shows, and where that comes from.
        front, side: textures of its front and back, and of the rest.
        length, width, height: metres; length is the direction of motion.
        loop: where it walks.
    """

    track_id: int
    class_id: str
    kitti_type: str
    photograph: str
    front: str
    side: str
    length: float
    width: float
    height: float
    loop: Loop

    def box_at(self, scene_s: float) -> Box3D:
        """Its box in the world at a scene time."""
        x, z, heading = self.loop.at(scene_s)
        return Box3D(x, 0.0, z, self.length, self.width, self.height, heading)


def _person(track_id: int, front: str, loop: Loop) -> Actor:
    return Actor(
        track_id=track_id,
        class_id="person",
        kitti_type="Pedestrian",
        photograph="skimage.data.astronaut",
        front=front,
        side="suit",
        length=0.4,
        width=0.75,
        height=1.6,
        loop=loop,
    )


ACTORS: tuple[Actor, ...] = (
    _person(0, "person", Loop(x=-0.1, z=6.6, heading=math.radians(63.0), along=2.6, across=-0.6, period_s=14.0)),
    _person(1, "person_mirrored", Loop(x=-0.1, z=8.4, heading=math.radians(120.0), along=2.6, across=0.6, period_s=14.0)),
    Actor(
        track_id=2,
        class_id="cat",
        kitti_type="Misc",
        photograph="skimage.data.chelsea",
        front="cat",
        side="fur",
        length=0.5,
        width=0.5,
        height=0.36,
        loop=Loop(x=-0.45, z=2.55, heading=math.radians(78.0), along=0.3, across=0.1, period_s=15.0),
    ),
    _person(3, "person", Loop(x=4.6, z=5.9, heading=math.radians(171.0), along=2.6, across=0.5, period_s=14.0)),
)
"""Two persons whose ways cross in the picture, a cat, and a person who comes into the picture from the right."""

_CLUTTER: tuple[tuple[Box3D, str], ...] = (
    (Box3D(3.3, 0.0, 9.4, 0.6, 0.6, 1.5, 0.2), "brick"),
    (Box3D(-4.4, 0.0, 10.5, 2.2, 0.7, 0.6, 0.1), "gravel"),
    (Box3D(4.6, 0.0, 11.8, 1.6, 0.8, 0.9, -0.15), "grass"),
)


def boxes_in_camera(pose: CameraPose, scene_s: float) -> dict[int, Box3D]:
    """Every actor's box in the rectified left camera, by track id."""
    shift = -(pose.rotation.T @ pose.position)
    translation = (float(shift[0]), float(shift[1]), float(shift[2]))
    return {actor.track_id: transform(actor.box_at(scene_s), -pose.yaw, translation) for actor in ACTORS}


def surfaces_at(scene_s: float) -> list[Surface]:
    """All rectangles of the scene; the faces of a box are those of `box_faces`."""
    surfaces = [*_SURROUNDINGS]
    for box, texture in _CLUTTER:
        surfaces += box_faces(box, texture, texture, NOT_AN_OBJECT, tiled=True)
    for actor in ACTORS:
        surfaces += box_faces(actor.box_at(scene_s), actor.front, actor.side, actor.track_id)
    return surfaces


def footprints_at(scene_s: float) -> list[Box3D]:
    """All boxes that stand on the ground and darken it."""
    return [box for box, _ in _CLUTTER] + [actor.box_at(scene_s) for actor in ACTORS]


def box_faces(box: Box3D, front: str, side: str, track_id: int, *, tiled: bool = False) -> list[Surface]:
    """Front, back, both sides and top of a box. Nobody sees the bottom."""
    c, s = math.cos(box.rotation_y), math.sin(box.rotation_y)
    ahead, across = np.array([c, 0.0, -s]), np.array([s, 0.0, c])
    centre = np.array([box.x, box.y, box.z])
    top = centre - box.height * _DOWN
    tile_m = 1.5 if tiled else None
    faces = []
    for normal, depth, width, texture, brightness in (
        (ahead, box.length, box.width, front, 1.0),
        (-ahead, box.length, box.width, front, 0.85),
        (across, box.width, box.length, side, 0.8),
        (-across, box.width, box.length, side, 0.7),
    ):
        right = np.cross(_DOWN, -normal)
        corner = top + normal * depth / 2.0 - right * width / 2.0
        faces.append(Surface(corner, right, _DOWN, width, box.height, texture, tile_m or _side_tile(texture), brightness, track_id))
    corner = top - ahead * box.length / 2.0 - across * box.width / 2.0
    faces.append(Surface(corner, across, ahead, box.width, box.length, side, tile_m or _side_tile(side), 1.1, track_id))
    return faces


def _side_tile(texture: str) -> float | None:
    """Metres of a tile of cloth; photographs are stretched over their face."""
    return 0.7 if texture in {"suit", "fur"} else None


def _wall(start: tuple[float, float], end: tuple[float, float], height: float, texture: str, brightness: float) -> Surface:
    """An upright rectangle from one ground position (x, z) to another, left to right for its viewer."""
    along = np.array([end[0] - start[0], 0.0, end[1] - start[1]])
    width = float(np.linalg.norm(along))
    return Surface(np.array([start[0], -height, start[1]]), along / width, _DOWN, width, height, texture, _TILE_M, brightness)


def _ground(left: float, right: float, texture: str) -> Surface:
    return Surface(
        np.array([left, 0.0, 40.0]),
        np.array([1.0, 0.0, 0.0]),
        np.array([0.0, 0.0, -1.0]),
        right - left,
        60.0,
        texture,
        _TILE_M,
        is_ground=True,
    )


_SURROUNDINGS: tuple[Surface, ...] = (
    Surface(np.array([-3400.0, -1600.0, 2000.0]), np.array([1.0, 0.0, 0.0]), _DOWN, 6800.0, 1700.0, "sky", brightness=1.0, is_sky=True),
    _ground(-40.0, -3.0, "grass"),
    _ground(-3.0, 3.2, "gravel"),
    _ground(3.2, 40.0, "grass"),
    _wall((-6.2, -10.0), (-6.2, 15.0), 4.2, "brick", 0.85),
    _wall((-6.2, 15.0), (8.6, 15.0), 3.2, "brick", 1.0),
    _wall((8.6, 15.0), (8.6, -10.0), 1.9, "grass", 0.62),
)
