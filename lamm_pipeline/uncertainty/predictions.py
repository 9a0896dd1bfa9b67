"""What a model predicts for one frame: the arrays in a file, reading and checking them, and a writer for one's own models.

| array | shape | meaning |
| --- | --- | --- |
| `probabilities` | `(members, points, classes)` | of every member of an ensemble |
| `mean` | `(points, classes)` | of one model, or the mean over members where no more is kept |
| a score's name, such as `mutual_information` | `()` or `(points,)` | a score computed elsewhere, for what the arrays here do not give |
| `labels` | `(points,)` | optional truth: index of the class, -1 = not known |
| `boxes`, `box_member`, `box_class`, `box_score` | `(boxes, 4)`, `(boxes,)` ... | 2D boxes of detectors, pixels x1, y1, x2, y2 |

Points are those of the frame's cloud (`velodyne/<index:06d>.bin` of the asset `frames`), in its order. A file has at least one of the
first three, or boxes.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_bytes, write_json
from lamm_pipeline.uncertainty.array_files import UNREADABLE, parquet_table, read_npz, read_parquet
from lamm_pipeline.uncertainty.evaluation_files import RECORDING_FILE, SUFFIXES, Evaluation, write_evaluation
from lamm_pipeline.uncertainty.scores import SCORES, BadPredictionError, check_probabilities

UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class MemberBoxes:
    """2D boxes of all members of an ensemble in one frame.

    Attributes:
        xyxy: `(K, 4)` pixels.
        member: `(K,)` which member found it, from 0.
        class_index: `(K,)` in the evaluation's classes.
        score: `(K,)` confidence, or None.
    """

    xyxy: NDArray[np.float64]
    member: NDArray[np.int64]
    class_index: NDArray[np.int64]
    score: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class FramePredictions:
    """What an evaluation says about one frame; shapes as in the module's table, large arrays may be mapped files.

    Attributes:
        points: number of points, None where there are boxes or scores of the whole frame alone.
        scores: by name.
    """

    points: int | None
    probabilities: NDArray[Any] | None = None
    mean: NDArray[Any] | None = None
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    boxes: MemberBoxes | None = None


def read_frame(path: Path, evaluation: Evaluation, points: int | None) -> FramePredictions:
    """Read the predictions of one frame and check all but the values of probabilities, which is done where they are scored.

    Args:
        path: `.npz` or `.parquet`.
        evaluation: it belongs to.
        points: of the frame's cloud, None when it has none.

    Raises:
        BadPredictionError: something is wrong with the file; kind and sentence say what.
    """
    try:
        arrays = read_npz(path) if path.suffix == SUFFIXES[0] else read_parquet(path)
    except UNREADABLE as error:
        raise BadPredictionError("unreadable", f"the file cannot be read ({error})") from error
    return _checked(arrays, evaluation, points)


class PredictionWriter:
    """Writes what a model predicts for the frames of one recording, in the format that `lamm evaluation add` takes.

        evaluation = Evaluation("night-v3", "classifier-v3.2", ("ground", "obstacle"), 5, ("obstacle",), "2026-05-01T12:00:00+00:00")
        with PredictionWriter(Path("predictions/night-v3"), evaluation, "drive") as writer:
            writer.add("drive:000012", probabilities)

    Each file is whole or not there.
    """

    def __init__(
        self, folder: Path, evaluation: Evaluation, recording: str, *, frames_version: str | None = None, suffix: str = ".npz"
    ) -> None:
        """Nothing is written before the context is entered.

        Args:
            folder: of the evaluation; may have other recordings of the same evaluation already.
            evaluation: what is written.
            recording: key of the recording.
            frames_version: version of its `frames` that is predicted for; with it, predictions for other points are recognised.
            suffix: `.npz`, or `.parquet` for points (no boxes, no scores of whole frames).
        """
        if suffix not in SUFFIXES:
            raise InputError(f"Predictions are written as {' or '.join(SUFFIXES)}, not as {suffix!r}.")
        self.folder = folder
        self.evaluation = evaluation
        self.recording = recording
        self.frames_version = frames_version
        self.suffix = suffix
        self.frames = 0

    def __enter__(self) -> Self:
        write_evaluation(self.folder, self.evaluation)
        (self.folder / self.recording).mkdir(exist_ok=True)
        if self.frames_version is not None:
            write_json(self.folder / self.recording / RECORDING_FILE, {"frames_version": self.frames_version})
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Every frame is whole once `add` returns; there is nothing left to do."""

    def add(
        self,
        frame_id: str,
        probabilities: ArrayLike | None = None,
        *,
        mean: ArrayLike | None = None,
        scores: Mapping[str, ArrayLike] | None = None,
        labels: ArrayLike | None = None,
        boxes: MemberBoxes | None = None,
    ) -> Path:
        """Write one frame. Probabilities are kept as they come: float16 takes half the space.

        Args:
            frame_id: `<recording>:<index>`.
            probabilities: `(members, points, classes)`.
            mean: `(points, classes)`.
            scores: scores computed elsewhere, each `()` or `(points,)`.
            labels: `(points,)` truth.
            boxes: of detectors.

        Returns:
            The file.

        Raises:
            InputError: the frame is of another recording, or the arrays are not as they should be.
        """
        recording, _, index = frame_id.rpartition(":")
        if recording != self.recording or not index.isdecimal():
            raise InputError(f"{frame_id!r} is no frame of {self.recording!r}; frame ids are such as {self.recording}:000012.")
        given = {"probabilities": probabilities, "mean": mean, "labels": labels, **(scores or {})}
        arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
        if boxes is not None:
            arrays |= {"boxes": boxes.xyxy, "box_member": boxes.member, "box_class": boxes.class_index}
            arrays |= {} if boxes.score is None else {"box_score": boxes.score}
        try:
            checked = _checked(arrays, self.evaluation, None)
            for each in (checked.probabilities, checked.mean):
                if each is not None:
                    check_probabilities(each)
        except BadPredictionError as error:
            raise InputError(f"The predictions for {frame_id} cannot be written: {error}.") from None
        if self.suffix != SUFFIXES[0] and any(array.ndim == 0 or name.startswith("box") for name, array in arrays.items()):
            raise InputError(f"The predictions for {frame_id} are not of points alone; write them as {SUFFIXES[0]}.")
        path = self.folder / self.recording / f"{int(index):06d}{self.suffix}"
        content = io.BytesIO()
        if self.suffix == SUFFIXES[0]:
            np.savez(content, **arrays)  # type: ignore[arg-type]
        else:
            pq.write_table(parquet_table(arrays), content)
        write_bytes(path, content.getvalue())
        self.frames += 1
        return path


