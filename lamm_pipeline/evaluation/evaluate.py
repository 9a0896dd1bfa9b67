"""Scores 2D boxes, 3D boxes and tracks of a result against KITTI ground truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.evaluation import inputs
from lamm_pipeline.evaluation.box_errors import score_boxes
from lamm_pipeline.evaluation.inputs import BoxSource, Comparison, Frame
from lamm_pipeline.evaluation.matching import Verdict, average_precision, everything, image_similarity, match, scopes
from lamm_pipeline.evaluation.report import EvaluationReport
from lamm_pipeline.evaluation.track_scores import score_tracks
from lamm_pipeline.reconstruction.kitti_labels import DONT_CARE

IOU_2D = 0.5


def evaluate(
    result: Path,
    truth: Path,
    *,
    recording: str | None = None,
    frame_offset: int | None = None,
    camera: int | None = None,
    iou_threshold: float = IOU_2D,
    boxes: BoxSource | None = None,
    frame_range: range | None = None,
) -> EvaluationReport:
    """Compare a result with ground truth, on the frames that have a truth file.

    Frames are paired by the name of the image they were packed from where the result knows it, else by number. The frames of an
    exported split are those of its recording, which the version's lineage tells.

    Args:
        result: a lamm root, a recording's folder in it, or a folder with `label_2/` (and `tracks.json` or `tracks.txt`), such as a KITTI
            export.
        truth: folder with `label_2/*.txt`, and optionally `tracks.txt` (rows `frame id type ...`) and `calib.txt`.
        recording: which recording of a root or of a split; not needed when there is one.
        frame_offset: truth number minus the recording's, instead of the names of packed images.
        camera: KITTI camera of the result's images. KITTI's 2D boxes are camera 2's and are moved into this camera's image with
            `calib.txt`. None: camera 0 when the truth has `image_0/` and no `image_2/`, else camera 2.
        iou_threshold: least 2D overlap of a detection and a true object.
        boxes: score the boxes of each frame alone, those refined over the tracks, or those of masklets. None: the
            refined ones where there are any.
        frame_range: frame indices of the result to compare; None for all.

    Raises:
        InputError: something is missing, unreadable or does not belong together; the message says what.
    """
    if not 0.0 < iou_threshold <= 1.0:
        raise InputError(f"The overlap threshold is {iou_threshold:g}; it must be above 0 and at most 1.")
    comparison = inputs.load(result, truth, recording=recording, frame_offset=frame_offset, camera=camera, boxes=boxes, frames=frame_range)
    frames = comparison.frames
    overlaps = [image_similarity(frame.truth, frame.result) for frame in frames]
    found = scopes({item.type for frame in frames for item in (*frame.truth, *frame.result)} - {DONT_CARE})
    verdicts = {
        scope: [match(frame, scope, overlap, iou_threshold) for frame, overlap in zip(frames, overlaps, strict=True)]
        for scope in [everything(), *found]
    }
    errors = {scope.name: score_boxes(frames, matched, scope) for scope, matched in verdicts.items()}
    return EvaluationReport(
        frames={
            "evaluated": len(frames),
            "truth": comparison.truth_frames,
            "result": comparison.result_frames,
            "camera": comparison.camera,
        },
        boxes=comparison.boxes.value,
        detection={scope.name: _score_detections(frames, verdicts[scope]) for scope in found},
        boxes_3d=errors.pop("all") | {"by_class": errors},
        tracks=_score_all_tracks(comparison),
    )


def _score_detections(frames: Sequence[Frame], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    tp = sum(len(verdict.matches) for verdict in verdicts)
    fp = sum(len(verdict.false) for verdict in verdicts)
    fn = sum(len(verdict.missed) for verdict in verdicts)
    return {
        "recall": tp / (tp + fn) if tp + fn else float("nan"),
        "precision": tp / (tp + fp) if tp + fp else float("nan"),
        "ap": average_precision(frames, verdicts),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "ignored": sum(len(verdict.excused) for verdict in verdicts),
    }


def _score_all_tracks(comparison: Comparison) -> dict[str, Any] | None:
    if not comparison.has_tracks:
        return None
    frames = comparison.frames
    types = {item.type for frame in frames for item in (*frame.truth_tracks, *frame.result_tracks)} - {DONT_CARE}
    return score_tracks(frames, everything()) | {"by_class": {scope.name: score_tracks(frames, scope) for scope in scopes(types)}}
