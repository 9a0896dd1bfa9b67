"""What a scene view shows of one frame, as plain arrays: image, masks, boxes, and the points with their colours.

3D is in the world of `tracking/camera_path.py` where the camera's motion is known: the camera frame of the first image. Else it is in the
frame's own camera coordinates, which is the same with a camera that stands still.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.extraction.point_cloud import velodyne_to_camera
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import project_points
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes
from lamm_pipeline.scenes.view.thinning import Detail
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.tracking.camera_path import Pose, to_world
from lamm_pipeline.tracking.tracks import TrackSet

NO_CLASS = 0
UNSEEN_RGB = (128, 128, 128)
"""Colour of points that the image does not show."""
_OBJECT_SHARE = 0.5
_BOX_MARGIN_M = 0.1
_VALUES_OF_A_POINT = 4


@dataclass(frozen=True)
class TrackedBox:
    """A track in one frame: its best box, in camera coordinates. `detection_id` is None where it was not detected."""

    track_id: int
    class_id: str
    class_name: str
    box: Box3D
    detection_id: str | None


@dataclass(frozen=True)
class ShownBox:
    """A 3D box in the world. `track_id` is None where nothing followed it."""

    class_number: int
    label: str
    box: Box3D
    track_id: int | None


@dataclass(frozen=True)
class FrameInputs:
    """What is known of a frame.

    Attributes:
        record: the frame.
        image: file of the left image; None where there is none.
        cloud: file of the points; None where there is none.
        detections: in the left image; None where it was not looked at.
        boxes: of the detections, in camera coordinates; None where there are none.
        tracked: the tracks that are in the frame.
        pose: of the camera; None where its motion is not known.
    """

    record: FrameRecord
    image: Path | None
    cloud: Path | None
    detections: FrameDetections | None
    boxes: FrameBoxes | None
    tracked: Sequence[TrackedBox]
    pose: Pose | None


@dataclass(frozen=True)
class SceneFrame:
    """One frame as it is shown. N points, K boxes in the image.

    Attributes:
        index: frame index in the recording.
        timestamp_ns: Unix time of the image.
        pose: of the camera; None where its motion is not known.
        jpeg: the image; None where there is none.
        scale: pixels of the shown image to one of the frame.
        masks: `(H, W)` class numbers of the shown image's pixels; None where it was not looked at.
        boxes_xyxy: `(K, 4)` pixels of the shown image.
        box_classes: `(K,)` class numbers.
        box_labels: K texts.
        cloud_points: points of the whole cloud, of which N are shown.
        points: `(N, 3)` float32, world.
        photo: `(N,)` packed colours of the image.
        point_classes: `(N,)` class numbers.
        layers: further packed colours `(N,)` of the points by name.
        boxes: in the world.
        damaged: names of files that could not be read.
    """

    index: int
    timestamp_ns: int
    pose: Pose | None
    jpeg: bytes | None
    scale: float
    masks: NDArray[np.uint16] | None
    boxes_xyxy: NDArray[np.float32]
    box_classes: NDArray[np.uint16]
    box_labels: tuple[str, ...]
    cloud_points: int
    points: NDArray[np.float32]
    photo: NDArray[np.uint32]
    point_classes: NDArray[np.uint16]
    layers: Mapping[str, NDArray[np.uint32]] = field(default_factory=dict)
    boxes: tuple[ShownBox, ...] = ()
    damaged: tuple[str, ...] = ()


PointLayers = Callable[[int, int], Mapping[str, NDArray[np.uint8]]]
"""Colours `(points, 3)` of all points of a frame by name, for its index and its number of points."""


def no_layers(_index: int, _points: int) -> Mapping[str, NDArray[np.uint8]]:
    """`PointLayers` where there are no evaluations."""
    return {}


def by_frame(tracks: TrackSet) -> dict[int, list[TrackedBox]]:
    """The tracks of each frame by its index: refined boxes where tracks were refined, else the filtered ones."""
    found: dict[int, list[TrackedBox]] = {}
    for track in tracks.tracks:
        named = {point.frame_index: point.detection_id for point in track.points}
        places = [(index, box) for index, _, box in track.refined()] or [(point.frame_index, point.filtered_box) for point in track.points]
        for index, box in places:
            one = TrackedBox(track.track_id, track.class_id, track.class_name, box, named.get(index))
            found.setdefault(index, []).append(one)
    return found


def class_numbers(ontology: Ontology) -> dict[str, int]:
    """Number of each class by its id; a class that the ontology no longer has is shown as `NO_CLASS`."""
    return {each.id: each.category_id for each in ontology.classes}


def make_frame(
    inputs: FrameInputs, camera: RectifiedCamera | None, numbers: Mapping[str, int], detail: Detail, layers: PointLayers = no_layers
) -> SceneFrame:
    """Everything that is shown of a frame.

    Args:
        inputs: what is known of it.
        camera: that the left image and the points belong to; None where images are not rectified.
        numbers: of `class_numbers`.
        detail: how finely it is shown.
        layers: what else is known of its points.
    """
    image = None if inputs.image is None else read_image(inputs.image)
    cloud = None if inputs.cloud is None or camera is None else _cloud(inputs.cloud)
    damaged = [
        path.name for path, content in ((inputs.image, image), (inputs.cloud if camera else None, cloud)) if path and content is None
    ]
    tracked_by_detection = {each.detection_id: each for each in inputs.tracked if each.detection_id is not None}
    scale, jpeg = (1.0, None) if image is None else _shrunk(image, detail)
    found = () if inputs.detections is None else inputs.detections.detections
    boxes_xyxy = np.array([each.box_xyxy for each in found], np.float32).reshape(-1, 4)
    labels = []
    for each in found:
        track = tracked_by_detection.get(each.detection_id)
        labels.append(each.class_name if track is None else f"{each.class_name} #{track.track_id}")
    full_masks = None if inputs.detections is None else _masks(inputs.detections, numbers)
    boxes = _boxes(inputs, tracked_by_detection, numbers)
    return SceneFrame(
        index=inputs.record.svo2_frame_index,
        timestamp_ns=inputs.record.timestamp_ns,
        pose=inputs.pose,
        jpeg=jpeg,
        scale=scale,
        masks=None if full_masks is None else _resized(full_masks, scale),
        boxes_xyxy=boxes_xyxy * np.float32(scale),
        box_classes=np.array([numbers.get(each.class_id, NO_CLASS) for each in found], np.uint16),
        box_labels=tuple(labels),
        boxes=tuple(_in_world(each, inputs.pose) for each in boxes),
        damaged=tuple(damaged),
        cloud_points=0 if cloud is None else len(cloud),
        **_points(cloud, camera, image, full_masks, boxes, inputs, detail, layers),
    )


def _points(
    cloud: NDArray[np.float32] | None,
    camera: RectifiedCamera | None,
    image: NDArray[np.uint8] | None,
    masks: NDArray[np.uint16] | None,
    boxes: Sequence[ShownBox],
    inputs: FrameInputs,
    detail: Detail,
    layers: PointLayers,
) -> dict[str, Any]:
    if cloud is None or camera is None:
        empty = np.zeros((0, 3))
        return {"points": empty.astype(np.float32), "photo": np.zeros(0, np.uint32), "point_classes": np.zeros(0, np.uint16), "layers": {}}
    place = np.asarray(velodyne_to_camera(cloud[:, :3]), np.float64)
    known = layers(inputs.record.svo2_frame_index, len(cloud))
    column, row, seen = _pixels(place, camera)
    classes = _classes(place, column, row, seen, masks, boxes, boxed=inputs.boxes is not None)
    chosen = choose_points(classes != NO_CLASS, detail.points)
    photo = np.full((len(chosen), 3), UNSEEN_RGB, np.uint8)
    if image is not None:
        visible = seen[chosen]
        photo[visible] = image[row[chosen][visible], column[chosen][visible], ::-1]
    world = place[chosen] if inputs.pose is None else place[chosen] @ inputs.pose[:3, :3].T + inputs.pose[:3, 3]
    return {
        "points": world.astype(np.float32),
        "photo": packed(photo),
        "point_classes": classes[chosen],
        "layers": {name: packed(values[chosen]) for name, values in known.items()},
    }


def packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours `(N, 3)` as Rerun stores them, `(N,)` 0xRRGGBBAA: packing them here, on a worker thread, halves the time to write a cloud."""
    red, green, blue = (rgb[:, channel].astype(np.uint32) for channel in range(3))
    return (red << 24 | green << 16 | blue << 8 | 255).astype(np.uint32, copy=False)


