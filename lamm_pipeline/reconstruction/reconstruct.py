"""From masks and depth to the 3D boxes of a recording, frame by frame.

Writes `boxes_3d.json`, a sample of each box's points (`surface_points.py`), and KITTI labels `label_2/<frame index>.txt` for every frame
that was searched for objects, empty where there are none. A frame that could not be searched has neither entry nor label file, because an
empty one would say that nothing is there. Every detection ends either in `boxes` or, with its reason, in `refused`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.boxes_3d import alpha, projected_box_xyxy
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.reconstruction import frame_boxes, kitti_labels, surface_points
from lamm_pipeline.reconstruction.box_fit import BoxFit, ObjectView, fit_box, rounded, typical
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox, RefusedBox
from lamm_pipeline.reconstruction.kitti_labels import KittiObject
from lamm_pipeline.reconstruction.object_points import (
    MAX_EROSION_PX,
    back_project,
    densest_slice,
    erode,
    largest_cluster,
    on_grid,
    without_ground,
    without_occluder,
    without_outliers,
)
from lamm_pipeline.reconstruction.settings import BoxMethod, BoxSettings
from lamm_pipeline.reconstruction.visibility import hidden_edges, occlusion_level, truncated_share
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.segmentation.depth_masks import MaskCrop
from lamm_pipeline.segmentation.detections import Detection, FailedFrame, FrameDetections
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

LABEL_FOLDER = "label_2"

NO_DEPTH = "the frame has no depth map"
DAMAGED_DEPTH = "the frame's depth map is missing or damaged"
TOO_FEW_POINTS = "too few depth points in the mask"
TOO_FEW_CLEAN_POINTS = "too few points left without ground, background and outliers"
TOO_FAR = "farther away than the maximum distance"
NOT_ON_2D_BOX = "the 3D box does not project onto the 2D box"
REASONS = (NO_DEPTH, DAMAGED_DEPTH, TOO_FEW_POINTS, TOO_FEW_CLEAN_POINTS, TOO_FAR, NOT_ON_2D_BOX)
NOT_SEARCHED = "the detections do not have the frame"

_PLAUSIBLE_SIZE_RATIO = (0.5, 2.0)
_IMPLAUSIBLE_SIZE_PENALTY = 0.7
_MAX_POINTS = 2500


@dataclass(frozen=True)
class ReconstructionSummary:
    """Counts over the recording; `boxes + refused == detections`.

    Attributes:
        frames: frames in `boxes_3d.json`.
        failed_frames: frames that detection left out, and frames whose depth map is damaged, in their order.
        frames_without_ground: of them, frames with detections but without a ground plane.
        detections: detections in these frames.
        boxes: detections with a 3D box.
        refused: detections without one.
        boxes_by_class: class id -> number, sorted by class id.
        refused_by_reason: one of `REASONS` -> number, in their order, zeros left out.
    """

    frames: int
    failed_frames: tuple[FailedFrame, ...]
    frames_without_ground: int
    detections: int
    boxes: int
    refused: int
    boxes_by_class: Mapping[str, int]
    refused_by_reason: Mapping[str, int]


def reconstruct(
    registry: FrameRegistry,
    frames_folder: Path,
    detections_path: Path,
    ontology: Ontology,
    settings: BoxSettings,
    draft: Draft,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> ReconstructionSummary:
    """Make the 3D boxes of a recording.

    Args:
        registry: of the recording's frames.
        frames_folder: folder that the registry's paths are relative to.
        detections_path: `detections.json` of the same frames.
        ontology: sizes and KITTI types of the classes.
        settings: see `BoxSettings`.
        draft: where `boxes_3d.json` and `label_2/` are written.
        workers: threads.
        progress: told after every frame.

    Raises:
        InputError: the frames have no depth, too many depth maps are damaged, or detections and frames do not belong together.
    """
    camera = _camera_with_depth(registry, frames_folder)
    selected = [frame for frame in registry.frames if frame.selected]

    def work(pair: tuple[FrameRecord, FrameDetections | None]) -> _Result:
        record, found = pair
        return _Result(None, failure=NOT_SEARCHED) if found is None else _work(record, found, frames_folder, camera, ontology, settings)

    log = draft.log("boxes.jsonl")
    done = int(draft.state.get("done", 0))
    pairs = islice(_pairs(selected, detections_path), done, None)
    for n, ((record, _), result) in enumerate(map_ordered(work, pairs, workers), start=done + 1):
        entry: dict[str, Any] = {"frame_id": record.frame_id, "failure": result.failure, "without_ground": result.without_ground}
        if result.frame is not None:
            labels = [to_kitti(item) for item in result.frame.boxes]
            kitti_labels.write(draft.directory / LABEL_FOLDER / f"{record.filename_base}.txt", labels)
            surface_points.write(draft.directory, result.frame.frame_index, result.points)
            entry |= {"frame": frame_boxes.to_json(result.frame)}
        log.append(entry)
        progress(n, len(selected))
        if n % CHECKPOINT_EVERY == 0:
            draft.checkpoint({"done": n})

    summary = _summary(log)
    _refuse_if_too_many(summary.failed_frames, len(selected), registry.recording, settings)
    frames = (frame_boxes.from_json(entry["frame_id"], entry["frame"]) for entry in log if "frame" in entry)
    frame_boxes.write(draft.directory / frame_boxes.FILE_NAME, frames, summary.failed_frames)
    return summary


@dataclass(frozen=True)
class _Result:
    """Of one frame: its boxes, None where nobody knows its objects, their points, and why it failed, if it did."""

    frame: FrameBoxes | None
    points: tuple[NDArray[np.float64], ...] = ()
    without_ground: bool = False
    failure: str | None = None


@dataclass(frozen=True)
class Placed:
    """A detection's box and the `(N, 3)` points it was fitted to."""

    item: ObjectBox
    points: NDArray[np.float64]


