"""Makes the sequence annotations of a recording: from boxes that overlap over time, from tracks, or from masklets."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.geometry.boxes_2d import area_xyxy, clip_xyxy
from lamm_pipeline.review.clustering import Algorithm, cluster_boxes, enclosing_box
from lamm_pipeline.review.sequence_annotations import BoxXyxy, SequenceAnnotation, SequenceAnnotations, SequenceBox, sequence_id
from lamm_pipeline.review.sequence_settings import SequenceParameters, Source
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.tracking import tracks as tracks_file
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow
from lamm_pipeline.tracking.tracks import TrackSet

INPUTS = {
    Source.cluster: ("frames", "detections"),
    Source.track: ("frames", "detections", "tracks"),
    Source.masklet: ("frames", "masklets"),
}
"""The artifacts that a source reads."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class SeenBox:
    """A box in one frame, before it is known what it belongs to.

    Attributes:
        frame_id: of its frame.
        place: of the frame in the order of recording.
        box_xyxyn: corners in shares of the image, clipped to it.
        class_id, confidence: None where unknown.
        annotation_id: of the detection, None where there is none.
        identity: of the track or masklet, None for a box that is to be clustered.
    """

    frame_id: str
    place: int
    box_xyxyn: BoxXyxy
    class_id: str | None
    confidence: float | None
    annotation_id: str | None
    identity: int | None = None


def annotate(recording: str, inputs: Mapping[str, Artifact], parameters: SequenceParameters, say: Say) -> SequenceAnnotations:
    """Make the sequence annotations of a recording.

    Args:
        recording: recording key.
        inputs: the artifacts in force that its source reads (`INPUTS`), by asset.
        parameters: what decides the result.
        say: is told what is read, filtered, clustered and left out, and how long it took.

    Raises:
        InputError: an artifact is damaged.
    """
    began = time.perf_counter()
    say(f"Sequence annotations of {recording} with {parameters.to_json()}, from {[str(each.folder) for each in inputs.values()]}")
    counts: Counter[str] = Counter()
    registry = frame_registry.read(inputs["frames"].file(frame_registry.FILE_NAME))
    counts["frames"] = len(registry.selected_frames)
    if parameters.source is Source.cluster:
        boxes = _detected(detections_file.read(inputs["detections"].file(detections_file.FILE_NAME)), counts)
    elif parameters.source is Source.track:
        boxes = _tracked(tracks_file.read(inputs["tracks"].file(tracks_file.TRACKS_FILE)), registry.width, registry.height, counts)
    else:
        boxes = _in_masklets(masklet_table.read(inputs["masklets"].file(masklet_table.FILE_NAME)), parameters.masklet_level, counts)
    seen = list(boxes)
    say(f"Read {counts['boxes']} boxes of {counts['frames']} frames in {time.perf_counter() - began:.2f} s")
    found = sequences_of(recording, seen, parameters, counts, say)
    say(f"Made {len(found.sequences)} sequence annotations in {time.perf_counter() - began:.2f} s: {dict(found.summary)}")
    return found


