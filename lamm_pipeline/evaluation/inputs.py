"""Finds and reads what is to be compared: a result in any of the forms it comes in, and a folder of KITTI ground truth."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.evaluation.exported_split import split_frames
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reconstruction import frame_boxes, kitti_labels
from lamm_pipeline.reconstruction.kitti_labels import KittiObject
from lamm_pipeline.reconstruction.reconstruct import to_kitti
from lamm_pipeline.settings import Settings
from lamm_pipeline.tracking import tracks
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.tracks import TRACKS_FILE

LABELS = "label_2"
TRACK_LABELS = "tracks.txt"
REGISTRY_FILE = "frame_registry.json"
COLOR_CAMERA = 2
UNKNOWN_TYPE = "Misc"
"""Type of a masklet whose candidates have no class."""
_ASSETS = ("boxes_3d", "tracks", "frames", "masklets")


class BoxSource(StrEnum):
    """Which boxes are scored: those of each frame alone, those refined over the tracks, or those of masklets; names equal values."""

    frame = "frame"
    track = "track"
    masklet = "masklet"


TracksByFrame = dict[int, list[KittiObject]]


@dataclass(frozen=True)
class Frame:
    """Truth and result of one frame, both in the same camera's image.

    Attributes:
        name: stem of the truth file.
        truth: labelled objects and `DontCare` regions.
        result: predicted objects; `score` is 1 where the file has none.
        truth_tracks: labelled objects with ids, empty when there are none.
        result_tracks: predicted objects with ids.
    """

    name: str
    truth: tuple[KittiObject, ...]
    result: tuple[KittiObject, ...]
    truth_tracks: tuple[KittiObject, ...] = ()
    result_tracks: tuple[KittiObject, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Everything an evaluation reads.

    Attributes:
        frames: frames both sides have, in the order of the result.
        truth_frames: number of frames with truth, those that the result does not have included.
        result_frames: number of frames of the result.
        camera: number of the camera the truth's 2D boxes were moved to.
        has_tracks: whether both sides have tracks.
        boxes: whose boxes `Frame.result` and `Frame.result_tracks` are.
    """

    frames: tuple[Frame, ...]
    truth_frames: int
    result_frames: int
    camera: int
    has_tracks: bool
    boxes: BoxSource


@dataclass(frozen=True)
class _Result:
    labels: dict[int, Path]
    boxes: dict[int, list[KittiObject]] | None
    source_stems: dict[int, str]
    tracks: TracksByFrame | None
    refined: TracksByFrame | None
    masklets: TracksByFrame | None

    def single(self, index: int) -> list[KittiObject]:
        """What a frame alone says: as precisely as it is known, for label files are rounded to a centimetre, or from its label file."""
        items = kitti_labels.read(self.labels[index]) if self.boxes is None else self.boxes.get(index, [])
        return [_scored(item) for item in items]

    def of(self, source: BoxSource) -> TracksByFrame | None:
        """The tracked objects of a source."""
        return {BoxSource.frame: self.tracks, BoxSource.track: self.refined, BoxSource.masklet: self.masklets}[source]


def load(
    result: Path,
    truth: Path,
    *,
    recording: str | None = None,
    frame_offset: int | None = None,
    camera: int | None = None,
    boxes: BoxSource | None = None,
    frames: range | None = None,
) -> Comparison:
    """Read a result and its truth, frame by frame; see `evaluate.evaluate` for the arguments.

    Raises:
        InputError: one of them is not there or not readable, or they have no frame in common.
    """
    found = _find_result(result, recording)
    files = {path.stem: path for path in sorted((truth / LABELS).glob("*.txt"))}
    if not files:
        raise InputError(f"{truth} has no ground truth: {LABELS}/*.txt (KITTI object labels) is expected there.")
    stems = _pair(found, files, frame_offset)
    if not stems:
        raise InputError(
            f"Not one of the {len(found.labels)} frames of {result} has a truth file among the {len(files)} of {truth / LABELS}. "
            "Check that they belong together, or give --frame-offset (truth number minus result number)."
        )
    if frames is not None:
        stems = {index: stem for index, stem in stems.items() if index in frames}
        if not stems:
            raise InputError(f"No frame from {frames.start} to {frames.stop - 1} of {result} has a truth file; choose other --frames.")
    if boxes is BoxSource.track and found.refined is None:
        raise InputError(f"{result} has no tracks with refined boxes. Run the stage 'tracks' with odometry, or score --boxes frame.")
    if boxes is BoxSource.masklet and found.masklets is None:
        raise InputError(f"{result} has no masklets. Run the stage 'masklets', or score other --boxes.")
    source = boxes or (BoxSource.frame if found.refined is None else BoxSource.track)
    number = _camera(truth, camera)
    shift = _image_shift(truth, number)
    track_file = truth / TRACK_LABELS
    truth_tracks = kitti_labels.read_tracking(track_file) if track_file.is_file() else None
    tracked = found.of(source)
    compared = []
    for index, stem in stems.items():
        true_tracks = (truth_tracks or {}).get(_number(stem), [])
        if source is BoxSource.frame:
            single = found.single(index)
        else:
            single = [replace(item, track_id=None) for item in (tracked or {}).get(index, ())]
        compared.append(
            Frame(
                name=stem,
                truth=_moved(kitti_labels.read(files[stem]), shift),
                result=tuple(single),
                truth_tracks=_moved(true_tracks, shift),
                result_tracks=tuple((tracked or {}).get(index, ())),
            )
        )
    return Comparison(tuple(compared), len(files), len(found.labels), number, truth_tracks is not None and tracked is not None, source)


