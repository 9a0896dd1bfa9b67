"""Pictures of the scene as one eye's lens and sensor make them."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.sample.motion import CameraPose
from lamm_pipeline.sample.ray_cast import NOTHING, Hits, View, cast, view, windows
from lamm_pipeline.sample.rig import EyeRays
from lamm_pipeline.sample.scene import Surface
from lamm_pipeline.sample.textures import Atlas

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Most blocks of this size show one surface only, which is cheaper to colour, and their arrays stay in the processor's cache.
_BLOCK_ROWS, _BLOCK_COLUMNS = 72, 160
_EDGE_ROW = 512
_SUBRAYS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))

_LENS_BLUR_PX = 0.55
_READ_NOISE = 1.1
_SHOT_NOISE = 0.012
_EXPOSURE_DRIFT = 0.06
_EXPOSURE_PERIOD_S = 5.0
_RIGHT_EYE_GAIN = 0.985

_LIGHT_CELL_M = 0.05
_LIGHT_X_M = (-8.0, 8.0)
_LIGHT_Z_M = (-2.0, 18.0)
_SHADOW_DEPTH = 0.6
_SHADOW_REACH_M = 0.22
_SHADOW_END_M = 1.2


@dataclass(frozen=True)
class _Rays:
    """Rays with derivatives, all of one two-dimensional shape; see `EyeRays`."""

    x: Array
    y: Array
    x_du: Array
    y_du: Array
    x_dv: Array
    y_dv: Array


def ground_light(footprints: list[Box3D]) -> Array:
    """`(rows, columns)` share of the sky's light that reaches the ground, on a grid of 5 cm: less beside whatever stands on it."""
    x = np.arange(_LIGHT_X_M[0], _LIGHT_X_M[1], _LIGHT_CELL_M, dtype=np.float32)
    z = np.arange(_LIGHT_Z_M[0], _LIGHT_Z_M[1], _LIGHT_CELL_M, dtype=np.float32)
    light: Array = np.ones((len(z), len(x)), dtype=np.float32)
    for box in footprints:
        reach = math.hypot(box.length, box.width) / 2.0 + _SHADOW_END_M
        rows = slice(*np.searchsorted(z, [box.z - reach, box.z + reach]))
        columns = slice(*np.searchsorted(x, [box.x - reach, box.x + reach]))
        dx, dz = x[None, columns] - np.float32(box.x), z[rows, None] - np.float32(box.z)
        c, s = math.cos(box.rotation_y), math.sin(box.rotation_y)
        along, across = np.abs(c * dx - s * dz) - box.length / 2.0, np.abs(s * dx + c * dz) - box.width / 2.0
        distance = np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))
        light[rows, columns] *= 1.0 - _SHADOW_DEPTH * np.exp(-distance / _SHADOW_REACH_M)
    return light


def picture(rays: EyeRays, surfaces: list[Surface], pose: CameraPose, atlas: Atlas, light: Array) -> Array:
    """What the lens of an eye projects onto its sensor.

    Args:
        rays: the eye.
        surfaces: the scene.
        pose: of the rectified left camera.
        atlas: textures.
        light: from `ground_light`.

    Returns:
        `(H, W, 3)` float32 BGR, 0 to 255 at an exposure of 1.
    """
    seen = view(surfaces, pose, rays.offset_m)
    paint = _Paint.of(seen, atlas, light)
    hits = cast(rays.x, rays.y, seen, windows(seen, rays))
    image: Array = np.empty((*rays.x.shape, 3), dtype=np.float32)
    for top in range(0, rays.x.shape[0], _BLOCK_ROWS):
        for left in range(0, rays.x.shape[1], _BLOCK_COLUMNS):
            part = (slice(top, top + _BLOCK_ROWS), slice(left, left + _BLOCK_COLUMNS))
            block = _Rays(rays.x[part], rays.y[part], rays.x_du[part], rays.y_du[part], rays.x_dv[part], rays.y_dv[part])
            image[part] = paint.colours(block, Hits(hits.surface[part], hits.inverse_depth[part]))
    _smooth_edges(image, rays, hits, seen, paint)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _LENS_BLUR_PX), dtype=np.float32)


def expose(image: Array, time_s: float, *, right: bool, noise: float, rng: np.random.Generator) -> Picture:
    """What the sensor reads: exposure that drifts, shot and read noise, 8 bits.

    Args:
        image: `(H, W, 3)` from `picture`.
        time_s: recording time.
        right: the right eye is a little darker.
        noise: factor for the noise.
        rng: source of the noise.
    """
    gain = (1.0 + _EXPOSURE_DRIFT * math.sin(2.0 * math.pi * time_s / _EXPOSURE_PERIOD_S)) * (_RIGHT_EYE_GAIN if right else 1.0)
    exposed: Array = image * np.float32(gain)
    if noise > 0.0:
        grain = rng.standard_normal(exposed.shape, dtype=np.float32)
        grain *= np.sqrt(np.float32((noise * _READ_NOISE) ** 2) + np.float32(noise**2 * _SHOT_NOISE) * exposed)
        exposed += grain
    np.clip(np.rint(exposed, out=exposed), 0, 255, out=exposed)
    return exposed.astype(np.uint8)


