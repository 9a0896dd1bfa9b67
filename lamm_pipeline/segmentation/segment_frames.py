"""The `detections` stage: find and outline the objects in every selected frame of a recording."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.depth_masks import central_distance
from lamm_pipeline.segmentation.detections import Detection, FailedFrame, FrameDetections
from lamm_pipeline.segmentation.segmenter import FrameSegmenter, Picture, RawDetection, Segmentation, Segmenter, by_frames
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, map_ordered, no_progress


@dataclass(frozen=True)
class SegmentationSummary:
    """What the stage made of a recording.

    Attributes:
        total_frames: frames segmented.
        total_detections: objects in them.
        failed_frames: frames whose files could not be read.
        by_class: detections by class id.
        by_mask_source: detections by how their mask was made.
        refused: candidates above the threshold that were not reported, by reason.
        frames_with_detections: frames with at least one object.
        mean_confidence: over all detections that have one, None when there are none.
        report: what the back end has to say about the recording besides, such as predictions that match no frame; mostly nothing.
        path: of `detections.json`.
    """

    total_frames: int
    total_detections: int
    failed_frames: tuple[FailedFrame, ...]
    by_class: Mapping[str, int]
    by_mask_source: Mapping[str, int]
    refused: Mapping[str, int]
    frames_with_detections: int
    mean_confidence: float | None
    report: Mapping[str, Any]
    path: Path


@dataclass(frozen=True)
class _Result:
    """Of one frame: its objects, or why there are none."""

    frame: FrameDetections | None
    refused: Mapping[str, int]
    failure: str | None


def segment_frames(
    registry: FrameRegistry,
    frames_folder: Path,
    segmenter: Segmenter | FrameSegmenter,
    ontology: Ontology,
    settings: SegmentationSettings,
    draft: Draft,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> SegmentationSummary:
    """Segment the selected frames of a recording and write `detections/detections.json` and, if wanted, the masks as PNG.

    Args:
        registry: of the recording's frames.
        frames_folder: the artifact folder of the frames.
        segmenter: the back end.
        ontology: names of its classes.
        settings: of the stage.
        draft: where the files go; work up to its last checkpoint is not repeated.
        workers: threads; None means one a processor.
        progress: told after every frame.

    Raises:
        InputError: more than `settings.max_bad_share` of the frames could not be read, or the back end has nothing for this recording.
    """
    model = by_frames(segmenter)
    report = model.begin(registry)
    frames = registry.selected_frames
    log = draft.log("segmented.jsonl")
    done = int(draft.state.get("done", 0))
    masks = draft.directory if settings.write_masks else None

    def work(batch: Sequence[FrameRecord]) -> list[_Result]:
        return _segment(batch, registry, frames_folder, model, ontology, masks)

    # Batches follow each other from the first frame and checkpoints lie between them, so that a resumed run has the same batches.
    size = model.batch_size
    batches = (frames[start : start + size] for start in range(done, len(frames), size))
    for batch, results in map_ordered(work, batches, workers):
        before = done
        for frame, result in zip(batch, results, strict=True):
            if result.frame is None:
                log.append({"frame_id": frame.frame_id, "failure": result.failure})
            else:
                log.append({"frame_id": frame.frame_id, "frame": detections.frame_to_json(result.frame), "refused": dict(result.refused)})
            done += 1
            progress(done, len(frames))
        if done // CHECKPOINT_EVERY > before // CHECKPOINT_EVERY:
            draft.checkpoint({"done": done})
    summary = _summarize(log, report, draft.directory / detections.FILE_NAME)
    failed = summary.failed_frames
    if len(failed) > settings.max_bad_share * len(frames):
        raise InputError(
            f"{len(failed)} of the {len(frames)} frames of {registry.recording} could not be read (the first: {failed[0].reason}), more "
            "than `max_bad_share` allows; extract them again."
        )
    detections.write(summary.path, _head(registry, model, summary), _logged_frames(log))
    return summary


def _segment(
    frames: Sequence[FrameRecord],
    registry: FrameRegistry,
    folder: Path,
    segmenter: FrameSegmenter,
    ontology: Ontology,
    masks_below: Path | None,
) -> list[_Result]:
    """Results of a batch of frames; those whose files cannot be read do not reach the back end."""
    loaded = [_load(frame, registry, folder) for frame in frames]
    pictures = [each for each in loaded if isinstance(each, Picture)]
    segmented = iter(segmenter.segment_batch(pictures) if pictures else ())
    return [
        _result(each, next(segmented), ontology, masks_below) if isinstance(each, Picture) else _Result(None, {}, each) for each in loaded
    ]


def _load(frame: FrameRecord, registry: FrameRegistry, folder: Path) -> Picture | str:
    """The frame's image and depth, or why they cannot be had."""
    image = None if frame.image_left is None else read_image(folder / frame.image_left)
    if image is None:
        return f"the image {frame.image_left} is missing or damaged"
    height, width = image.shape[:2]
    if (width, height) != (registry.width, registry.height):
        return f"the image {frame.image_left} is {width}x{height} instead of {registry.width}x{registry.height}"
    try:
        depth = None if registry.camera is None else read_depth(folder, frame, registry.camera)
    except InputError as error:
        return str(error)
    return Picture(frame, image, depth, registry.camera)


