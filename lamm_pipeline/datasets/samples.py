"""The annotated frames of a dataset version: frames, detections, 3D boxes, tracks and selection joined, one frame at a time.

Annotations are as people corrected them, where the version pins a selection.

Every stage file lists frames in the order of their index, so the join walks all of them once and holds one frame. What a recording's
registry and tracks know is held per recording.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lamm_pipeline.curation import selection
from lamm_pipeline.curation.selection import FrameSelection, Reviewed
from lamm_pipeline.datasets.settings import BoxSource
from lamm_pipeline.datasets.versions import RecordingInputs, VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.extraction.in_frame_order import InFrameOrder
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import alpha
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore
from lamm_pipeline.tracking import tracks

CALIBRATION_FILE = "calib.txt"


class ArtifactFolders(Protocol):
    """Tells where an artifact of a recording lies, in the version that the dataset version pins."""

    def __call__(self, recording: str, asset: str) -> Path:
        """Folder of the artifact; `asset` is one of `frames`, `detections`, `boxes_3d`, `tracks`, `selection`."""
        ...


@dataclass(frozen=True)
class Annotation:
    """One object in one frame.

    Attributes:
        box_xyxy: pixels of the rectified left image.
        mask_rle: COCO's compressed runs, `{"size": [H, W], "counts": text}`.
        area: pixels of the mask.
        score: None when nobody gave one.
        track_id: identity within the recording, None without a track.
        track_length: frames on which that track is seen, 0 without a track.
        object_box: the 3D box, None where there is none.
        box_source: `frame` for the 3D box of this frame alone, `track` for one refined over the track, None without a 3D box.
        reviewed: whether a person has looked at it.
        corrected: what a person gave it instead of the models: `class`, `box` (the 2D box), `mask`.
    """

    detection_id: str
    class_id: str
    box_xyxy: tuple[float, float, float, float]
    mask_rle: Mapping[str, Any]
    area: int
    score: float | None
    track_id: int | None
    track_length: int
    object_box: ObjectBox | None
    box_source: BoxSource | None = None
    reviewed: bool = False
    corrected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One frame with everything known about it.

    Attributes:
        frame_index: index in the SVO2 file.
        image_left, image_right, depth, point_cloud: files; None where extraction made none.
        calibration: KITTI's calib.txt of the recording, None without calibration.
        camera: the rectified pair, None without calibration.
        selected: False when extraction set the frame aside (`drop_reason` says why).
        labelled: whether the frame was looked at by segmentation; a frame that was not is no negative.
        annotations: in the order of their ids.
        selection: what the recording's curation says about it, None where the version pins none.
    """

    frame_id: str
    recording: str
    frame_index: int
    timestamp_ns: int
    image_left: Path | None
    image_right: Path | None
    depth: Path | None
    point_cloud: Path | None
    calibration: Path | None
    width: int
    height: int
    camera: RectifiedCamera | None
    selected: bool
    drop_reason: str | None
    labelled: bool
    annotations: tuple[Annotation, ...]
    selection: FrameSelection | None = None


def pinned_folders(store: ArtifactStore, manifest: VersionManifest) -> ArtifactFolders:
    """Folders of artifacts in a store, in the versions that the manifest pins."""
    pinned = {inputs.recording: inputs.artifacts.model_dump() for inputs in manifest.recordings}

    def folder(recording: str, asset: str) -> Path:
        version = str(pinned[recording][asset])
        artifact = store.find(ArtifactKey("recordings", recording, asset), version)
        if artifact is None:
            raise InputError(
                f"Version {version} of {asset!r} of recording {recording!r}, which dataset version {manifest.key!r} was made of, is gone. "
                "Restore it, or create a new dataset version."
            )
        return artifact.folder

    return folder


def samples_of(manifest: VersionManifest, artifact_folder: ArtifactFolders) -> Iterator[Sample]:
    """Stream all frames of a version, recording by recording in the manifest's order, each in frame order.

    Raises:
        InputError: artifacts of a recording do not belong together, or a file is damaged.
    """
    for inputs in manifest.recordings:
        yield from recording_samples(inputs, artifact_folder, manifest.settings.box_source)


