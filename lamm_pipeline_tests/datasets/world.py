"""A tiny world on disk: recordings with images, depth, detections, 3D boxes and tracks, written by the stages' own writers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.datasets.curate import curate_version
from lamm_pipeline.datasets.formats.export import export_version
from lamm_pipeline.datasets.formats.files import ExportSummary
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat
from lamm_pipeline.datasets.splits.split_table import split_version
from lamm_pipeline.datasets.versions import ArtifactVersions, RecordingInputs, SourceFile, VersionManifest, create_version
from lamm_pipeline.extraction import calib_txt, frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import boxes_3d, rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox, RefusedBox
from lamm_pipeline.sample_table import ArtifactFolder
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking import tracks
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet
from lamm_pipeline_tests.extraction.frame_records import frame_record

WIDTH, HEIGHT = 64, 48
CAMERA = RectifiedCamera(WIDTH, HEIGHT, fx=60.0, fy=60.0, cx=31.5, cy=23.5, baseline_m=0.12)
ONTOLOGY = load_ontology()
FRAME_NS = 100_000_000

CAR = Box3D(x=-1.0, y=1.2, z=11.0, length=4.2, width=1.8, height=1.5, rotation_y=0.4)
PERSON = Box3D(x=2.0, y=1.2, z=9.0, length=0.6, width=0.6, height=1.7, rotation_y=-1.0)
PLACES: dict[str, tuple[Box3D | None, tuple[float, float, float, float], int | None]] = {
    "car": (CAR, (0.0, 0.0, 0.0, 0.0), 1),
    "person": (PERSON, (0.0, 0.0, 0.0, 0.0), 2),
    "sign": (None, (4.0, 6.0, 12.0, 18.0), None),
}
"""Class id to 3D box (None: reconstruction refuses it), 2D box of those without, and track id."""

ClassesOf = Callable[[int], Sequence[str]]


def car_and_person(_: int) -> Sequence[str]:
    return ("car", "person")


@dataclass(frozen=True)
class World:
    """A dataset version whose selection and split are written; exports go beside them."""

    root: Path
    manifest: VersionManifest
    selection: dict[str, Any]
    split: dict[str, Any]

    @property
    def artifact_folder(self) -> ArtifactFolder:
        return folders_of(self.root)

    def folder(self, asset: str) -> Path:
        return self.root / "datasets" / self.manifest.key / asset

    def export(self, export_format: ExportFormat, asset: str | None = None, workers: int = 1, **options: Any) -> ExportSummary:
        draft = Draft.open(self.folder(asset or f"{export_format}_dataset"))
        try:
            summary = export_version(
                self.manifest,
                export_format,
                artifact_folder=self.artifact_folder,
                curated_folder=self.folder("curated_dataset"),
                splits_folder=self.folder("splits"),
                ontology=ONTOLOGY,
                draft=draft,
                workers=workers,
                **options,
            )
        except BaseException:
            draft.close()
            raise
        draft.finish()
        return summary


def folders_of(root: Path) -> ArtifactFolder:
    return lambda reference: root / reference


def make_world(root: Path, recordings: Sequence[RecordingInputs], settings: DatasetSettings | None = None, **options: Any) -> World:
    """Create a version of these recordings, curate and split it."""
    manifest = make_version(root, recordings, settings, **options)
    selection = curated(root, manifest)
    draft = Draft.open(root / "datasets" / manifest.key / "splits")
    split = split_version(manifest, root / "datasets" / manifest.key / "curated_dataset", draft)
    draft.finish()
    return World(root, manifest, selection, split)


def make_version(
    root: Path, recordings: Sequence[RecordingInputs], settings: DatasetSettings | None = None, name: str = "drives", **options: Any
) -> VersionManifest:
    return create_version(
        root,
        name,
        recordings=recordings,
        settings=settings or DatasetSettings(),
        ontology=ONTOLOGY,
        created_at="2026-01-02T03:04:05+00:00",
        created_by="ada",
        **options,
    )


def curated(root: Path, manifest: VersionManifest) -> dict[str, Any]:
    draft = Draft.open(root / "datasets" / manifest.key / "curated_dataset")
    try:
        return curate_version(manifest, folders_of(root), draft, workers=1)
    finally:
        draft.finish()


def inputs_of(recording: str, *, boxes_3d: bool = True) -> RecordingInputs:
    """How a version pins a recording of this world."""
    return RecordingInputs(
        recording=recording,
        artifacts=ArtifactVersions(frames="f1", detections="d1", boxes_3d="b1" if boxes_3d else None, tracks="t1" if boxes_3d else None),
        source=SourceFile(path=f"/data/{recording}.svo2", digest=f"sha256-of-{recording}", size=1000 + len(recording)),
    )


def make_recording(
    root: Path,
    recording: str,
    frame_indices: Iterable[int] = range(6),
    classes_of: ClassesOf = car_and_person,
    *,
    unselected: Iterable[int] = (),
    unlabelled: Iterable[int] = (),
    rectified: bool = True,
    shared_files: bool = False,
    score: float | None = 0.9,
) -> RecordingInputs:
    """Write all artifacts of a recording.

    Args:
        unselected: frames that extraction's diversity filter set aside.
        unlabelled: frames that segmentation never saw.
        shared_files: all frames name the files of the first one, to save time.
    """
    inputs = inputs_of(recording, boxes_3d=rectified)
    folders = {asset: root / "recordings" / recording / asset / str(version) for asset, version in inputs.artifacts.model_dump().items()}
    indices = list(frame_indices)
    records = [
        _record(recording, sequence, index, indices[0] if shared_files else index, index not in set(unselected), rectified)
        for sequence, index in enumerate(indices)
    ]
    _write_frames(folders["frames"], recording, records, rectified, written=indices[:1] if shared_files else indices)
    found = [_frame_detections(record, classes_of(record.svo2_frame_index), score) for record in records if record.selected]
    found = [frame for frame in found if frame.frame_index not in set(unlabelled)]
    totals = {"total_frames": len(found), "total_detections": sum(len(frame.detections) for frame in found)}
    detections.write(folders["detections"] / detections.FILE_NAME, totals, found)
    if rectified:
        boxes = [_frame_boxes(frame) for frame in found]
        frame_boxes.write(folders["boxes_3d"] / frame_boxes.FILE_NAME, boxes)
        tracks.write(folders["tracks"] / tracks.TRACKS_FILE, _tracks(recording, found))
    return inputs


def mask_of(box_xyxy: tuple[float, float, float, float]) -> np.ndarray:
    """An ellipse filling the box."""
    x1, y1, x2, y2 = box_xyxy
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    radius = ((columns - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + ((rows - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2
    return radius <= 1.0


@lru_cache
def _mask_rle_of(class_id: str) -> dict[str, Any]:
    return rle.encode(mask_of(box_xyxy_of(class_id)))


@lru_cache
def box_xyxy_of(class_id: str) -> tuple[float, float, float, float]:
    box, box_xyxy, _ = PLACES[class_id]
    if box is None:
        return box_xyxy
    projected = boxes_3d.projected_box_xyxy(box, CAMERA.projection_left, WIDTH, HEIGHT)
    assert projected is not None
    return projected


def _record(recording: str, sequence: int, index: int, file_index: int, selected: bool, rectified: bool) -> FrameRecord:
    name = f"{file_index:06d}"
    return frame_record(
        recording,
        index,
        1_700_000_000_000_000_000 + index * FRAME_NS,
        sequence_index=sequence,
        filename_base=name,
        image_left=f"image_left/{name}.png" if selected else None,
        image_right=f"image_right/{name}.png" if selected else None,
        depth=f"depth/{name}.npy" if selected and rectified else None,
        point_cloud=f"velodyne/{name}.bin" if selected and rectified else None,
        valid_depth_ratio=1.0 if rectified else None,
        selected=selected,
        drop_reason=None if selected else f"similar to frame {max(0, index - 1)}",
    )


def _write_frames(folder: Path, recording: str, records: list[FrameRecord], rectified: bool, written: Sequence[int]) -> None:
    for name in ("image_left", "image_right", "depth", "velodyne"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(len(recording))
    for index in written:
        image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "image_left" / f"{index:06d}.png"), image)
        cv2.imwrite(str(folder / "image_right" / f"{index:06d}.png"), image[:, ::-1])
        np.save(folder / "depth" / f"{index:06d}.npy", np.full((HEIGHT, WIDTH), 5.0 + index, np.float32))
        np.full((10, 4), index, np.float32).tofile(folder / "velodyne" / f"{index:06d}.bin")
    if rectified:
        calib_txt.write_calib(folder / "calib.txt", CAMERA)
    registry = FrameRegistry(
        recording=recording,
        svo2_file=f"{recording}.svo2",
        svo2_hash="0" * 64,
        total_frames=records[-1].svo2_frame_index + 1,
        extracted_frames=sum(record.selected for record in records),
        failed_frames=(),
        config={"frame_skip": 1},
        lineage={},
        rectified=rectified,
        camera=CAMERA if rectified else None,
        width=WIDTH,
        height=HEIGHT,
        frames=tuple(records),
    )
    frame_registry.write(folder / frame_registry.FILE_NAME, registry)


def _frame_detections(record: FrameRecord, classes: Sequence[str], score: float | None) -> FrameDetections:
    found = []
    for n, class_id in enumerate(classes):
        box_xyxy = box_xyxy_of(class_id)
        mask_rle = _mask_rle_of(class_id)
        x1, y1, x2, y2 = box_xyxy
        found.append(
            Detection(
                detection_id=f"{record.frame_id}:{n}",
                class_id=class_id,
                class_name=ONTOLOGY.by_id(class_id).name,
                confidence=score,
                box_xyxy=box_xyxy,
                mask_rle=mask_rle,
                area=rle.area(mask_rle),
                centroid=((x1 + x2) / 2, (y1 + y2) / 2),
                distance_m=None,
                mask_source="depth",
            )
        )
    return FrameDetections(record.frame_id, record.svo2_frame_index, record.timestamp_ns, WIDTH, HEIGHT, tuple(found))


def _frame_boxes(frame: FrameDetections) -> FrameBoxes:
    boxes = tuple(_object_box(each) for each in frame.detections if PLACES[each.class_id][0] is not None)
    refused = tuple(
        RefusedBox(each.detection_id, each.class_id, "too_few_points") for each in frame.detections if PLACES[each.class_id][0] is None
    )
    return FrameBoxes(frame.frame_id, frame.frame_index, frame.timestamp_ns, boxes, refused)


def _object_box(detection: Detection) -> ObjectBox:
    box = _box_of(detection)
    return ObjectBox(
        detection_id=detection.detection_id,
        class_id=detection.class_id,
        kitti_type=ONTOLOGY.by_id(detection.class_id).kitti_type,
        score=detection.confidence,
        box=box,
        alpha=boxes_3d.alpha(box),
        box_xyxy=detection.box_xyxy,
        truncated=0.0,
        occluded=0,
        distance_m=box.z - box.width / 2,
        points=400,
        method="prior",
    )


def _box_of(detection: Detection) -> Box3D:
    box = PLACES[detection.class_id][0]
    assert box is not None
    return box


def _tracks(recording: str, found: list[FrameDetections]) -> TrackSet:
    points: dict[int, list[TrackPoint]] = {}
    names: dict[int, str] = {}
    for frame in found:
        seen: set[int] = set()
        for detection in frame.detections:
            track_id = PLACES[detection.class_id][2]
            if track_id is None or track_id in seen:
                continue
            seen.add(track_id)
            names[track_id] = detection.class_id
            box = _box_of(detection)
            points.setdefault(track_id, []).append(
                TrackPoint(
                    frame_id=frame.frame_id,
                    frame_index=frame.frame_index,
                    timestamp_ns=frame.timestamp_ns,
                    detection_id=detection.detection_id,
                    class_id=detection.class_id,
                    kitti_type=ONTOLOGY.by_id(detection.class_id).kitti_type,
                    score=detection.confidence,
                    box_xyxy=detection.box_xyxy,
                    box=box,
                    filtered_box=box,
                    velocity_m_s=None,
                )
            )
    found_tracks = tuple(
        Track(track_id, names[track_id], ONTOLOGY.by_id(names[track_id]).name, tuple(points[track_id])) for track_id in sorted(points)
    )
    return TrackSet(recording, len(found), found_tracks)