def _find_result(path: Path, recording: str | None) -> _Result:
    if (path / "recordings").is_dir():
        path = _pick_recording(path / "recordings", recording)
    stored = (path / "boxes_3d" / "current.json").is_file()
    folders: dict[str, Path | None] = {asset: _current(path / asset) for asset in _ASSETS} if stored else dict.fromkeys(_ASSETS, path)
    labels = folders["boxes_3d"]
    if labels is None or not (labels / LABELS).is_dir():
        raise InputError(
            f"{path} holds no result to score: a lamm root, a recording's folder with 3D boxes, or a folder with {LABELS}/ is expected."
        )
    files = {_number(file.stem): file for file in sorted((labels / LABELS).glob("*.txt")) if file.stem.isdecimal()}
    split = split_frames(path, recording)
    if split is not None:
        files = {split.frame_of[number]: file for number, file in files.items() if number in split.frame_of}
        folders["frames"] = _current(split.recording / "frames")
    return _Result(
        files,
        _read_single(labels) if stored else None,
        _source_stems(folders["frames"]),
        _read_tracks(folders["tracks"]),
        _read_refined(folders["tracks"]),
        _read_masklets(folders["masklets"]),
    )


def _pick_recording(folder: Path, recording: str | None) -> Path:
    known = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if recording is None and len(known) == 1:
        return folder / known[0]
    if recording in known:
        return folder / str(recording)
    wanted = "Name one with --recording" if recording is None else f"The recording {recording!r} is not among them"
    raise InputError(f"{folder} has {len(known)} recordings: {', '.join(known[:10]) or 'none'}. {wanted}.")


def _current(asset: Path) -> Path | None:
    pointer = asset / "current.json"
    return asset / str(json.loads(pointer.read_text())["version"]) if pointer.is_file() else None


def _source_stems(folder: Path | None) -> dict[int, str]:
    """Stems of the images the recording was packed from, by frame index; empty when it was not packed from images."""
    if folder is None or not (folder / REGISTRY_FILE).is_file():
        return {}
    frames = frame_registry.read(folder / REGISTRY_FILE).frames
    return {frame.svo2_frame_index: Path(frame.source_name).stem for frame in frames if frame.source_name}


def _read_single(folder: Path) -> dict[int, list[KittiObject]]:
    """The boxes of each frame, as the stage left them."""
    return {frame.frame_index: [to_kitti(item) for item in frame.boxes] for frame in frame_boxes.read(folder / frame_boxes.FILE_NAME)}


def _read_tracks(folder: Path | None) -> TracksByFrame | None:
    if folder is not None and (folder / TRACKS_FILE).is_file():
        found: TracksByFrame = {}
        for track in tracks.read(folder / TRACKS_FILE).tracks:
            for point in track.points:
                item = KittiObject(
                    point.kitti_type, -1.0, -1, kitti_labels.NO_ALPHA, point.box_xyxy, point.box, _or_one(point.score), track.track_id
                )
                found.setdefault(point.frame_index, []).append(item)
        return found
    if folder is not None and (folder / TRACK_LABELS).is_file():
        rows = kitti_labels.read_tracking(folder / TRACK_LABELS)
        return {frame: [_scored(item) for item in items if item.type != kitti_labels.DONT_CARE] for frame, items in rows.items()}
    return None


