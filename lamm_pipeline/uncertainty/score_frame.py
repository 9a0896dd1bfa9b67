"""The scores of one frame of one evaluation, against its truth where there is any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.extraction.point_cloud import velodyne_to_camera
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.uncertainty.box_disagreement import box_disagreement
from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty, to_json, write_classes, write_scores
from lamm_pipeline.uncertainty.labels import GROUND, OBSTACLE, ClassMap, derive_labels, label_file, read_labels
from lamm_pipeline.uncertainty.predictions import FramePredictions, read_frame
from lamm_pipeline.uncertainty.scores import SCORES, BadPredictionError, PointScores, score_points
from lamm_pipeline.uncertainty.tally import Tally, accuracy, mean_iou, tally_points

POINT_BYTES = 16
LEAST_CONFIDENCE = "least_confidence"
"""One minus `max_softmax_mean`: the score shown where nothing else is given."""


@dataclass(frozen=True)
class Derivation:
    """What ground and obstacles are derived from.

    Attributes:
        folder: of the frames.
        camera: the rectified camera.
        boxes: of every frame, by index.
    """

    folder: Path
    camera: RectifiedCamera
    boxes: Mapping[int, Sequence[Box3D]]


@dataclass(frozen=True)
class LabelFiles:
    """SemanticKITTI label files, below `folder / recording`."""

    folder: Path
    recording: str
    class_map: ClassMap


@dataclass(frozen=True)
class ScoredFrame:
    """A row, or the reason why there is none.

    Attributes:
        bad: frame, kind and sentence.
        bad_labels: why its truth could not be used; the row is there all the same.
        tally: of its labelled points.
    """

    row: FrameUncertainty | None = None
    bad: Mapping[str, Any] | None = None
    bad_labels: Mapping[str, Any] | None = None
    tally: Tally | None = None

    def to_json(self) -> dict[str, Any]:
        """What a log keeps, without the tally."""
        if self.row is None:
            return {"bad": self.bad}
        return {"row": to_json(self.row), **({"bad_labels": self.bad_labels} if self.bad_labels else {})}


@dataclass(frozen=True)
class FrameScorer:
    """Scores the frames of one evaluation of one recording.

    Attributes:
        evaluation: whose.
        recording: key.
        frames: of the recording, by index.
        cloud_bytes: size of each frame's cloud, by its name.
        device: of torch, None for NumPy.
        keep_points: whether scores and classes of points are written.
        labels: truth in files, None without.
        derivation: truth by derivation, None when it is not wanted or cannot be.
    """

    evaluation: Evaluation
    recording: str
    frames: Mapping[int, FrameRecord]
    cloud_bytes: Mapping[str, int]
    device: str | None
    keep_points: bool
    labels: LabelFiles | None = None
    derivation: Derivation | None = None

    @cached_property
    def _label_table(self) -> NDArray[np.int64] | None:
        return None if self.labels is None else self.labels.class_map.indices(self.evaluation.classes)

    def __call__(self, item: tuple[int, Path], directory: Path) -> ScoredFrame:
        """Score a frame.

        Args:
            item: its index and the file of its predictions.
            directory: of the artifact, for what is kept of points.
        """
        index, path = item
        frame_id = f"{self.recording}:{index:06d}"
        try:
            record = self.frames.get(index)
            if record is None:
                raise BadPredictionError("unknown frame", "the recording has no such frame")
            return self._scored(record, path, directory)
        except BadPredictionError as error:
            return ScoredFrame(bad={"frame_id": frame_id, "kind": error.kind, "reason": str(error)})

    def _scored(self, record: FrameRecord, path: Path, directory: Path) -> ScoredFrame:
        evaluation = self.evaluation
        points = None if record.point_cloud is None else self.cloud_bytes[record.point_cloud] // POINT_BYTES
        predicted = read_frame(path, evaluation, points)
        if predicted.points is not None and points is None:
            raise BadPredictionError("wrong point count", "there are predictions for points, but the frame has no cloud")
        scored = self._score(predicted)
        values: dict[str, NDArray[Any]] = {name: value for name, value in predicted.scores.items() if value.ndim}
        values |= {} if scored is None else dict(scored.values)
        foreground = None if scored is None else np.isin(scored.predicted, evaluation.foreground_indices)
        statistics: dict[str, float | None] = {f"{name}_mean": float(value) for name, value in predicted.scores.items() if not value.ndim}
        for name, value in values.items():
            statistics |= point_statistics(name, value, foreground)
        boxes = None if predicted.boxes is None else box_disagreement(predicted.boxes, evaluation.members or 1)
        score, kind = _shown(statistics, boxes)
        labels, source, problem = self._truth(record, predicted) if scored is not None else (None, None, None)
        classes = scored.predicted if scored is not None and self.keep_points else None
        tally = None
        if scored is not None and labels is not None and (labels >= 0).any():
            finding = shown_score(evaluation)
            tally = tally_points(scored, labels, finding if finding in scored.values else "predictive_entropy", len(evaluation.classes))
        row = FrameUncertainty(
            evaluation=evaluation.id,
            model_id=evaluation.model_id,
            evaluated_at=evaluation.created,
            frame_id=record.frame_id,
            frame_index=record.svo2_frame_index,
            timestamp_ns=record.timestamp_ns,
            points=predicted.points,
            score=score,
            score_kind=kind,
            statistics=statistics,
            box_disagreement=boxes,
            iou=None if tally is None else mean_iou(tally.confusion),
            accuracy=None if tally is None else accuracy(tally.confusion),
            label_source=None if tally is None else source,
            points_path=self._keep_scores(record, values, directory) if self.keep_points and values else None,
            classes_path=None if classes is None else self._keep_classes(record, classes, labels, directory),
            class_names=() if classes is None else evaluation.classes,
        )
        wrong = None if problem is None else {"frame_id": record.frame_id, "reason": problem}
        return ScoredFrame(row=row, bad_labels=wrong, tally=tally)

    def _score(self, predicted: FramePredictions) -> PointScores | None:
        if predicted.probabilities is not None:
            return score_points(predicted.probabilities, members=len(predicted.probabilities) > 1, device=self.device)
        if predicted.mean is not None:
            return score_points(predicted.mean[None], members=False, device=self.device)
        return None

    def _truth(self, record: FrameRecord, predicted: FramePredictions) -> tuple[NDArray[np.int64] | None, str | None, str | None]:
        """The truth of a frame's points, where it is from, and why it could not be used."""
        index = record.svo2_frame_index
        if predicted.labels is not None:
            return predicted.labels, "file", None
        if self.labels is not None and self._label_table is not None:
            path = label_file(self.labels.folder, self.labels.recording, index)
            if not path.is_file():
                return None, None, None
            try:
                return read_labels(path, self._label_table, predicted.points or 0), "semantickitti", None
            except BadPredictionError as error:
                return None, None, str(error)
        if self.derivation is not None and record.point_cloud is not None:
            return self._derived(record, record.point_cloud, self.derivation), "derived", None
        return None, None, None

    def _derived(self, record: FrameRecord, cloud: str, derivation: Derivation) -> NDArray[np.int64]:
        points = np.fromfile(derivation.folder / cloud, "<f4").reshape(-1, 4)[:, :3]
        depth = read_depth(derivation.folder, record, derivation.camera)
        ground = None if depth is None else fit_ground_plane(depth, derivation.camera)
        found = derive_labels(velodyne_to_camera(points), derivation.boxes.get(record.svo2_frame_index, ()), ground)
        classes = self.evaluation.classes
        return np.asarray(np.array([classes.index(GROUND), classes.index(OBSTACLE), -1])[found])

    def _keep_scores(self, record: FrameRecord, values: Mapping[str, NDArray[Any]], directory: Path) -> str:
        name = f"points/{self.evaluation.id}/{record.filename_base}.npy"
        count = len(next(iter(values.values())))
        columns = [values.get(score, np.full(count, np.nan)) for score in SCORES]
        write_scores(directory / name, columns)
        return name

    def _keep_classes(self, record: FrameRecord, predicted: NDArray[Any], true: NDArray[Any] | None, directory: Path) -> str:
        name = f"classes/{self.evaluation.id}/{record.filename_base}.npy"
        write_classes(directory / name, predicted, true, len(self.evaluation.classes))
        return name


