"""What the review page shows of a recording: frames, annotations, sequence annotations, all of versions that belong together.

It never changes for given versions, so it is read once and kept. Masks stay in their file: the page asks for those of the frames it shows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.review import gifs, sequence_annotations
from lamm_pipeline.review.gifs import SequenceGifs
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.tracking import identities as identities_file
from lamm_pipeline.tracking import tracks as tracks_file

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ShownAnnotation:
    """A detection as the page shows it.

    Attributes:
        annotation_id: its id.
        frame: place of its frame among the frames.
        class_id: as the models say.
        confidence: None where the models give none.
        box_xyxy: pixels of the left image.
        distance_m: None where it is not known.
        track_id, masklet_id: None where it is part of none.
    """

    annotation_id: str
    frame: int
    class_id: str
    confidence: float | None
    box_xyxy: BoxXyxy
    distance_m: float | None
    track_id: int | None
    masklet_id: int | None


@dataclass(frozen=True)
class Shown:
    """The artifacts that are shown together; None = not there, or not made of the others."""

    frames: Artifact
    detections: Artifact | None
    sequences: Artifact | None
    gifs: Artifact | None
    notes: tuple[str, ...]

    @property
    def versions(self) -> dict[str, str | None]:
        """Which version is shown, by kind of subject."""
        named = {"frame": self.frames, "annotation": self.detections, "sequence": self.sequences, "gifs": self.gifs}
        return {kind: None if artifact is None else artifact.version for kind, artifact in named.items()}


@dataclass(frozen=True)
class ReviewData:
    """A recording as the review page shows it.

    Attributes:
        recording: its key.
        shown: the artifacts.
        registry: its frames.
        unlabelled: places of the frames on which the models have not worked.
        annotations: in the order of the frames.
        sequences: sequence annotations.
        annotations_of: places of the annotations that each sequence annotation consists of, by its id.
        gifs: by id of the sequence annotation.
    """

    recording: str
    shown: Shown
    registry: FrameRegistry
    unlabelled: tuple[int, ...]
    annotations: tuple[ShownAnnotation, ...]
    sequences: tuple[SequenceAnnotation, ...]
    annotations_of: Mapping[str, tuple[int, ...]]
    gifs: Mapping[str, SequenceGifs]

    @cached_property
    def frame_ids(self) -> tuple[str, ...]:
        """Ids of the frames by place: those that have images."""
        return tuple(frame.frame_id for frame in self.registry.selected_frames)

    @cached_property
    def frame_of(self) -> Mapping[str, int]:
        """Place of a frame by its id."""
        return {frame_id: place for place, frame_id in enumerate(self.frame_ids)}

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Place of an annotation by its id."""
        return {each.annotation_id: place for place, each in enumerate(self.annotations)}

    @cached_property
    def in_frame(self) -> Mapping[str, tuple[int, ...]]:
        """Places of the annotations of each frame that has some, by frame id."""
        found: dict[str, list[int]] = {}
        for place, each in enumerate(self.annotations):
            found.setdefault(self.frame_ids[each.frame], []).append(place)
        return {frame: tuple(places) for frame, places in found.items()}

    @cached_property
    def sequences_of(self) -> Mapping[int, tuple[str, ...]]:
        """Ids of the sequence annotations that an annotation is part of, by its place."""
        found: dict[int, list[str]] = {}
        for sequence, places in self.annotations_of.items():
            for place in places:
                found.setdefault(place, []).append(sequence)
        return {place: tuple(names) for place, names in found.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it but the masks, in columns, so that ten thousand frames are few megabytes."""
        columns = self.annotations
        return {
            "recording": self.recording,
            "versions": self.shown.versions,
            "notes": list(self.shown.notes),
            "width": self.registry.width,
            "height": self.registry.height,
            "frames": {
                "index": [frame.svo2_frame_index for frame in self.registry.selected_frames],
                "time_ms": [frame.timestamp_ns // 1_000_000 for frame in self.registry.selected_frames],
                "unlabelled": list(self.unlabelled),
            },
            "annotations": {
                "frame": [each.frame for each in columns],
                "number": [each.annotation_id.rpartition(":")[2] for each in columns],
                "class_id": [each.class_id for each in columns],
                "confidence": [None if each.confidence is None else round(each.confidence, 4) for each in columns],
                "box_xyxy": [[round(side, 1) for side in each.box_xyxy] for each in columns],
                "distance_m": [None if each.distance_m is None else round(each.distance_m, 2) for each in columns],
                "track_id": [each.track_id for each in columns],
                "masklet_id": [each.masklet_id for each in columns],
            },
            "sequences": [self._sequence(each) for each in self.sequences],
        }

    def _sequence(self, sequence: SequenceAnnotation) -> dict[str, Any]:
        boxes = [(self.frame_of[box.frame_id], box) for box in sequence.boxes if box.frame_id in self.frame_of]
        made = self.gifs.get(sequence.sequence_id)
        files = {} if made is None else {"main": made.main, "crop": made.crop}
        width, height = self.registry.width, self.registry.height
        return {
            "id": sequence.sequence_id,
            "class_id": sequence.class_id,
            "track_id": sequence.track_id,
            "masklet_id": sequence.masklet_id,
            "is_positive": sequence.is_positive,
            "frames": [number for number, _ in boxes],
            "box_xyxy": [_pixels(box.box_xyxyn, width, height) for _, box in boxes],
            "confidence": max((box.confidence for box in sequence.boxes if box.confidence is not None), default=None),
            "annotations": list(self.annotations_of.get(sequence.sequence_id, ())),
            "gifs": {kind: self._gif(name) for kind, name in files.items() if name is not None},
            "without_gifs": None if made is None else made.reason,
        }

    def _gif(self, name: str) -> str:
        artifact = self.shown.gifs
        return "" if artifact is None else f"/files/{artifact.key.path}/{artifact.version}/{name}"


def shown(store: ArtifactStore, recording: str) -> Shown:
    """The artifacts in force that are shown together: the detections, the frames they were made of, and what was made of them.

    Raises:
        InputError: there are no frames yet.
    """
    detections = _current(store, recording, "detections")
    notes = [] if detections is not None else ["There are no detections yet; frames can be reviewed all the same."]
    frames = _current(store, recording, "frames")
    if detections is not None:
        frames = store.find(ArtifactKey("recordings", recording, "frames"), detections.manifest.identity.inputs["frames"])
    if frames is None:
        raise InputError(f"There is nothing to see of {recording!r} yet: run it first with `lamm run {recording}`.")
    sequences = _current(store, recording, "sequence_annotations")
    if sequences is not None and not _made_of(sequences, detections, frames):
        notes.append("The sequence annotations were made of other detections. Materialize `sequence_annotations` to review them here.")
        sequences = None
    made = _current(store, recording, "review_gifs")
    if made is not None and (sequences is None or made.manifest.identity.inputs["sequence_annotations"] != sequences.version):
        notes.append("The GIFs show former sequence annotations. Materialize `review_gifs` to see those in force.")
        made = None
    return Shown(frames, detections, sequences, made, tuple(notes))


def read_review_data(store: ArtifactStore, recording: str, artifacts: Shown) -> ReviewData:
    """Read what the page shows."""
    registry = frame_registry.read(artifacts.frames.file(frame_registry.FILE_NAME))
    places = {frame.frame_id: place for place, frame in enumerate(registry.selected_frames)}
    annotations: tuple[ShownAnnotation, ...] = ()
    looked_at = set()
    if artifacts.detections is not None:
        tracks, masklets = _identities(store, recording, artifacts.detections.version)
        found = []
        for frame in detections_file.read(artifacts.detections.file(detections_file.FILE_NAME)):
            looked_at.add(frame.frame_id)
            found += [
                ShownAnnotation(
                    annotation_id=each.detection_id,
                    frame=places[frame.frame_id],
                    class_id=each.class_id,
                    confidence=each.confidence,
                    box_xyxy=each.box_xyxy,
                    distance_m=each.distance_m,
                    track_id=tracks.get(each.detection_id),
                    masklet_id=masklets.get(each.detection_id),
                )
                for each in frame.detections
            ]
        annotations = tuple(found)
    sequences: tuple[SequenceAnnotation, ...] = ()
    if artifacts.sequences is not None:
        sequences = sequence_annotations.read(artifacts.sequences.file(sequence_annotations.FILE_NAME)).sequences
    by_id = {each.annotation_id: place for place, each in enumerate(annotations)}
    return ReviewData(
        recording=recording,
        shown=artifacts,
        registry=registry,
        unlabelled=tuple(place for frame_id, place in places.items() if frame_id not in looked_at),
        annotations=annotations,
        sequences=sequences,
        annotations_of={
            each.sequence_id: tuple(by_id[name] for box in each.boxes for name in box.annotation_ids if name in by_id) for each in sequences
        },
        gifs={} if artifacts.gifs is None else gifs.read(artifacts.gifs.file(gifs.FILE_NAME)),
    )


def mask_runs(artifacts: Shown, frame_ids: Iterable[str]) -> dict[str, list[int]]:
    """Masks of the annotations of some frames as plain run lengths down the columns, zeros first, by annotation."""
    if artifacts.detections is None:
        return {}
    frames = detections_file.read(artifacts.detections.file(detections_file.FILE_NAME), frozenset(frame_ids))
    return {each.detection_id: plain_runs(each.mask_rle) for frame in frames for each in frame.detections}


def plain_runs(mask_rle: Mapping[str, Any]) -> list[int]:
    """The run lengths of a mask as numbers."""
    return [int(run) for run in rle.run_lengths(str(mask_rle["counts"]))]


def _current(store: ArtifactStore, recording: str, asset: str) -> Artifact | None:
    return store.current(ArtifactKey("recordings", recording, asset))


def _made_of(sequences: Artifact, detections: Artifact | None, frames: Artifact) -> bool:
    """Whether sequence annotations belong to what is shown; those of masklets know no detections."""
    inputs = sequences.manifest.identity.inputs
    if "detections" in inputs:
        return detections is not None and inputs["detections"] == detections.version
    return inputs["frames"] == frames.version


def _identities(store: ArtifactStore, recording: str, detections_version: str) -> tuple[dict[str, int], dict[str, int]]:
    """Track and masklet by detection, as far as they were made of these detections."""
    tracks = _current(store, recording, "tracks")
    if tracks is None:
        return {}, {}
    boxes = store.find(ArtifactKey("recordings", recording, "boxes_3d"), tracks.manifest.identity.inputs["boxes_3d"])
    if boxes is None or boxes.manifest.identity.inputs["detections"] != detections_version:
        return {}, {}
    track_of = {
        point.detection_id: track.track_id
        for track in tracks_file.read(tracks.file(tracks_file.TRACKS_FILE)).tracks
        for point in track.points
    }
    linked = _current(store, recording, "identities")
    if linked is None or linked.manifest.identity.inputs["tracks"] != tracks.version:
        return track_of, {}
    rows = identities_file.read(linked.file(identities_file.FILE_NAME))
    return track_of, {each.detection_id: each.masklet_id for each in rows if each.detection_id and each.masklet_id is not None}


def _pixels(box_xyxyn: BoxXyxy, width: int, height: int) -> list[float]:
    x1, y1, x2, y2 = box_xyxyn
    return [round(x1 * width, 1), round(y1 * height, 1), round(x2 * width, 1), round(y2 * height, 1)]