@dataclass(frozen=True)
class _Paint:
    """What colouring needs to know of each surface of a view, as arrays over the surfaces."""

    seen: View
    atlas: Atlas
    light: Array
    texture: NDArray[np.int32]
    pixels_per_metre: Array
    brightness: Array
    is_ground: NDArray[np.bool_]

    @classmethod
    def of(cls, seen: View, atlas: Atlas, light: Array) -> "_Paint":
        texture = np.array([atlas.index(s.texture) for s in seen.surfaces], dtype=np.int32)
        size = atlas.size[texture, 0]
        metres = np.array([(s.width, s.height) if s.tile_m is None else (s.tile_m, s.tile_m) for s in seen.surfaces], dtype=np.float32)
        return cls(
            seen,
            atlas,
            light,
            texture,
            size / metres,
            np.array([s.brightness for s in seen.surfaces], dtype=np.float32),
            np.array([s.is_ground for s in seen.surfaces]),
        )

    def colours(self, rays: _Rays, hits: Hits) -> Array:
        """`(H, W, 3)` colours of what the rays meet."""
        surface = np.maximum(hits.surface, 0)
        if surface.min() == surface.max():
            surface = surface[:1, :1]
        h = [[self.seen.homographies[:, row, column].take(surface) for column in range(3)] for row in range(3)]
        depth: Array = np.reciprocal(np.where(hits.surface == NOTHING, np.float32(1.0), hits.inverse_depth))
        position, du, dv = np.empty((3, 2, *hits.surface.shape), dtype=np.float32)
        for axis in range(2):
            metres = (h[axis][0] * rays.x + h[axis][1] * rays.y + h[axis][2]) * depth
            pixels_per_metre = self.pixels_per_metre[:, axis].take(surface)
            scale = pixels_per_metre * depth
            slope_x = (h[axis][0] - metres * h[2][0]) * scale
            slope_y = (h[axis][1] - metres * h[2][1]) * scale
            position[axis] = metres * pixels_per_metre
            du[axis] = slope_x * rays.x_du + slope_y * rays.y_du
            dv[axis] = slope_x * rays.x_dv + slope_y * rays.y_dv
        length_du, length_dv = np.hypot(du[0], du[1]), np.hypot(dv[0], dv[1])
        major = np.where(length_du > length_dv, du, dv)
        colour = self.atlas.sample(self.texture.take(surface), position, major, np.minimum(length_du, length_dv))
        lit = self.brightness.take(surface) * self._light_on(surface, rays, depth)
        return np.asarray(cv2.multiply(colour, cv2.merge([lit, lit, lit])), dtype=np.float32)

    def _light_on(self, surface: NDArray[np.integer], rays: _Rays, depth: Array) -> Array:
        """`(H, W)` light on the ground, 1 on everything else."""
        ground = self.is_ground[surface]
        if not ground.any():
            return np.ones_like(rays.x)
        c, s = (np.float32(f(self.seen.pose.yaw)) for f in (math.cos, math.sin))
        x = (np.float32(self.seen.eye[0] - _LIGHT_X_M[0]) + depth * (c * rays.x + s)) / np.float32(_LIGHT_CELL_M)
        z = (np.float32(self.seen.eye[2] - _LIGHT_Z_M[0]) + depth * (c - s * rays.x)) / np.float32(_LIGHT_CELL_M)
        light = cv2.remap(self.light, x, z, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.where(ground, light, np.float32(1.0))


def _smooth_edges(image: Array, rays: EyeRays, hits: Hits, seen: View, paint: _Paint) -> None:
    """Colour pixels in which two surfaces meet anew, from four rays each, in place."""
    edge = np.zeros(hits.surface.shape, dtype=np.bool_)
    for before, after in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = hits.surface[before] != hits.surface[after]
        edge[before] |= differs
        edge[after] |= differs
    places = np.flatnonzero(edge)
    if len(places) == 0:
        return
    # remap takes images, not lists: lay the pixels out in rows, the last one filled up
    laid = np.pad(places, (0, -len(places) % _EDGE_ROW), mode="edge").reshape(-1, _EDGE_ROW)
    x, y, x_du, y_du, x_dv, y_dv = (plane.ravel()[laid] for plane in (rays.x, rays.y, rays.x_du, rays.y_du, rays.x_dv, rays.y_dv))
    total: Array = np.zeros((*laid.shape, 3), dtype=np.float32)
    half = np.float32(0.5)
    for across, down in _SUBRAYS:
        sub_x = x + np.float32(across) * x_du + np.float32(down) * x_dv
        sub_y = y + np.float32(across) * y_du + np.float32(down) * y_dv
        sub = _Rays(sub_x, sub_y, half * x_du, half * y_du, half * x_dv, half * y_dv)
        total += paint.colours(sub, cast(sub_x, sub_y, seen))
    image.reshape(-1, 3)[places] = (total / len(_SUBRAYS)).reshape(-1, 3)[: len(places)]