def derivable(evaluation: Evaluation) -> bool:
    """Whether truth can be derived for its classes."""
    return {GROUND, OBSTACLE} <= set(evaluation.classes)


def shown_score(evaluation: Evaluation) -> str:
    """The score of points that stands for the evaluation's uncertainty."""
    return "mutual_information" if (evaluation.members or 1) > 1 else "predictive_entropy"


def point_statistics(name: str, values: NDArray[Any], foreground: NDArray[np.bool_] | None) -> dict[str, float | None]:
    """Mean, 95th percentile and foreground mean of a score; the latter is None without such points, or where classes are not known."""
    inside = None if foreground is None or not foreground.any() else float(values[foreground].mean(dtype=np.float64))
    return {
        f"{name}_mean": float(values.mean(dtype=np.float64)),
        f"{name}_p95": float(np.percentile(values, 95)),
        f"{name}_foreground_mean": inside,
    }


def _shown(statistics: Mapping[str, float | None], boxes: float | None) -> tuple[float, str]:
    """The score of a frame, and which it is."""
    for kind in ("mutual_information_mean", "predictive_entropy_mean"):
        value = statistics.get(kind)
        if value is not None:
            return value, kind
    if boxes is not None:
        return boxes, "box_disagreement"
    for kind in ("expected_entropy_mean", "variation_ratio_mean"):
        value = statistics.get(kind)
        if value is not None:
            return value, kind
    return 1.0 - (statistics["max_softmax_mean"] or 0.0), LEAST_CONFIDENCE