def sequences_of(
    recording: str, boxes: Sequence[SeenBox], parameters: SequenceParameters, counts: Mapping[str, int], say: Say
) -> SequenceAnnotations:
    """Make sequence annotations of boxes.

    Args:
        recording: recording key.
        boxes: in the order of recording.
        parameters: what decides the result.
        counts: what was read: `frames`, `boxes`, and `without_area`, the boxes of these that are not among `boxes`.
        say: is told what is filtered, clustered and left out.
    """
    objects, below = (_clusters if parameters.source is Source.cluster else _identities)(boxes, parameters)
    say(f"{below} boxes have too little confidence ({parameters.confidence_threshold:g}); the others make {len(objects)} objects")
    whole = sorted((_Object.of(members, parameters.source) for members in objects), key=lambda each: each.order)
    kept = [each for each in whole if len(each.boxes) >= parameters.min_cluster_size]
    for each in whole:
        if len(each.boxes) < parameters.min_cluster_size:
            say(f"An object is left out: frames {each.boxes[0].frame_index} to {each.boxes[-1].frame_index}, seen in {len(each.boxes)}")
    sequences = tuple(each.annotation(sequence_id(recording, number)) for number, each in enumerate(kept, start=1))
    for made in sequences:
        say(f"{made.sequence_id}: {made.class_id}, frames {made.first_frame} to {made.last_frame}, seen in {len(made.boxes)}")
    used = [box for made in sequences for box in made.boxes]
    summary = {
        "frames": counts.get("frames", 0),
        "boxes": counts.get("boxes", 0),
        "without_area": counts.get("without_area", 0),
        "without_confidence": sum(each.confidence is None for each in boxes),
        "below_confidence": below,
        "objects": len(whole),
        "too_short": len(whole) - len(kept),
        "sequences": len(kept),
        "sequence_boxes": len(used),
        "joined_in_a_frame": sum(max(0, len(box.annotation_ids) - 1) for box in used),
    }
    return SequenceAnnotations(
        recording=recording,
        source=parameters.source,
        algorithm=parameters.algorithm,
        parameters=parameters.to_json(),
        summary=summary,
        reason=None if kept else _reason(boxes, summary, max((len(each.boxes) for each in whole), default=0), parameters),
        sequences=sequences,
    )


def _detected(frames: Iterable[FrameDetections], counts: Counter[str]) -> Iterator[SeenBox]:
    for place, frame in enumerate(sorted(frames, key=lambda each: (each.timestamp_ns, each.frame_index))):
        for each in frame.detections:
            box_xyxyn = _in_shares(each.box_xyxy, frame.width, frame.height, counts)
            if box_xyxyn is not None:
                yield SeenBox(frame.frame_id, place, box_xyxyn, each.class_id, each.confidence, each.detection_id)


def _tracked(tracks: TrackSet, width: int, height: int, counts: Counter[str]) -> Iterator[SeenBox]:
    for track in tracks.tracks:
        for each in track.points:
            box_xyxyn = _in_shares(each.box_xyxy, width, height, counts)
            if box_xyxyn is not None:
                yield SeenBox(each.frame_id, each.frame_index, box_xyxyn, track.class_id, each.score, each.detection_id, track.track_id)


def _in_masklets(rows: Iterable[MaskletRow], level: int | None, counts: Counter[str]) -> Iterator[SeenBox]:
    """Boxes of the masklets of one level, by default of the first that there is: the file is sorted by it."""
    for row in rows:
        level = row.level if level is None else level
        if row.level != level:
            continue
        box_xyxyn = _in_shares(row.box_xyxy, row.width, row.height, counts)
        if box_xyxyn is not None:
            yield SeenBox(row.frame_id, row.frame_index, box_xyxyn, row.class_id, row.score, row.candidate_id, row.masklet_id)


def _in_shares(box_xyxy: BoxXyxy, width: int, height: int, counts: Counter[str]) -> BoxXyxy | None:
    """The part of a box that lies in the image, in shares of it; None, and counted, where that has no area."""
    counts["boxes"] += 1
    clipped = clip_xyxy(box_xyxy, width, height)
    if area_xyxy(clipped) <= 0.0:
        counts["without_area"] += 1
        return None
    x1, y1, x2, y2 = (clipped / [width, height, width, height]).tolist()
    return x1, y1, x2, y2


