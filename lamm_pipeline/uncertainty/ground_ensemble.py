"""An ensemble of ground filters: each member says for every point of a cloud how probably it is an obstacle, not ground.

Members are of two kinds, with seeds and parameters of their own: planes by RANSAC (Fischler and Bolles, 1981), one in each part of the
view, and progressive morphological filters of the lowest points of a grid (Zhang et al., A progressive morphological filter for removing
nonground measurements from airborne LIDAR data, 2003). They err in different places: a plane where the ground bends, a grid where an object
hides the ground below it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.atomic import digest_json
from lamm_pipeline.streaming import Progress, map_ordered
from lamm_pipeline.uncertainty.evaluation_files import FILE_NAME, Evaluation, frame_files, read_evaluation
from lamm_pipeline.uncertainty.labels import GROUND, OBSTACLE
from lamm_pipeline.uncertainty.predictions import PredictionWriter

CLASSES = (GROUND, OBSTACLE)
MAX_TILT = math.radians(15.0)
MAX_RANGE_M = 300.0
"""The grid ends here; points farther off belong to its last cells."""
_HYPOTHESES = 200
_SCORED_POINTS = 2000
_MIN_POINTS = 50


@dataclass(frozen=True)
class PlaneFilter:
    """Height above a RANSAC plane in each part of the view.

    Attributes:
        seed: of the random choice of points.
        inlier_m: points nearer to a plane than this support it.
        sectors: parts of the full circle.
        rings_m: radii at which the view is divided.
        height_m: points are as probably an obstacle as not at this height.
        softness_m: height in which the logit grows by one.
    """

    seed: int
    inlier_m: float
    sectors: int
    rings_m: tuple[float, ...]
    height_m: float
    softness_m: float = 0.06


@dataclass(frozen=True)
class GridFilter:
    """Height above the opened surface of the lowest points.

    Attributes:
        cell_m: side of a grid cell.
        windows_m: widths of the openings, ascending; objects narrower than the widest are removed.
        slope: steepest ground, metres of height a metre.
        height_m, softness_m: see `PlaneFilter`.
    """

    cell_m: float
    windows_m: tuple[float, ...]
    slope: float
    height_m: float
    softness_m: float = 0.06


Member = PlaneFilter | GridFilter


@dataclass(frozen=True)
class EnsembleRun:
    """What `write_ensemble` did.

    Attributes:
        frames: predicted for.
        without_cloud: frames without a point cloud.
        points: of all frames.
        differing: points on which not all members say the same.
    """

    evaluation: Evaluation
    frames: int
    without_cloud: int
    points: int
    differing: int


MEMBERS: tuple[Member, ...] = (
    PlaneFilter(seed=1, inlier_m=0.10, sectors=1, rings_m=(), height_m=0.30, softness_m=0.10),
    PlaneFilter(seed=2, inlier_m=0.15, sectors=6, rings_m=(15.0,), height_m=0.25),
    PlaneFilter(seed=3, inlier_m=0.20, sectors=8, rings_m=(12.0, 30.0), height_m=0.20),
    GridFilter(cell_m=0.5, windows_m=(1.5, 3.0, 6.0), slope=0.15, height_m=0.25),
    GridFilter(cell_m=1.0, windows_m=(3.0, 7.0, 15.0), slope=0.25, height_m=0.30),
    GridFilter(cell_m=0.3, windows_m=(0.9, 2.1, 4.5), slope=0.30, height_m=0.20),
)


def ensemble_evaluation(evaluation_id: str, members: Sequence[Member] = MEMBERS, *, at: datetime | None = None) -> Evaluation:
    """The evaluation that the ensemble's predictions belong to; its model id names the members' parameters.

    Args:
        evaluation_id: its id.
        members: of the ensemble.
        at: when it is run, by default now.
    """
    parameters = [{"kind": type(member).__name__, **asdict(member)} for member in members]
    when = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    model_id = f"ground-filters-{digest_json(parameters)[:8]}"
    return Evaluation(evaluation_id, model_id, CLASSES, len(members), (OBSTACLE,), when, "Ground and obstacles by ground filters.")


def segment(points: NDArray[np.floating], members: Sequence[Member] = MEMBERS) -> NDArray[np.float16]:
    """What every member says about a cloud.

    Args:
        points: `(N, 3)` or wider: x forward, y left, z up, metres.
        members: of the ensemble.

    Returns:
        `(members, N, 2)` probabilities of ground and obstacle. The same cloud always gives the same.
    """
    xyz = np.asarray(points[:, :3], np.float64)
    found = np.empty((len(members), len(xyz), len(CLASSES)), np.float16)
    for place, member in enumerate(members):
        height = _above_planes(xyz, member) if isinstance(member, PlaneFilter) else _above_grid(xyz, member)
        obstacle = 1.0 / (1.0 + np.exp(np.clip((member.height_m - height) / member.softness_m, -20.0, 20.0)))
        found[place, :, 1] = obstacle
        found[place, :, 0] = 1.0 - obstacle
    return found


def _above_planes(xyz: NDArray[np.float64], member: PlaneFilter) -> NDArray[np.float64]:
    """Height above the plane of each point's part of the view; parts without a plane of their own take that of the whole view."""
    rng = np.random.default_rng(member.seed)
    whole = _plane(xyz, member, rng, None)
    if whole is None:
        return np.asarray(xyz[:, 2] - (np.percentile(xyz[:, 2], 10.0) if len(xyz) else 0.0))
    height = xyz @ whole[:3] + whole[3]
    radius = np.hypot(xyz[:, 0], xyz[:, 1])
    sector = np.floor((np.arctan2(xyz[:, 1], xyz[:, 0]) / (2.0 * np.pi) + 0.5) * member.sectors).astype(np.int64) % member.sectors
    ring = np.searchsorted(np.array(member.rings_m), radius, side="right")
    parts = ring * member.sectors + sector
    if member.sectors > 1 or member.rings_m:
        for part in np.unique(parts):
            inside = np.flatnonzero(parts == part)
            plane = _plane(xyz[inside], member, rng, whole)
            if plane is not None:
                height[inside] = xyz[inside] @ plane[:3] + plane[3]
    return np.asarray(height)