def _result(picture: Picture, segmented: Segmentation, ontology: Ontology, masks_below: Path | None) -> _Result:
    frame, depth = picture.frame, picture.depth
    height, width = picture.image_bgr.shape[:2]
    objects = []
    for number, raw in enumerate(segmented.detections):
        mask = raw.mask.full(width, height)
        name = None
        if masks_below is not None:
            name = f"{detections.MASKS_FOLDER}/{frame.filename_base}_{number}.png"
            _write_mask(masks_below / name, mask)
        distance = None if depth is None else central_distance(raw.mask, depth)
        objects.append(_detection(raw, f"{frame.frame_id}:{number}", ontology.by_id(raw.class_id).name, mask, distance, name))
    found = FrameDetections(frame.frame_id, frame.svo2_frame_index, frame.timestamp_ns, width, height, tuple(objects))
    return _Result(found, segmented.refused, None)


def _detection(
    raw: RawDetection, detection_id: str, class_name: str, mask: NDArray[np.bool_], distance: float | None, mask_name: str | None
) -> Detection:
    rows, columns = np.nonzero(raw.mask.pixels)
    x1, y1, x2, y2 = (round(float(value), 2) for value in raw.box_xyxy)
    return Detection(
        detection_id=detection_id,
        class_id=raw.class_id,
        class_name=class_name,
        confidence=None if raw.confidence is None else round(raw.confidence, 6),
        box_xyxy=(x1, y1, x2, y2),
        mask_rle=rle.encode(mask),
        area=len(rows),
        centroid=(round(float(columns.mean()) + raw.mask.x, 2), round(float(rows.mean()) + raw.mask.y, 2)),
        distance_m=None if distance is None else round(distance, 3),
        mask_source=raw.mask_source,
        mask=mask_name,
    )


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """A picture as `(H, W, 3)` BGR, None when the file is missing or damaged."""
    content = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    if content.size == 0:
        return None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    return None if image is None else image.astype(np.uint8, copy=False)


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), mask.astype(np.uint8) * 255):
        raise OSError(f"The mask {path} could not be written; is the disk full?")


def _summarize(log: RecordLog, report: Mapping[str, Any], path: Path) -> SegmentationSummary:
    by_class: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    failed: list[FailedFrame] = []
    frames = frames_with = scored = 0
    score_sum = 0.0
    for record in log:
        if "failure" in record:
            failed.append(FailedFrame(record["frame_id"], record["failure"]))
            continue
        found = record["frame"]["detections"]
        frames += 1
        frames_with += bool(found)
        refused.update(record["refused"])
        by_class.update(each["class_id"] for each in found)
        by_source.update(each["mask_source"] for each in found)
        scores = [each["confidence"] for each in found if each["confidence"] is not None]
        score_sum += sum(scores)
        scored += len(scores)
    return SegmentationSummary(
        total_frames=frames,
        total_detections=by_class.total(),
        failed_frames=tuple(failed),
        by_class=dict(sorted(by_class.items())),
        by_mask_source=dict(sorted(by_source.items())),
        refused=dict(sorted(refused.items())),
        frames_with_detections=frames_with,
        mean_confidence=round(score_sum / scored, 6) if scored else None,
        report=report,
        path=path,
    )


def _head(registry: FrameRegistry, segmenter: FrameSegmenter, summary: SegmentationSummary) -> dict[str, Any]:
    return {
        "recording": registry.recording,
        "total_frames": summary.total_frames,
        "total_detections": summary.total_detections,
        "segmenter": dict(segmenter.identity),
        "by_class": dict(summary.by_class),
        "by_mask_source": dict(summary.by_mask_source),
        "refused": dict(summary.refused),
        "failed_frames": [{"frame_id": failed.frame_id, "reason": failed.reason} for failed in summary.failed_frames],
        **summary.report,
    }


def _logged_frames(log: RecordLog) -> Iterator[FrameDetections]:
    return (detections.frame_from_json(record["frame_id"], record["frame"]) for record in log if "frame" in record)