def _clusters(boxes: Sequence[SeenBox], parameters: SequenceParameters) -> tuple[list[list[SeenBox]], int]:
    """Boxes by cluster, and how many have too little confidence to be in any."""
    sure = [each for each in boxes if each.confidence is None or each.confidence >= parameters.confidence_threshold]
    groups: defaultdict[str | None, list[SeenBox]] = defaultdict(list)
    for each in sure:
        groups[each.class_id if parameters.per_class else None].append(each)
    clusters: list[list[SeenBox]] = []
    for members in groups.values():
        numbers = cluster_boxes(
            [each.box_xyxyn for each in members],
            [each.place for each in members],
            iou_threshold=parameters.iou_threshold or 0.0,
            algorithm=parameters.algorithm or Algorithm.union_find,
            max_gap=parameters.max_gap,
        )
        found: list[list[SeenBox]] = [[] for _ in range(int(numbers.max()) + 1)]
        for number, each in zip(numbers.tolist(), members, strict=True):
            found[number].append(each)
        clusters += found
    return clusters, len(boxes) - len(sure)


def _identities(boxes: Sequence[SeenBox], parameters: SequenceParameters) -> tuple[list[list[SeenBox]], int]:
    """Boxes by track or masklet, and how many belong to one that never has enough confidence."""
    groups: defaultdict[int | None, list[SeenBox]] = defaultdict(list)
    for each in boxes:
        groups[each.identity].append(each)
    best = {name: _best(members) for name, members in groups.items()}
    sure = [groups[name] for name, score in best.items() if score is None or score >= parameters.confidence_threshold]
    return sure, len(boxes) - sum(map(len, sure))


@dataclass(frozen=True)
class _Object:
    """One object; `order` is its place among the objects: first frame, then place in it."""

    boxes: tuple[SequenceBox, ...]
    class_id: str | None
    track_id: int | None
    masklet_id: int | None
    order: tuple[int, BoxXyxy, str]

    @classmethod
    def of(cls, members: Sequence[SeenBox], source: Source) -> "_Object":
        frames: defaultdict[int, list[SeenBox]] = defaultdict(list)
        for each in members:
            frames[each.place].append(each)
        boxes = tuple(
            SequenceBox(
                frame_id=together[0].frame_id,
                annotation_ids=tuple(each.annotation_id for each in together if each.annotation_id is not None),
                box_xyxyn=enclosing_box([each.box_xyxyn for each in together]),
                confidence=_best(together),
            )
            for _, together in sorted(frames.items())
        )
        classes = Counter(each.class_id for each in members if each.class_id is not None)
        class_id = min(classes, key=lambda name: (-classes[name], name), default=None)
        identity = members[0].identity
        return cls(
            boxes=boxes,
            class_id=class_id,
            track_id=identity if source is Source.track else None,
            masklet_id=identity if source is Source.masklet else None,
            order=(min(frames), boxes[0].box_xyxyn, f"{class_id or ''}:{boxes[0].annotation_ids}:{identity}"),
        )

    def annotation(self, name: str) -> SequenceAnnotation:
        return SequenceAnnotation(name, self.class_id, self.track_id, self.masklet_id, self.boxes)


def _best(members: Sequence[SeenBox]) -> float | None:
    """The highest confidence, None where none is known."""
    return max((each.confidence for each in members if each.confidence is not None), default=None)


def _reason(boxes: Sequence[SeenBox], summary: Mapping[str, int], longest: int, parameters: SequenceParameters) -> str:
    """Why there is no sequence annotation, and what to do about it."""
    if not summary["boxes"]:
        what = {Source.cluster: "detection", Source.track: "track", Source.masklet: "masklet"}[parameters.source]
        return (
            f"None of the {summary['frames']} frames has a {what}. Make them with a lower threshold, or give predictions made elsewhere "
            "to `detections`."
        )
    if not boxes:
        return f"None of the {summary['boxes']} boxes has an area within its image. Look where they come from."
    if not summary["objects"]:
        best = _best(boxes)
        return (
            f"All {len(boxes)} boxes are below the confidence threshold {parameters.confidence_threshold:g}; the best has {best:.2f}. "
            "Lower it, or set it to 0 to use all."
        )
    return (
        f"All {summary['objects']} objects are seen in fewer than {parameters.min_cluster_size} frames; the longest is in {longest}. Lower "
        "min_cluster_size, or link more with a lower iou_threshold."
    )