def _read_refined(folder: Path | None) -> TracksByFrame | None:
    """The refined boxes of all tracks, the interpolated ones included, with the mean score of their track; None where there are none."""
    if folder is None or not (folder / TRACKS_FILE).is_file():
        return None
    refined: TracksByFrame = {}
    for track in tracks.read(folder / TRACKS_FILE).tracks:
        for index, box_xyxy, box in track.refined():
            score = _or_one(track.avg_confidence)
            item = KittiObject(track.kitti_type, -1.0, -1, kitti_labels.NO_ALPHA, box_xyxy, box, score, track.track_id)
            refined.setdefault(index, []).append(item)
    return refined or None


def _read_masklets(folder: Path | None) -> TracksByFrame | None:
    """The masklets of the lowest level, with the mean score of their candidates; they have no 3D boxes. None where there are none."""
    if folder is None or not (folder / masklet_table.FILE_NAME).is_file():
        return None
    types = {each.id: each.kitti_type for each in load_ontology(Settings.from_environment().ontology_file).classes}
    rows = list(masklet_table.read(folder / masklet_table.FILE_NAME))
    scores: dict[int, list[float]] = {}
    for row in rows:
        if row.score is not None:
            scores.setdefault(row.masklet_id, []).append(row.score)
    mean = {key: sum(each) / len(each) for key, each in scores.items()}
    lowest = min((row.level for row in rows), default=0)
    found: TracksByFrame = {}
    for row in rows:
        if row.level == lowest:
            kind = types.get(row.class_id or "", UNKNOWN_TYPE)
            item = KittiObject(
                kind, -1.0, -1, kitti_labels.NO_ALPHA, row.box_xyxy, kitti_labels.NO_BOX_3D, mean.get(row.masklet_id, 1.0), row.masklet_id
            )
            found.setdefault(row.frame_index, []).append(item)
    return found


def _pair(found: _Result, files: dict[str, Path], frame_offset: int | None) -> dict[int, str]:
    """Truth stem of every frame of the result that has one."""
    by_number = {_number(stem): stem for stem in files if stem.isdecimal()}
    stems: dict[int, str] = {}
    for index in found.labels:
        source = found.source_stems.get(index)
        if frame_offset is not None:
            stem = by_number.get(index + frame_offset)
        elif found.source_stems:
            stem = source if source in files else by_number.get(_number(source or ""))
        else:
            stem = by_number.get(index)
        if stem is not None:
            stems[index] = stem
    return stems


def _camera(truth: Path, camera: int | None) -> int:
    if camera is not None:
        return camera
    return 0 if (truth / "image_0").is_dir() and not (truth / "image_2").is_dir() else COLOR_CAMERA


def _image_shift(truth: Path, camera: int) -> float:
    """`s` so that a point at depth z lies `s / z` pixels farther right in the given camera's image than in the colour camera's."""
    if camera == COLOR_CAMERA:
        return 0.0
    path = truth / "calib.txt"
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line) if path.is_file() else {}
    try:
        matrices = [np.array(rows[f"P{number}"].split(), dtype=np.float64).reshape(3, 4) for number in (camera, COLOR_CAMERA)]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} has no usable P{camera} and P{COLOR_CAMERA}, which are needed to move KITTI's 2D boxes into camera {camera}'s image. "
            f"Add the file, or give --camera {COLOR_CAMERA} if they are in the right image already."
        ) from error
    return float(matrices[0][0, 3] - matrices[1][0, 3])


def _moved(objects: Iterable[KittiObject], shift: float) -> tuple[KittiObject, ...]:
    """2D boxes moved by `shift / z`; what has no depth, such as `DontCare` regions, stays where it is."""
    moved = []
    for item in objects:
        step = shift / item.box.z if item.has_box_3d and item.box.z > 0.0 else 0.0
        x1, y1, x2, y2 = item.box_xyxy
        moved.append(replace(item, box_xyxy=(max(x1 + step, 0.0), y1, max(x2 + step, 0.0), y2)) if step else item)
    return tuple(moved)


def _scored(item: KittiObject) -> KittiObject:
    return replace(item, score=_or_one(item.score))


def _or_one(score: float | None) -> float:
    return 1.0 if score is None else score


def _number(stem: str) -> int:
    """The number a file is named by; -1 for other names."""
    return int(stem) if stem.isdecimal() else -1