def _plane(
    xyz: NDArray[np.float64], member: PlaneFilter, rng: np.random.Generator, near: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """The plane `(normal up, offset)` that gains most from points on it and loses from points below it; None without one.

    Args:
        xyz: `(N, 3)` points.
        member: whose plane.
        rng: chooses points.
        near: a plane that its points are to be near to: a part of the view is no roof.
    """
    candidates = xyz if near is None else xyz[np.abs(xyz @ near[:3] + near[3]) < 1.0]
    if len(candidates) < _MIN_POINTS:
        return None
    triples = candidates[rng.integers(0, len(candidates), (_HYPOTHESES, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    solid = lengths > 1e-6
    normals = normals[solid] / lengths[solid, None]
    normals *= np.where(normals[:, 2:] < 0.0, -1.0, 1.0)
    level = normals[:, 2] > math.cos(MAX_TILT)
    normals, anchors = normals[level], triples[solid][level][:, 0]
    if len(normals) == 0:
        return None
    offsets = -(normals * anchors).sum(axis=1)
    scored = candidates[rng.permutation(len(candidates))[:_SCORED_POINTS]]
    distance = scored @ normals.T + offsets
    gain = np.maximum(1.0 - np.square(distance / member.inlier_m), 0.0).sum(axis=0) - (distance < -2.0 * member.inlier_m).sum(axis=0)
    best = int(np.argmax(gain))
    inliers = candidates[np.abs(candidates @ normals[best] + offsets[best]) < member.inlier_m]
    return _fitted(inliers) if len(inliers) >= _MIN_POINTS else np.append(normals[best], offsets[best])


def _fitted(inliers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane `z = a x + b y + c` by least squares, as unit normal and offset."""
    a, b, c = np.linalg.lstsq(np.column_stack([inliers[:, :2], np.ones(len(inliers))]), inliers[:, 2], rcond=None)[0]
    normal = np.array([-a, -b, 1.0]) / math.sqrt(a * a + b * b + 1.0)
    return np.append(normal, -c * normal[2])


def _above_grid(xyz: NDArray[np.float64], member: GridFilter) -> NDArray[np.float64]:
    """Height above the ground that is left when openings have removed what stands on it."""
    if len(xyz) == 0:
        return np.zeros(0)
    near = np.clip(xyz[:, :2], -MAX_RANGE_M, MAX_RANGE_M)
    cells = np.floor((near - near.min(axis=0)) / member.cell_m).astype(np.int64)
    shape = tuple(int(side) for side in cells.max(axis=0) + 1)
    flat = cells[:, 0] * shape[1] + cells[:, 1]
    lowest = np.full(shape[0] * shape[1], np.inf)
    np.minimum.at(lowest, flat, xyz[:, 2])
    surface = lowest.reshape(shape)
    empty = ~np.isfinite(surface)
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    surface = surface[tuple(nearest)]
    before = 0.0
    for window in member.windows_m:
        opened = ndimage.grey_opening(surface, size=max(3, 2 * round(window / member.cell_m / 2) + 1))
        allowed = member.slope * (window - before)
        surface = np.where(surface - opened > allowed, opened, surface)
        before = window
    surface = ndimage.grey_opening(surface, size=3)
    return np.asarray(xyz[:, 2] - surface.reshape(-1)[flat])


def write_ensemble(folder: Path, frames: Artifact, *, progress: Progress, members: Sequence[Member] = MEMBERS) -> EnsembleRun:
    """Run the ensemble over a recording's point clouds and write what it says as an evaluation.

    Args:
        folder: of the evaluation, whose name becomes its id; one of the same ensemble is there perhaps, with other recordings.
        frames: artifact of the recording.
        progress: told after every frame.
        members: of the ensemble.

    Raises:
        InputError: the frames have no point clouds, or the folder has another evaluation.
    """
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    clouds = [(frame.frame_id, frames.folder / frame.point_cloud) for frame in registry.selected_frames if frame.point_cloud is not None]
    if not clouds:
        raise InputError(f"The frames of {registry.recording!r} have no point clouds. Extract them with calibration and `point_cloud`.")
    evaluation = ensemble_evaluation(folder.name, members)
    if (folder / FILE_NAME).exists():
        present = read_evaluation(folder)
        evaluation = present if present.model_id == evaluation.model_id else evaluation
    points = differing = 0
    with PredictionWriter(folder, evaluation, registry.recording, frames_version=frames.version) as writer:
        for _, path in frame_files(folder / registry.recording):  # of frames that are no more, perhaps
            path.unlink()
        for done, ((frame_id, _), probabilities) in enumerate(map_ordered(lambda item: segment(_cloud(item[1]), members), clouds), 1):
            writer.add(frame_id, probabilities)
            votes = probabilities[..., 1] > 0.5
            points += votes.shape[1]
            differing += int((votes != votes[0]).any(axis=0).sum())
            progress(done, len(clouds))
    return EnsembleRun(evaluation, len(clouds), len(registry.selected_frames) - len(clouds), points, differing)


def _cloud(path: Path) -> NDArray[np.float32]:
    return np.fromfile(path, "<f4").reshape(-1, 4)