def place(
    detection: Detection,
    depth: NDArray[np.floating] | None,
    camera: RectifiedCamera,
    ground: GroundPlane | None,
    object_class: ObjectClass,
    settings: BoxSettings,
) -> Placed | RefusedBox:
    """Give one detection its place in space, or the reason why it has none.

    Args:
        detection: box and mask in the left image.
        depth: `(H, W)` metres, None when the frame has none.
        camera: rectified left camera of the depth map.
        ground: the frame's ground plane, None when unknown.
        object_class: of the detection.
        settings: see `BoxSettings`.
    """

    def refuse(reason: str) -> RefusedBox:
        return RefusedBox(detection.detection_id, detection.class_id, reason)

    if depth is None:
        return refuse(NO_DEPTH)
    mask = _mask(detection, depth)
    shown = depth[mask.y : mask.y + mask.pixels.shape[0], mask.x : mask.x + mask.pixels.shape[1]]
    inside = on_grid(erode(mask.pixels, settings.mask_erosion), _MAX_POINTS)
    points = back_project(shown, inside, camera, (mask.x, mask.y))
    if len(points) < settings.min_points:
        return refuse(TOO_FEW_POINTS)
    points = without_ground(points, ground, settings.ground_clearance_m)
    if settings.bbox_method is BoxMethod.prior:
        prior = object_class.size_prior
        typical_length = 0.0 if prior is None else typical(prior.length, settings.typical_size)
        points = densest_slice(without_occluder(points, prior, typical_length, camera), prior, camera)
        points = largest_cluster(points, prior, camera)
    clean = without_outliers(points, settings.outlier_neighbors, settings.outlier_sigma)
    if len(clean) < settings.min_points:
        return refuse(TOO_FEW_CLEAN_POINTS)
    distance = float(np.median(clean[:, 2])) if detection.distance_m is None else detection.distance_m
    if distance > settings.max_distance_m:
        return refuse(TOO_FAR)
    left, right = hidden_edges(detection.box_xyxy, float(np.median(clean[:, 2])), depth)
    view = ObjectView(clean, detection.box_xyxy, camera, ground, object_class.size_prior, settings.typical_size, left, right)
    fit = rounded(fit_box(view, settings.bbox_method))
    projected = projected_box_xyxy(fit.box, camera.projection_left, camera.width, camera.height)
    if projected is None or iou_matrix([projected], [detection.box_xyxy])[0, 0] < settings.min_projected_iou:
        return refuse(NOT_ON_2D_BOX)
    item = ObjectBox(
        detection_id=detection.detection_id,
        class_id=detection.class_id,
        kitti_type=object_class.kitti_type,
        score=_score(detection.confidence, fit),
        box=fit.box,
        alpha=round(alpha(fit.box), 6),
        box_xyxy=detection.box_xyxy,
        truncated=round(truncated_share(fit.box, detection.box_xyxy, camera), 4),
        occluded=occlusion_level(fit.box, depth, camera),
        distance_m=round(distance, 4),
        points=len(clean),
        method=settings.bbox_method.value,
        hidden_left=left,
        hidden_right=right,
    )
    return Placed(item, clean)


def to_kitti(item: ObjectBox) -> KittiObject:
    """The label line of a box."""
    return KittiObject(item.kitti_type, item.truncated, item.occluded, item.alpha, item.box_xyxy, item.box, item.score)


