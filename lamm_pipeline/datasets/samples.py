"""The frames of a dataset version before anybody has chosen among them: each with everything known about it, one frame at a time.

Of a recording, frames, detections, 3D boxes, tracks and selection are joined; annotations are as people corrected them, where the version
pins a selection. Every stage file lists frames in the order of their index, so the join walks all of them once and holds one frame. What a
recording's registry and tracks know is held per recording. Of an import, the frames are those of its table. Several imports of one video,
or of a recording, are merged by frame index: the first that has a frame is believed, and what the others have of it is told.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lamm_pipeline import sample_table
from lamm_pipeline.curation import selection
from lamm_pipeline.curation.selection import FrameSelection, Reviewed
from lamm_pipeline.datasets.settings import BoxSource, OnConflict
from lamm_pipeline.datasets.versions import ImportInputs, RecordingInputs, VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import diversity, frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.extraction.in_frame_order import InFrameOrder
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import alpha
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.sample_table import Annotation, ArtifactFolder, FrameState, PlacedBox, Sample
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore
from lamm_pipeline.tracking import tracks

CALIBRATION_FILE = "calib.txt"


@dataclass(frozen=True)
class SourceFrame:
    """A frame of a recording or import, before anybody has chosen.

    Attributes:
        sample: the frame with all its annotations; its state is not decided yet.
        selected: False when extraction set the frame aside (`drop_reason` says why).
        labelled: whether the frame was looked at by segmentation; a frame that was not is no negative.
        selection: what the recording's curation says about it, None where the version pins none.
        reviewed_empty: a person says that nothing is there.
        twin: the frame of the same id that is taken instead of this one, None for nearly all.
    """

    sample: Sample
    selected: bool = True
    drop_reason: str | None = None
    labelled: bool = True
    selection: FrameSelection | None = None
    reviewed_empty: bool = False
    twin: "SourceFrame | None" = None


def pinned_folders(store: ArtifactStore) -> ArtifactFolder:
    """Where the artifacts of a store lie, by their references."""

    def folder(reference: str) -> Path:
        scope, partition, asset, version = reference.split("/")
        artifact = store.find(ArtifactKey(scope, partition, asset), version)
        if artifact is None:
            raise InputError(
                f"Version {version} of {asset!r} of {partition!r}, which the dataset version was made of, is gone. Restore it, or create a "
                "new dataset version."
            )
        return artifact.folder

    return folder


def source_frames(manifest: VersionManifest, artifact_folder: ArtifactFolder) -> Iterator[SourceFrame]:
    """Stream all frames of a version, recording by recording in the order of their keys, each in frame order.

    A frame that several sources have comes once for each: first the one that is taken, then the others with it as their `twin`.

    Raises:
        InputError: artifacts of a recording do not belong together, a file is damaged, or sources of one key are not of one video.
    """
    sources: dict[str, list[Iterator[SourceFrame]]] = {}
    for recorded in manifest.recordings:
        frames = recording_frames(recorded, artifact_folder, manifest.settings.box_source)
        sources.setdefault(recorded.recording, []).append(frames)
    for imported in manifest.imports:
        sources.setdefault(imported.recording, []).append(import_frames(imported, artifact_folder))
    for recording in sorted(sources):
        in_order = sources[recording] if manifest.settings.on_conflict is not OnConflict.keep_last else sources[recording][::-1]
        yield from _merged(in_order) if len(in_order) > 1 else in_order[0]


def import_frames(inputs: ImportInputs, artifact_folder: ArtifactFolder) -> Iterator[SourceFrame]:
    """Stream the frames of an import, in frame order.

    Args:
        inputs: the import with the version of its artifact.
        artifact_folder: tells where it lies.

    Raises:
        InputError: its table is missing or damaged.
    """
    folder = artifact_folder(inputs.reference)
    for sample in sample_table.read(folder / sample_table.FILE_NAME, lambda _: folder):
        empty = sample.state == FrameState.reviewed_empty
        yield SourceFrame(replace(sample, artifact=inputs.reference), reviewed_empty=empty)


def recording_frames(
    inputs: RecordingInputs, artifact_folder: ArtifactFolder, box_source: BoxSource = BoxSource.track
) -> Iterator[SourceFrame]:
    """Stream all frames of one recording, in frame order.

    Args:
        inputs: the recording with the versions of its artifacts.
        artifact_folder: tells where they lie.
        box_source: `track` takes the refined 3D box where there is one.

    Raises:
        InputError: the artifacts do not belong together, or a file is damaged.
    """
    recording = inputs.recording

    def file(asset: str, name: str) -> Path | None:
        pinned = getattr(inputs.artifacts, asset) is not None
        return artifact_folder(inputs.reference(asset)) / name if pinned else None

    frames = inputs.reference("frames")
    frames_folder = artifact_folder(frames)
    registry = frame_registry.read(frames_folder / frame_registry.FILE_NAME)
    if registry.recording != recording:
        raise InputError(f"{frames_folder} holds the frames of {registry.recording!r}, not of {recording!r}. Extract the recording again.")
    detections_file = artifact_folder(inputs.reference("detections")) / detections.FILE_NAME
    detected = InFrameOrder(detections.read(detections_file), recording, "detections")
    boxes_file, selection_file = file("boxes_3d", frame_boxes.FILE_NAME), file("selection", selection.FILE_NAME)
    boxes = InFrameOrder(frame_boxes.read(boxes_file) if boxes_file else (), recording, "boxes_3d")
    selected = InFrameOrder(selection.read(selection_file) if selection_file else (), recording, "selection")
    tracks_file, metrics_file = file("tracks", tracks.TRACKS_FILE), file("diversity_metrics", diversity.FILE_NAME)
    identity = _track_of_detection(tracks_file) if tracks_file else {}
    hashes = _image_hashes(metrics_file) if metrics_file else {}
    for record in sorted(registry.frames, key=lambda frame: frame.svo2_frame_index):
        found = detected.at(record)
        in_3d = boxes.at(record)
        row = selected.at(record)
        if selection_file and row is None:
            raise InputError(f"The selection of recording {recording!r} lacks frame {record.frame_id!r}. Run selection again.")
        annotations = _annotations(found, in_3d, identity, box_source)
        if row is not None:
            said = {each.detection_id: each for each in row.reviewed}
            annotations = tuple(_as_reviewed(each, said.get(each.detection_id)) for each in annotations)
        yield SourceFrame(
            _sample(registry, record, frames, frames_folder, annotations, hashes.get(record.frame_id)),
            selected=record.selected,
            drop_reason=record.drop_reason,
            labelled=found is not None,
            selection=row,
            reviewed_empty=row is not None and row.state == FrameState.reviewed_empty,
        )
    detected.finish()
    boxes.finish()
    selected.finish()


def _merged(sources: Iterable[Iterator[SourceFrame]]) -> Iterator[SourceFrame]:
    """Frames of one recording from several sources, by index; `heapq.merge` keeps the order of the sources where indices are equal."""
    taken: SourceFrame | None = None
    for frame in heapq.merge(*sources, key=_index):
        if taken is None or _index(taken) != _index(frame):
            taken = frame
            yield frame
            continue
        one, other = taken.sample, frame.sample
        if (one.width, one.height) != (other.width, other.height):
            raise InputError(
                f"{one.artifact} and {other.artifact} both say that they are of {one.recording!r}, but frame {one.frame_index} is "
                f"{one.width}x{one.height} in one and {other.width}x{other.height} in the other. Import one of them again with the name of "
                "its own video (`lamm import --video NAME`)."
            )
        yield replace(frame, twin=taken)


def _index(frame: SourceFrame) -> int:
    return frame.sample.frame_index


def _image_hashes(path: Path) -> dict[str, int]:
    """By frame id; frames whose image could not be read have none."""
    metrics = diversity.read_metrics(path)
    return dict(zip(metrics.frame_ids, metrics.dhash64.tolist(), strict=True))


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
        box_3d = _chosen_box(object_boxes.get(detection.detection_id), track, box_source)
        annotations.append(
            Annotation(
                detection_id=detection.detection_id,
                class_id=detection.class_id,
                box_xyxy=detection.box_xyxy,
                mask_rle=detection.mask_rle,
                area=detection.area,
                score=detection.confidence,
                score_source=None if detection.confidence is None else "model",
                track_id=None if track is None else track.track_id,
                track_length=0 if track is None else track.track_length,
                box_3d=box_3d,
            )
        )
    return tuple(annotations)


def _chosen_box(object_box: ObjectBox | None, track: _Identity | None, wanted: BoxSource) -> PlacedBox | None:
    if object_box is None:
        return None
    if wanted is BoxSource.frame or track is None or track.refined_box is None:
        return PlacedBox(object_box.box, object_box.alpha, object_box.truncated, object_box.occluded, BoxSource.frame)
    box = track.refined_box
    return PlacedBox(box, round(alpha(box), 6), object_box.truncated, object_box.occluded, BoxSource.track)


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
    return replace(changed, source="human") if changed.corrected else changed


def _sample(
    registry: FrameRegistry,
    record: FrameRecord,
    reference: str,
    folder: Path,
    annotations: tuple[Annotation, ...],
    image_hash: int | None,
) -> Sample:
    return Sample(
        frame_id=record.frame_id,
        recording=registry.recording,
        frame_index=record.svo2_frame_index,
        timestamp_ns=record.timestamp_ns,
        width=registry.width,
        height=registry.height,
        artifact=reference,
        folder=folder,
        image=record.image_left,
        state=FrameState.unlabelled,
        annotations=annotations,
        image_right=record.image_right,
        depth=record.depth,
        point_cloud=record.point_cloud,
        calibration=CALIBRATION_FILE if registry.camera is not None else None,
        camera=registry.camera,
        image_hash=image_hash,
    )