def choose_points(is_object: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Which points of a cloud are shown: spread evenly over its order, those of objects first, up to half of all.

    Clouds are ordered by direction, so that every n-th point is spread evenly over what the sensor sees.

    Args:
        is_object: `(points,)`.
        most: points to show.

    Returns:
        Ascending places.
    """
    if len(is_object) <= most:
        return np.arange(len(is_object))
    objects, others = np.flatnonzero(is_object), np.flatnonzero(~is_object)
    for_objects = min(len(objects), max(int(most * _OBJECT_SHARE), most - len(others)))
    return np.sort(np.concatenate([_spread(objects, for_objects), _spread(others, most - for_objects)]))


def _spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return places[np.arange(count) * len(places) // max(count, 1)]


def _pixels(place: NDArray[np.float64], camera: RectifiedCamera) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Column and row of each point in the left image, and whether it is in it."""
    image = project_points(place, camera.projection_left)
    with np.errstate(invalid="ignore"):
        seen = (
            (image[:, 2] > 0) & (image[:, :2] > -0.5).all(axis=1) & (image[:, 0] < camera.width - 0.5) & (image[:, 1] < camera.height - 0.5)
        )
    pixels = np.zeros((len(place), 2), np.int64)
    pixels[seen] = np.rint(image[seen, :2]).astype(np.int64)
    return pixels[:, 0], pixels[:, 1], seen


def _classes(
    place: NDArray[np.float64],
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    seen: NDArray[np.bool_],
    masks: NDArray[np.uint16] | None,
    boxes: Sequence[ShownBox],
    *,
    boxed: bool,
) -> NDArray[np.uint16]:
    """Class of each point: of the 3D box that it is in; of the mask that covers it only where there are no 3D boxes, as masks bleed."""
    classes = np.full(len(place), NO_CLASS, np.uint16)
    if masks is not None and not boxed:
        classes[seen] = masks[row[seen], column[seen]]
    for each in boxes:
        classes[_inside(place, each.box)] = each.class_number
    return classes


def _inside(place: NDArray[np.float64], box: Box3D) -> NDArray[np.bool_]:
    x, z = place[:, 0] - box.x, place[:, 2] - box.z
    c, s = np.cos(box.rotation_y), np.sin(box.rotation_y)
    up = box.y - place[:, 1]
    half_length, half_width = box.length / 2 + _BOX_MARGIN_M, box.width / 2 + _BOX_MARGIN_M
    # the ground that an object stands on is not part of it
    return np.asarray(
        (np.abs(c * x - s * z) <= half_length)
        & (np.abs(s * x + c * z) <= half_width)
        & (up >= _BOX_MARGIN_M)
        & (up <= box.height + _BOX_MARGIN_M)
    )


def _boxes(inputs: FrameInputs, tracked: Mapping[str, TrackedBox], numbers: Mapping[str, int]) -> list[ShownBox]:
    """The 3D boxes in camera coordinates: of tracks, then those that nothing followed."""
    shown = [
        ShownBox(numbers.get(each.class_id, NO_CLASS), f"{each.class_name} #{each.track_id}", each.box, each.track_id)
        for each in inputs.tracked
    ]
    names = {} if inputs.detections is None else {each.detection_id: each.class_name for each in inputs.detections.detections}
    alone = () if inputs.boxes is None else (each for each in inputs.boxes.boxes if each.detection_id not in tracked)
    return [
        *shown,
        *(ShownBox(numbers.get(each.class_id, NO_CLASS), names.get(each.detection_id, each.class_id), each.box, None) for each in alone),
    ]


def _in_world(shown: ShownBox, pose: Pose | None) -> ShownBox:
    return shown if pose is None else ShownBox(shown.class_number, shown.label, to_world(shown.box, pose), shown.track_id)


def _masks(found: FrameDetections, numbers: Mapping[str, int]) -> NDArray[np.uint16]:
    """`(H, W)` class numbers of the frame's pixels; where masks overlap the better detection, which comes first, is seen."""
    masks = np.full((found.height, found.width), NO_CLASS, np.uint16)
    for each in reversed(found.detections):
        masks[rle.decode(each.mask_rle)] = numbers.get(each.class_id, NO_CLASS)
    return masks


def _resized(masks: NDArray[np.uint16], scale: float) -> NDArray[np.uint16]:
    height, width = masks.shape
    if scale == 1.0:
        return masks
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(masks, size, interpolation=cv2.INTER_NEAREST).astype(np.uint16, copy=False)


def _shrunk(image: NDArray[np.uint8], detail: Detail) -> tuple[float, bytes]:
    height, width = image.shape[:2]
    scale = min(1.0, detail.image_width / width)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return scale, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, detail.jpeg_quality])[1].tobytes()


def _cloud(path: Path) -> NDArray[np.float32] | None:
    """`(N, 4)` x, y, z, intensity; None when the file is missing or no whole number of points."""
    content = path.read_bytes() if path.is_file() else None
    if content is None or len(content) % (4 * _VALUES_OF_A_POINT):
        return None
    return np.frombuffer(content, np.float32).reshape(-1, _VALUES_OF_A_POINT)