def _work(
    record: FrameRecord, found: FrameDetections, frames_folder: Path, camera: RectifiedCamera, ontology: Ontology, settings: BoxSettings
) -> _Result:
    depth = ground = failure = None
    if found.detections:
        try:
            depth = read_depth(frames_folder, record, camera)
        except InputError as error:
            failure = str(error)
    if depth is not None:
        ground = fit_ground_plane(depth, camera)
    outcomes: list[Placed | RefusedBox]
    if failure is not None:
        outcomes = [RefusedBox(item.detection_id, item.class_id, DAMAGED_DEPTH) for item in found.detections]
    else:
        outcomes = [place(item, depth, camera, ground, ontology.by_id(item.class_id), settings) for item in found.detections]
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    boxes = tuple(each.item for each in placed)
    refused = tuple(outcome for outcome in outcomes if isinstance(outcome, RefusedBox))
    frame = FrameBoxes(record.frame_id, record.svo2_frame_index, record.timestamp_ns, boxes, refused)
    return _Result(frame, tuple(each.points for each in placed), depth is not None and ground is None, failure)


def _score(confidence: float | None, fit: BoxFit) -> float | None:
    if confidence is None:
        return None
    low, high = _PLAUSIBLE_SIZE_RATIO
    return confidence if low <= fit.size_ratio <= high else round(confidence * _IMPLAUSIBLE_SIZE_PENALTY, 6)


def _camera_with_depth(registry: FrameRegistry, frames_folder: Path) -> RectifiedCamera:
    if not registry.rectified or registry.camera is None:
        raise InputError(
            f"The frames of {registry.recording} are not rectified, so they have no depth and no 3D boxes. "
            "Put the camera's calibration (SN<serial>.conf) beside the recording and run `frames` again."
        )
    if not any(frame.selected and frame.depth is not None for frame in registry.frames):
        raise InputError(f"The frames of {registry.recording} in {frames_folder} have no depth maps. Run `frames` with depth switched on.")
    return registry.camera


def _pairs(selected: list[FrameRecord], detections_path: Path) -> Iterator[tuple[FrameRecord, FrameDetections | None]]:
    """Each frame with its detections; both lists run in the order of the recording."""
    stream = detections_file.read(detections_path)
    following = next(stream, None)
    for record in selected:
        if following is not None and following.frame_id == record.frame_id:
            yield record, following
            following = next(stream, None)
        else:
            yield record, None
    if following is not None:
        raise InputError(
            f"{detections_path} has the frame {following.frame_id}, which is not among the frames in their order. Detect again."
        )


def _refuse_if_too_many(failed: tuple[FailedFrame, ...], selected: int, recording: str, settings: BoxSettings) -> None:
    damaged = [each for each in failed if each.reason != NOT_SEARCHED]
    if len(damaged) > settings.max_bad_share * selected:
        raise InputError(
            f"{len(damaged)} of the {selected} frames of {recording} have no usable depth map (the first: {damaged[0].reason}), more than "
            "`max_bad_share` allows; run `frames` again."
        )


def _mask(detection: Detection, depth: NDArray[np.floating]) -> MaskCrop:
    """The mask with as much around it as erosion looks at."""
    whole = rle.decode(detection.mask_rle)
    if whole.shape != depth.shape:
        raise InputError(f"The mask of {detection.detection_id} has the shape {whole.shape}, its depth map {depth.shape}. Detect again.")
    x1, y1, x2, y2 = rle.box_xyxy(detection.mask_rle)
    x, y = max(x1 - MAX_EROSION_PX, 0), max(y1 - MAX_EROSION_PX, 0)
    return MaskCrop(x, y, np.ascontiguousarray(whole[y : y2 + MAX_EROSION_PX, x : x2 + MAX_EROSION_PX]))


def _summary(log: RecordLog) -> ReconstructionSummary:
    classes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failed: list[FailedFrame] = []
    frames = without_ground_plane = 0
    for entry in log:
        if entry["failure"] is not None:
            failed.append(FailedFrame(entry["frame_id"], entry["failure"]))
        if "frame" not in entry:
            continue
        frames += 1
        without_ground_plane += entry["without_ground"]
        classes.update(item["class_id"] for item in entry["frame"]["boxes"])
        reasons.update(item["reason"] for item in entry["frame"]["refused"])
    return ReconstructionSummary(
        frames=frames,
        failed_frames=tuple(failed),
        frames_without_ground=without_ground_plane,
        detections=classes.total() + reasons.total(),
        boxes=classes.total(),
        refused=reasons.total(),
        boxes_by_class=dict(sorted(classes.items())),
        refused_by_reason={reason: reasons[reason] for reason in REASONS if reasons[reason]},
    )
