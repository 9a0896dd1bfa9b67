"""What models said of a recording, gathered from the rows of `frame_uncertainty` for the scene view."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.uncertainty.frame_uncertainty import POINT_COLUMNS, FrameUncertainty, read_classes, read_scores

PEAKS = 10


@dataclass(frozen=True)
class FrameScore:
    """What an evaluation said of a frame.

    Attributes:
        score: of the whole frame.
        kind: which score it is: one of `POINT_COLUMNS`, or one that only whole frames have, such as `box_disagreement`.
        points_path, classes_path: files of its points' scores and classes within the artifact; None where there are none.
    """

    score: float
    kind: str
    points_path: str | None = None
    classes_path: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a recording.

    Attributes:
        id: slug.
        model_id: of the model or the ensemble.
        class_names: names of the classes; empty where points have none.
        frames: by frame index.
    """

    id: str
    model_id: str
    class_names: tuple[str, ...]
    frames: Mapping[int, FrameScore]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its scores, sorted."""
        return tuple(sorted({frame.kind for frame in self.frames.values()}))

    @property
    def has_classes(self) -> bool:
        """Whether points of some frame have classes."""
        return any(frame.classes_path is not None for frame in self.frames.values())

    def peaks(self) -> list[int]:
        """Indices of its most uncertain frames, `PEAKS` at most of each kind of score: kinds cannot be compared."""
        ranked: list[int] = []
        for kind in self.kinds:
            known = [(-frame.score, index) for index, frame in self.frames.items() if frame.kind == kind]
            ranked += [index for _, index in sorted(known)[:PEAKS]]
        return ranked


def gather(rows: Iterable[FrameUncertainty]) -> tuple[Evaluation, ...]:
    """The evaluations of a table, sorted by id."""
    frames: dict[str, dict[int, FrameScore]] = {}
    about: dict[str, tuple[str, tuple[str, ...]]] = {}
    for row in rows:
        kind = row.score_kind.removesuffix("_mean")
        frames.setdefault(row.evaluation, {})[row.frame_index] = FrameScore(row.score, kind, row.points_path, row.classes_path)
        names = row.class_names or about.get(row.evaluation, ("", ()))[1]
        about[row.evaluation] = (row.model_id, names)
    return tuple(Evaluation(name, *about[name], dict(sorted(frames[name].items()))) for name in sorted(frames))


def point_scores(artifact: Artifact, frame: FrameScore, points: int) -> NDArray[np.float32]:
    """Scores `(points,)` of the points of a frame: their own, else that of the whole frame.

    Raises:
        InputError: the file cannot be read, or is of another number of points.
    """
    if frame.points_path is None or frame.kind not in POINT_COLUMNS:
        return np.full(points, frame.score, np.float32)
    return read_scores(artifact, frame.points_path, points)[:, POINT_COLUMNS.index(frame.kind)].astype(np.float32)


def point_classes(artifact: Artifact, evaluation: Evaluation, frame: FrameScore, points: int) -> NDArray[np.int64] | None:
    """Classes `(points, 2)` of the points of a frame, predicted and true, -1 = unknown; None where it has none.

    Raises:
        InputError: the file cannot be read, is of another number of points, or names classes that there are not.
    """
    if frame.classes_path is None:
        return None
    return read_classes(artifact, frame.classes_path, points, len(evaluation.class_names))