def recording_samples(
    inputs: RecordingInputs, artifact_folder: ArtifactFolders, box_source: BoxSource = BoxSource.track
) -> Iterator[Sample]:
    """Stream all frames of one recording, in frame order.

    Args:
        inputs: the recording with the versions of its artifacts.
        artifact_folder: tells where they lie.
        box_source: `track` takes the refined 3D box where there is one.

    Raises:
        InputError: the artifacts do not belong together, or a file is damaged.
    """
    recording = inputs.recording
    frames_folder = artifact_folder(recording, "frames")
    registry = frame_registry.read(frames_folder / frame_registry.FILE_NAME)
    if registry.recording != recording:
        raise InputError(f"{frames_folder} holds the frames of {registry.recording!r}, not of {recording!r}. Extract the recording again.")
    detected = InFrameOrder(detections.read(artifact_folder(recording, "detections") / detections.FILE_NAME), recording, "detections")
    boxed: Iterable[FrameBoxes] = ()
    if inputs.artifacts.boxes_3d is not None:
        boxed = frame_boxes.read(artifact_folder(recording, "boxes_3d") / frame_boxes.FILE_NAME)
    boxes = InFrameOrder(boxed, recording, "boxes_3d")
    pinned = inputs.artifacts.selection is not None
    curated: Iterable[FrameSelection] = selection.read(artifact_folder(recording, "selection") / selection.FILE_NAME) if pinned else ()
    selected = InFrameOrder(curated, recording, "selection")
    identity = _track_of_detection(artifact_folder(recording, "tracks") / tracks.TRACKS_FILE) if inputs.artifacts.tracks is not None else {}
    for record in sorted(registry.frames, key=lambda frame: frame.svo2_frame_index):
        found = detected.at(record)
        in_3d = boxes.at(record)
        row = selected.at(record)
        if pinned and row is None:
            raise InputError(f"The selection of recording {recording!r} lacks frame {record.frame_id!r}. Run selection again.")
        annotations = _annotations(found, in_3d, identity, box_source)
        if row is not None:
            said = {each.detection_id: each for each in row.reviewed}
            annotations = tuple(_as_reviewed(each, said.get(each.detection_id)) for each in annotations)
        yield _sample(registry, record, frames_folder, found, annotations, row)
    detected.finish()
    boxes.finish()
    selected.finish()


@dataclass(frozen=True)
class _Identity:
    """What a detection's track says: its id, on how many frames it is seen, and the refined box in this frame."""

    track_id: int
    track_length: int
    refined_box: Box3D | None


def _track_of_detection(path: Path) -> dict[str, _Identity]:
    """By detection id."""
    found: dict[str, _Identity] = {}
    for track in tracks.read(path).tracks:
        length = len(track.points)
        found.update((each.detection_id, _Identity(track.track_id, length, each.refined_box)) for each in track.points if each.detection_id)
    return found


def _annotations(
    found: FrameDetections | None, in_3d: FrameBoxes | None, identity: Mapping[str, _Identity], box_source: BoxSource
) -> tuple[Annotation, ...]:
    if found is None:
        return ()
    object_boxes = {box.detection_id: box for box in in_3d.boxes} if in_3d is not None else {}
    unknown = object_boxes.keys() - {detection.detection_id for detection in found.detections}
    if unknown:
        raise InputError(
            f"The 3D boxes of frame {found.frame_id!r} name the detection {min(unknown)!r}, which does not exist: they were made from "
            "other detections. Run boxes_3d again and create a new dataset version."
        )
    annotations = []
    for detection in found.detections:
        track = identity.get(detection.detection_id)
        object_box, source = _chosen_box(object_boxes.get(detection.detection_id), track, box_source)
        annotations.append(
            Annotation(
                detection_id=detection.detection_id,
                class_id=detection.class_id,
                box_xyxy=detection.box_xyxy,
                mask_rle=detection.mask_rle,
                area=detection.area,
                score=detection.confidence,
                track_id=None if track is None else track.track_id,
                track_length=0 if track is None else track.track_length,
                object_box=object_box,
                box_source=source,
            )
        )
    return tuple(annotations)


def _chosen_box(object_box: ObjectBox | None, track: _Identity | None, wanted: BoxSource) -> tuple[ObjectBox | None, BoxSource | None]:
    if object_box is None:
        return None, None
    if wanted is BoxSource.frame or track is None or track.refined_box is None:
        return object_box, BoxSource.frame
    return replace(object_box, box=track.refined_box, alpha=round(alpha(track.refined_box), 6)), BoxSource.track


def _as_reviewed(annotation: Annotation, said: Reviewed | None) -> Annotation:
    """The annotation with what people gave it. A corrected mask brings its box along, unless the box was corrected too."""
    if said is None:
        return annotation
    changed = replace(annotation, reviewed=True)
    if said.class_id is not None:
        changed = replace(changed, class_id=said.class_id, corrected=("class",))
    box_xyxy = said.box_xyxy
    if box_xyxy is None and said.mask_rle is not None:
        x1, y1, x2, y2 = rle.box_xyxy(said.mask_rle)
        box_xyxy = (float(x1), float(y1), float(x2), float(y2))
    if box_xyxy is not None:
        changed = replace(changed, box_xyxy=box_xyxy, corrected=(*changed.corrected, "box"))
    if said.mask_rle is not None:
        changed = replace(changed, mask_rle=said.mask_rle, area=rle.area(said.mask_rle), corrected=(*changed.corrected, "mask"))
    return changed


def _sample(
    registry: FrameRegistry,
    record: FrameRecord,
    folder: Path,
    found: FrameDetections | None,
    annotations: tuple[Annotation, ...],
    row: FrameSelection | None,
) -> Sample:
    def path(relative: str | None) -> Path | None:
        return folder / relative if relative else None

    return Sample(
        frame_id=record.frame_id,
        recording=registry.recording,
        frame_index=record.svo2_frame_index,
        timestamp_ns=record.timestamp_ns,
        image_left=path(record.image_left),
        image_right=path(record.image_right),
        depth=path(record.depth),
        point_cloud=path(record.point_cloud),
        calibration=path(CALIBRATION_FILE if registry.camera is not None else None),
        width=registry.width,
        height=registry.height,
        camera=registry.camera,
        selected=record.selected,
        drop_reason=record.drop_reason,
        labelled=found is not None,
        annotations=annotations,
        selection=row,
    )
