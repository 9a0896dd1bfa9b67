"""What `uncertainty_hotspots` consists of, from the uncertainty of all recordings.

    frame_ranking.parquet    every frame, see `datasets/frame_ranking.py`
    scene_ranking.parquet    every scene, see `scene_ranking.py`
    hotspots.json            numbers by tag, insights, proposals, what was left out and why
    tags/<n>.svg             box plots by tag of the n-th view

A view is a model with a kind of score: scores are compared within a view only. Recordings are read one after the other, so that memory does
not grow with the number of frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from lamm_pipeline.catalog.decisions import Watermark
from lamm_pipeline.datasets import frame_ranking
from lamm_pipeline.datasets.frame_ranking import ScoredFrames
from lamm_pipeline.datasets.hard_cases import apart
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import diversity
from lamm_pipeline.scenes.hotspots import scene_ranking
from lamm_pipeline.scenes.hotspots.box_plot import box_plot
from lamm_pipeline.scenes.hotspots.proposals import Hashes, SceneCandidate, propose, standings, to_json
from lamm_pipeline.scenes.hotspots.published import SUMMARY
from lamm_pipeline.scenes.hotspots.scene_ranking import SceneScore
from lamm_pipeline.scenes.hotspots.scene_scores import scene_rows
from lamm_pipeline.scenes.hotspots.settings import HotspotSettings
from lamm_pipeline.scenes.hotspots.tag_statistics import (
    Comparison,
    Side,
    TagNumbers,
    Values,
    comparable,
    compare,
    describe,
    difference_interval,
    holm,
)
from lamm_pipeline.scenes.library.collect import Known
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.atomic import digest_json, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress, map_ordered
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.score_recording import SCORED

UNCERTAINTY, FRAMES, METRICS = "frame_uncertainty", "frames", "diversity_metrics"
LISTED = 1_000
"""Of what was left out so much is listed; all of it is counted."""

LATER = {"in_progress": "is being labelled", "in_review": "is in review", "labelled": "is labelled"}
View = tuple[str, str]


@dataclass(frozen=True)
class SceneInput:
    """What a scene is at this moment.

    Attributes:
        recording: its key.
        versions: in force, of `frame_uncertainty`, `frames` and `diversity_metrics`; those that are not there are missing.
        captured_at, tags: what the catalog says.
        later: why people need not look at it next, None where nothing says so.
    """

    recording: str
    versions: Mapping[str, str]
    captured_at: datetime | None
    tags: tuple[str, ...]
    later: str | None


def scene_inputs(store: ArtifactStore, told: Known, decided: Mapping[str, Watermark]) -> list[SceneInput]:
    """All recordings that have uncertainty, by key.

    Args:
        store: published artifacts.
        told: what the catalog says of recordings.
        decided: recordings that people have decided on.
    """
    found = []
    for key in sorted(told.recordings):
        versions = {asset: store.current_version(ArtifactKey("recordings", key, asset)) for asset in (UNCERTAINTY, FRAMES, METRICS)}
        there = {asset: version for asset, version in versions.items() if version is not None}
        if UNCERTAINTY in there:
            said = told.said_of(key)
            reasons = [LATER[said["status"]]] if said["status"] in LATER else ["has been looked at"] if key in decided else []
            reasons += [f"is in {', '.join(said['datasets'])}"] if said["datasets"] else []
            found.append(SceneInput(key, there, said["captured_at"], said["tags"], " and ".join(reasons) or None))
    return found


def digest(inputs: Sequence[SceneInput]) -> str:
    """Of everything that decides the hotspots beside the settings."""
    moments = [None if each.captured_at is None else each.captured_at.isoformat() for each in inputs]
    return digest_json([asdict(each) | {"captured_at": moment} for each, moment in zip(inputs, moments, strict=True)])


def find_hotspots(
    store: ArtifactStore, inputs: Sequence[SceneInput], settings: HotspotSettings, draft: Draft, progress: Progress, *, workers: int | None
) -> dict[str, Any]:
    """Write the files of the asset.

    Args:
        store: published artifacts.
        inputs: of `scene_inputs`.
        settings: of statistics and proposals.
        draft: gets the files.
        progress: told about recordings.
        workers: threads.

    Returns:
        Counts for the manifest.
    """
    gathered = _Gathered(settings)

    def read(each: SceneInput) -> "_Read":
        return _read(store, each)

    def frames() -> Iterator[ScoredFrames]:
        for number, (each, found) in enumerate(map_ordered(read, inputs, workers), start=1):
            if gathered.take(each, found) and found.frames is not None:
                yield found.frames
            progress(number, len(inputs))

    rows = frame_ranking.write(draft.directory / frame_ranking.FILE_NAME, frames())
    scores = gathered.scores
    scene_ranking.write(draft.directory / scene_ranking.FILE_NAME, scores)
    views = _views(scores)
    numbers = {view: describe(_means(own), _sides(own), settings) for view, own in views.items()}
    (draft.directory / "tags").mkdir()
    for number, (view, described) in enumerate(numbers.items()):
        drawing = box_plot(f"{words(view[1])} of {view[0]}: mean of each scene's frames", described)
        (draft.directory / f"tags/{number}.svg").write_text(drawing, encoding="utf-8")
    tested, insights = _insights(views, settings)
    proposed = propose(gathered.candidates(), lambda key: _hashes(store, gathered.inputs[key]), settings)
    counts = {
        "scenes": len({row.scene_id for row in scores}),
        "frames": gathered.frames,
        "rows": rows,
        "views": len(views),
        "comparisons": tested,
        "insights": len(insights),
        "proposals": len(proposed),
        "left_out": len(gathered.left_out),
        "frames_without_score": gathered.without_score,
    }
    summary = {
        "counts": counts,
        "views": [_view_as_json(view, own, numbers[view], f"tags/{number}.svg") for number, (view, own) in enumerate(views.items())],
        "insights": insights,
        "proposals": [to_json(each) for each in proposed],
        "left_out": gathered.left_out[:LISTED],
    }
    write_json(draft.directory / SUMMARY, summary)
    return counts


def words(score_kind: str) -> str:
    """A kind of score as people say it: `mutual information`."""
    return score_kind.removesuffix("_mean").replace("_", " ")


def sentence(model: str, score_kind: str, each: Comparison, low: float, high: float, p: float, tested: int, confidence: float) -> str:
    """What a difference that is no chance means for people.

    Args:
        model: whose scores.
        score_kind: what they measure.
        each: the difference.
        low: end of its confidence interval.
        high: the other end.
        p: corrected.
        tested: number of comparisons that p is corrected for.
        confidence: of the interval.
    """
    less_sure = each.difference > 0
    corrected = f" corrected for {tested} comparisons" if tested > 1 else ""
    return (
        f"{model} is {'less sure' if less_sure else 'surer'} of scenes tagged {each.tag}: {words(score_kind)} {each.mean:.3g} against "
        f"{each.others_mean:.3g} ({100 * confidence:g} % CI of the difference {low:.2g} to {high:.2g}, p = {p:.2g}{corrected}, "
        f"{each.scenes} against {each.others} scenes){': record more of them' if less_sure else ''}."
    )


@dataclass(frozen=True)
class _Read:
    """What was read of a recording; without frames, `left_out` says why."""

    frames: ScoredFrames | None
    scores: tuple[SceneScore, ...] = ()
    without_score: int = 0
    left_out: tuple[Mapping[str, str | None], ...] = ()


class _Gathered:
    """What is kept of all recordings; it grows with scenes, not with frames."""

    def __init__(self, settings: HotspotSettings) -> None:
        self._settings = settings
        self._top: dict[tuple[str, str, str], tuple[tuple[int, float], ...]] = {}
        self.inputs: dict[str, SceneInput] = {}
        self.scores: list[SceneScore] = []
        self.left_out: list[Mapping[str, str | None]] = []
        self.frames = 0
        self.without_score = 0

    def take(self, each: SceneInput, found: _Read) -> bool:
        """Note what was read; returns whether there are scores."""
        self.left_out += found.left_out
        self.without_score += found.without_score
        if not found.scores or found.frames is None:
            return False
        self.inputs[each.recording] = each
        self.scores += found.scores
        self.frames += len(np.unique(found.frames.frame_index))
        for score in found.scores:
            self._top[each.recording, *score.view] = _top(found.frames, score.view, self._settings)
        return True

    def candidates(self) -> list[SceneCandidate]:
        """Every scene with the model for which it stands highest."""
        standing = standings(self.scores)
        best: dict[str, tuple[float, datetime, SceneScore]] = {}
        for row in self.scores:
            key = (standing[row.scene_id, *row.view][0], row.evaluated_at)
            if row.scene_id not in best or key > best[row.scene_id][:2]:
                best[row.scene_id] = (*key, row)
        return [
            SceneCandidate(row, share, standing[scene, *row.view][1], self._top[scene, *row.view], self.inputs[scene].later)
            for scene, (share, _, row) in best.items()
        ]


def _read(store: ArtifactStore, each: SceneInput) -> _Read:
    def out(reason: str, evaluation: str | None = None) -> _Read:
        return _Read(None, left_out=({"recording": each.recording, "evaluation": evaluation, "reason": reason},))

    artifact = store.find(ArtifactKey("recordings", each.recording, UNCERTAINTY), each.versions[UNCERTAINTY])
    if artifact is None:
        return out("its uncertainty in force cannot be found; run `frame_uncertainty` again")
    scored = artifact.manifest.identity.inputs.get(FRAMES)
    if scored is None or scored != each.versions.get(FRAMES):
        return out("its frames were extracted again since they were scored; run `frame_uncertainty` again")
    try:
        path = artifact.file(frame_uncertainty.FILE_NAME)
        found = scene_rows(path, each.recording, scored, each.captured_at, each.tags)
    except (InputError, KeyError) as error:
        return out(str(error))
    return _Read(found.frames, found.scores, found.without_score, _unscored(artifact))


def _unscored(artifact: Artifact) -> tuple[Mapping[str, str | None], ...]:
    """Evaluations of a recording that have no rows: stale and refused ones."""
    return tuple(
        {"recording": artifact.key.partition, "evaluation": each["evaluation"], "reason": f"{each['status']}: {each['reason']}"}
        for each in artifact.counts.get("evaluations", ())
        if each["status"] != SCORED
    )


def _top(frames: ScoredFrames, view: View, settings: HotspotSettings) -> tuple[tuple[int, float], ...]:
    """Index and score of the frames of a scene that may be proposed."""
    fits = np.asarray([(each.model_id, each.score_kind) == view for each in frames.scorings], np.bool_)
    rows = np.flatnonzero(fits[frames.scoring])
    index, score = frames.frame_index[rows], frames.uncertainty[rows]
    places = apart(np.lexsort((index, -score)), index, settings.min_gap_frames, settings.proposals_per_scene)
    return tuple((int(index[place]), float(score[place])) for place in places)


def _views(scores: Sequence[SceneScore]) -> dict[View, list[SceneScore]]:
    """The rows of each view; the one with most scenes first, of equal ones that with the newest evaluation."""
    views: dict[View, list[SceneScore]] = {}
    for row in scores:
        views.setdefault(row.view, []).append(row)
    newest = {view: max(row.evaluated_at for row in rows).timestamp() for view, rows in views.items()}
    return {view: views[view] for view in sorted(views, key=lambda view: (-len(views[view]), -newest[view], view))}


def _means(rows: Sequence[SceneScore]) -> Values:
    return np.asarray([row.mean_score for row in rows], np.float64)


def _sides(rows: Sequence[SceneScore]) -> dict[str, Side]:
    tags = sorted({tag for row in rows for tag in row.tags})
    return {tag: np.asarray([tag in row.tags for row in rows], np.bool_) for tag in tags}


def _insights(views: Mapping[View, Sequence[SceneScore]], settings: HotspotSettings) -> tuple[int, list[dict[str, Any]]]:
    """How many differences were tested, and those that are no chance; the surest of those that need more recordings first."""
    tests = sum(len(comparable(_sides(rows), settings)) for rows in views.values())
    found = [(view, each) for view, rows in views.items() for each in compare(_means(rows), _sides(rows), settings, tests)]
    corrected = holm([each.p for _, each in found])
    insights = []
    for (view, each), p in zip(found, corrected, strict=True):
        if p > settings.alpha:
            continue
        values, side = _means(views[view]), _sides(views[view])[each.tag]
        interval = difference_interval(values[side], values[~side], settings)
        said = sentence(*view, each, interval.low, interval.high, p, len(found), settings.confidence)
        numbers = {**asdict(replace(each, p=p)), "difference": each.difference, "low": interval.low, "high": interval.high}
        insights.append({"sentence": said, "model_id": view[0], "score_kind": view[1], **numbers})
    return len(found), sorted(insights, key=lambda each: (each["difference"] < 0, each["p"], -abs(each["difference"])))


def _hashes(store: ArtifactStore, each: SceneInput) -> Hashes:
    """Hashes of a scene's images; none where there are none of these frames, or where they cannot be read."""
    version = each.versions.get(METRICS)
    artifact = None if version is None else store.find(ArtifactKey("recordings", each.recording, METRICS), version)
    if artifact is None or artifact.manifest.identity.inputs.get(FRAMES) != each.versions.get(FRAMES):
        return {}
    try:
        metrics = diversity.read_metrics(artifact.file(diversity.FILE_NAME))
    except InputError:
        return {}
    return dict(zip(metrics.svo2_frame_index.tolist(), metrics.dhash64.tolist(), strict=True))


def _view_as_json(view: View, rows: Sequence[SceneScore], numbers: Sequence[TagNumbers], drawing: str) -> dict[str, Any]:
    return {
        "model_id": view[0],
        "score_kind": view[1],
        "scenes": len(rows),
        "frames": sum(row.frames for row in rows),
        "newest": max(row.evaluated_at for row in rows).isoformat(),
        "tags": [asdict(each) for each in numbers],
        "drawing": drawing,
    }