def _checked(arrays: Mapping[str, NDArray[Any]], evaluation: Evaluation, points: int | None) -> FramePredictions:
    probabilities, mean = arrays.get("probabilities"), arrays.get("mean")
    for name, array, axes in (("probabilities", probabilities, "members, points, classes"), ("mean", mean, "points, classes")):
        if array is not None:
            _check_axes(name, array, axes, evaluation)
    given = {name: _score(name, arrays[name]) for name in SCORES if name in arrays}
    boxes = _boxes(arrays, evaluation) if "boxes" in arrays else None
    if probabilities is None and mean is None and boxes is None and not given:
        raise BadPredictionError("no predictions", f"it has neither probabilities, nor mean, nor scores, nor boxes, but {sorted(arrays)}")
    labels = arrays.get("labels")
    found = {
        name: array.shape[axis]
        for name, array, axis in (("probabilities", probabilities, 1), ("mean", mean, 0), ("labels", labels, 0))
        if array is not None and array.ndim
    }
    found |= {name: len(array) for name, array in given.items() if array.ndim}
    counts = set(found.values()) | (set() if points is None or not found else {points})
    if len(counts) > 1:
        cloud = "" if points is None else f", the frame's cloud has {points}"
        raise BadPredictionError("wrong point count", f"{', '.join(f'{name} has {n}' for name, n in found.items())} points{cloud}")
    if counts == {0}:
        raise BadPredictionError("no points", "the frame has no points")
    return FramePredictions(
        points=counts.pop() if counts else None,
        probabilities=probabilities,
        mean=mean,
        scores=given,
        labels=None if labels is None else _labels(labels, len(evaluation.classes)),
        boxes=boxes,
    )


def _check_axes(name: str, array: NDArray[Any], axes: str, evaluation: Evaluation) -> None:
    if array.ndim != axes.count(",") + 1 or array.dtype.kind != "f":
        raise BadPredictionError("wrong shape", f"`{name}` is {array.dtype} of shape {array.shape}, not floating point ({axes})")
    if array.shape[-1] != len(evaluation.classes):
        raise BadPredictionError("wrong class count", f"`{name}` has {array.shape[-1]} classes, the evaluation {len(evaluation.classes)}")
    if array.ndim == 3 and array.shape[0] != evaluation.members:
        raise BadPredictionError("wrong member count", f"`{name}` has {array.shape[0]} members, the evaluation {evaluation.members}")


def _score(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    if array.ndim > 1 or array.dtype.kind not in "fiu":
        raise BadPredictionError("wrong shape", f"`{name}` is {array.dtype} of shape {array.shape}, not a number or one for each point")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadPredictionError("not finite", f"`{name}` has values that are not finite")
    if values.size and (values.min() < 0.0 or values.max() > 1.0):
        raise BadPredictionError("wrong score", f"`{name}` lies between {values.min():g} and {values.max():g}, not between 0 and 1")
    return np.asarray(values)


def _labels(array: NDArray[Any], classes: int) -> NDArray[np.int64]:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise BadPredictionError("wrong labels", f"`labels` are {array.dtype} of shape {array.shape}, not a whole number for each point")
    labels = array.astype(np.int64)
    if labels.size and (labels.min() < UNKNOWN_LABEL or labels.max() >= classes):
        raise BadPredictionError("wrong labels", f"`labels` lie between {labels.min()} and {labels.max()}; there are {classes} classes")
    return labels


def _boxes(arrays: Mapping[str, NDArray[Any]], evaluation: Evaluation) -> MemberBoxes:
    boxes = np.asarray(arrays["boxes"], np.float64)
    kept = {name: arrays.get(name, np.empty(0)) for name in ("box_member", "box_class")}
    score = arrays.get("box_score")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or any(each.shape != boxes.shape[:1] for each in kept.values()):
        raise BadPredictionError("wrong boxes", "`boxes` are not (boxes, 4), or `box_member` and `box_class` are not one number for each")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise BadPredictionError("wrong boxes", "`boxes` are not finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
    limits = {"box_member": evaluation.members or 1, "box_class": len(evaluation.classes)}
    for name, limit in limits.items():
        if len(boxes) and (kept[name].dtype.kind not in "iu" or kept[name].min() < 0 or kept[name].max() >= limit):
            raise BadPredictionError("wrong boxes", f"`{name}` are not whole numbers from 0 to {limit - 1}")
    if score is not None and (score.shape != boxes.shape[:1] or not np.isfinite(score).all()):
        raise BadPredictionError("wrong boxes", "`box_score` is not one finite number for each box")
    return MemberBoxes(
        boxes,
        kept["box_member"].astype(np.int64),
        kept["box_class"].astype(np.int64),
        None if score is None else score.astype(np.float64),
    )
