"""What the dashboard shows, gathered in one place for the asset and for the report server's home page.

Scenes are those of the scene library: tags, labelling and datasets as they are now, the rest as of its last refresh. Runs come from
Dagster, with questions that look at a limited number of the newest. Nothing is written.
"""

import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.run_history import PastRun, Remembered, RunHistory, failing_now
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review.labelling_status import LabellingStatus
from lamm_pipeline.scenes.dashboard import evaluations
from lamm_pipeline.scenes.dashboard.activity import Cursor, Feed, Told, read_feed, shortened
from lamm_pipeline.scenes.dashboard.evaluations import EvaluationNumbers, Tallies
from lamm_pipeline.scenes.dashboard.links import QuickLink, frame_in_3d, quick_links, run_page, scene_page, scenes_where
from lamm_pipeline.scenes.dashboard.status_chart import Slice, slices
from lamm_pipeline.scenes.library.collect import KEY as LIBRARY
from lamm_pipeline.scenes.library.collect import POINT_BYTES, UNCERTAINTY
from lamm_pipeline.scenes.library.dataset_draft import drafts
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.scenes.library.query import Question, SceneQueries
from lamm_pipeline.scenes.library.scene_table import Scene
from lamm_pipeline.storage.artifacts import UNPARTITIONED, ArtifactKey, ArtifactStore

KEY = ArtifactKey("summaries", UNPARTITIONED, "dashboard")
"""The published dashboard."""

FILE_NAME = "dashboard.json"
FEED = 30
ACTIVE = 50
FAILED = 20
CHECKED = 40
PAUSED = 20
UNCERTAIN = 8
DATASET_ASSETS = ("curated_dataset", "splits", "validation_report", *(f"{each}_dataset" for each in ExportFormat), "lineage")


@dataclass(frozen=True)
class Volume:
    """Bytes of files of recordings and of the artifacts in force.

    Attributes:
        recordings: files of recordings.
        point_clouds: of extracted frames.
        other_artifacts: everything else that was made of recordings.
        datasets: dataset versions with their exports, and annotation exports.
    """

    recordings: int
    point_clouds: int
    other_artifacts: int
    datasets: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.recordings + self.point_clouds + self.other_artifacts + self.datasets


@dataclass(frozen=True)
class SceneNumbers:
    """All scenes together; frames, points and annotations of those of which they are known, None where they are known of none."""

    scenes: int
    duration_s: float
    frames: int | None
    points: int | None
    annotations: int | None
    statuses: Mapping[str, int]
    reviewable: int
    unreadable: int
    file_bytes: int
    artifact_bytes: int


@dataclass(frozen=True)
class UncertainScene:
    """A scene that models are unsure of.

    Attributes:
        score, score_kind: the highest score of its frames; what it measures.
        model, evaluation: of whom.
        frame: index of the frame with it; None where that is not known.
        href, frame_href: its page; the frame in 3D, None where there is no 3D view.
    """

    scene: str
    score: float
    score_kind: str | None
    model: str | None
    evaluation: str | None
    frame: int | None
    status: str
    tags: tuple[str, ...]
    href: str
    frame_href: str | None


@dataclass(frozen=True)
class RunRow:
    """A run as the dashboard lists it; `problem` says why it failed, `scene_href` leads to what it is about."""

    run_id: str
    job: str
    partition: str | None
    state: str
    actor: str | None
    at: datetime
    progress: str | None
    problem: str | None
    href: str
    partition_href: str | None


@dataclass(frozen=True)
class CheckRow:
    """A check that fails now."""

    asset: str
    check: str
    partition: str | None
    severity: str
    problem: str
    at: datetime
    href: str
    partition_href: str | None


@dataclass(frozen=True)
class Waiting:
    """So many things that wait for people."""

    count: int
    what: str
    href: str | None


@dataclass(frozen=True)
class Dashboard:
    """Everything on the dashboard."""

    scenes: SceneNumbers
    labelling: tuple[Slice, ...]
    volume: Volume
    active: tuple[RunRow, ...]
    failed: tuple[RunRow, ...]
    checks: tuple[CheckRow, ...]
    waiting: tuple[Waiting, ...]
    uncertain: tuple[UncertainScene, ...]
    evaluations: tuple[EvaluationNumbers, ...]
    feed: Feed
    links: tuple[QuickLink, ...]
    library_refreshed: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=lambda value: value.isoformat()))
        plain["volume"]["total"] = self.volume.total
        plain["feed"] = feed_to_json(self.feed)
        plain["most"] = {"active": ACTIVE, "failed": FAILED}
        return plain


@dataclass
class Known:
    """What need not be read again.

    Attributes:
        tallies: the scores that were counted.
        sizes: bytes of artifacts of datasets, by place and version.
        numbers: of the scenes that these queries are about.
        told: what people did last.
        runs: what finished runs did.
    """

    tallies: Tallies = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    numbers: tuple[SceneQueries, SceneNumbers] | None = None
    told: Told = field(default_factory=Told)
    runs: Remembered = field(default_factory=Remembered)

    def to_json(self) -> dict[str, Any]:
        """What is stored, but for the scores."""
        return {"sizes": self.sizes, "runs": self.runs.to_json()}


def published(store: ArtifactStore) -> Known:
    """What the dashboard in force knows; nothing where there is none, or where it is of another code version."""
    artifact = store.current(KEY)
    if artifact is None:
        return Known()
    try:
        stored = json.loads(artifact.file(FILE_NAME).read_bytes())["known"]
        tallies = evaluations.read(artifact.file(evaluations.FILE_NAME))
        return Known(tallies, dict(stored["sizes"]), runs=Remembered.from_json(stored["runs"]))
    except (InputError, ValueError, KeyError, TypeError):
        return Known()


def gather(workspace: Workspace, library: SceneLibrary, history: RunHistory, known: Known, workers: int | None = None) -> Dashboard:
    """Gather what the dashboard shows.

    Args:
        workspace: catalog, artifacts, and where the UI is.
        library: scenes.
        history: runs; it remembers in `known.runs`.
        known: what need not be read again; what is read is put in.
        workers: threads, where many scores are to be read.
    """
    queries, url = library.queries(), workspace.settings.dagster_url
    scenes = queries.scenes.values()
    if known.numbers is None or known.numbers[0] is not queries:
        known.numbers = (queries, _scene_numbers(scenes))
        known.tallies = evaluations.tally(workspace.store, scenes, known.tallies, workers)
    everything = known.numbers[1]
    place_of = _places(workspace, queries)

    def rows(runs: Sequence[PastRun]) -> tuple[RunRow, ...]:
        return tuple(_run_row(run, history.deeds(run).error, place_of, url) for run in runs)

    recent = [(run, history.deeds(run)) for run in history.newest(CHECKED)]
    checks = tuple(
        CheckRow(
            asset=each.asset,
            check=each.check,
            partition=each.partition or run.partition,
            severity=each.severity,
            problem=shortened(each.sentence),
            at=run.changed_at,
            href=run_page(url, run.run_id),
            partition_href=place_of(each.partition or run.partition),
        )
        for run, each in failing_now(recent)
    )
    return Dashboard(
        scenes=everything,
        labelling=slices(everything.statuses),
        volume=_volume(workspace, everything, known.sizes),
        active=rows(history.under_way(ACTIVE)),
        failed=rows(history.failed(FAILED)),
        checks=checks,
        waiting=_waiting(workspace, everything, len(history.paused(PAUSED)), url),
        uncertain=_uncertain(workspace.store, queries, known.tallies),
        evaluations=tuple(evaluations.numbers(known.tallies)),
        feed=read_feed(
            workspace.catalog.activity,
            recent[: FEED + 1],
            FEED,
            told=known.told,
            place_of=place_of,
            run_url=functools.partial(run_page, url),
        ),
        links=quick_links(url),
        library_refreshed=workspace.store.current_version(LIBRARY) is not None,
    )


def older_feed(workspace: Workspace, library: SceneLibrary, history: RunHistory, before: Cursor) -> Feed:
    """The feed from a place in it."""
    runs = [(run, history.deeds(run)) for run in history.newest(FEED + 1, before.runs)]
    place_of, run_url = _places(workspace, library.queries()), functools.partial(run_page, workspace.settings.dagster_url)
    return read_feed(workspace.catalog.activity, runs, FEED, before, place_of=place_of, run_url=run_url)


def feed_to_json(feed: Feed) -> dict[str, Any]:
    """A feed as JSON values."""
    entries = [{**asdict(each), "at": each.at.isoformat(), "text": each.text} for each in feed.entries]
    return {"entries": entries, "after": None if feed.after is None else str(feed.after)}


def _places(workspace: Workspace, queries: SceneQueries) -> Callable[[str | None], str | None]:
    versions = {each.key for each in workspace.catalog.versions.all()}

    def place_of(partition: str | None) -> str | None:
        if partition in queries.scenes:
            return scene_page(str(partition))
        return "/datasets" if partition in versions else None

    return place_of


def _scene_numbers(scenes: Collection[Scene]) -> SceneNumbers:
    statuses: dict[str, int] = {}
    for each in scenes:
        statuses[each.status] = statuses.get(each.status, 0) + 1
    artifact_bytes = sum(stored.bytes for each in scenes for stored in each.artifacts)
    return SceneNumbers(
        scenes=len(scenes),
        duration_s=sum(each.duration_s or 0.0 for each in scenes),
        frames=_sum(each.frames for each in scenes),
        points=_sum(each.points for each in scenes),
        annotations=_sum(each.annotations for each in scenes),
        statuses=statuses,
        reviewable=sum(_is_reviewable(each) for each in scenes),
        unreadable=sum(each.problem is not None for each in scenes),
        file_bytes=sum(each.storage_bytes for each in scenes) - artifact_bytes,
        artifact_bytes=artifact_bytes,
    )


def _sum(values: Any) -> int | None:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def _is_reviewable(scene: Scene) -> bool:
    """Whether there is something to be reviewed, and nobody has said that it is done."""
    open_states = (LabellingStatus.unlabelled, LabellingStatus.in_progress)
    return scene.status in open_states and any(stored.asset == "sequence_annotations" for stored in scene.artifacts)


def _volume(workspace: Workspace, everything: SceneNumbers, sizes: dict[str, int]) -> Volume:
    catalog = workspace.catalog
    keys = [ArtifactKey("datasets", row.key, asset) for row in catalog.versions.all() for asset in DATASET_ASSETS]
    keys += [ArtifactKey("annotation_exports", key, "annotation_export") for key in catalog.exports.all_keys()]
    present = {}
    for key in keys:
        version = workspace.store.current_version(key)
        if version is not None:
            place = f"{key.path}/{version}"
            present[place] = sizes[place] if place in sizes else _weigh(workspace.store, key, version)
    sizes.clear()
    sizes.update(present)
    clouds = (everything.points or 0) * POINT_BYTES
    return Volume(everything.file_bytes, clouds, max(everything.artifact_bytes - clouds, 0), sum(present.values()))


def _weigh(store: ArtifactStore, key: ArtifactKey, version: str) -> int:
    artifact = store.find(key, version)
    return 0 if artifact is None else artifact.manifest.size


def _run_row(run: PastRun, problem: str | None, place_of: Callable[[str | None], str | None], url: str) -> RunRow:
    return RunRow(
        run_id=run.run_id,
        job=run.job,
        partition=run.partition,
        state=str(run.state),
        actor=run.actor,
        at=run.changed_at,
        progress=run.progress,
        problem=None if problem is None else shortened(problem),
        href=run_page(url, run.run_id),
        partition_href=place_of(run.partition),
    )


def _waiting(workspace: Workspace, everything: SceneNumbers, paused: int, url: str) -> tuple[Waiting, ...]:
    missing = workspace.catalog.recordings.missing()
    started = drafts(workspace.settings.root)
    approval = everything.statuses.get(LabellingStatus.in_review, 0)
    found = (
        (everything.reviewable, "recording to review", "recordings to review", "/recordings"),
        (approval, "scene to approve", "scenes to approve", scenes_where("status == 'in_review'")),
        (paused, "paused run to resume", "paused runs to resume", f"{url}/runs?q[0]=status%3ACANCELED"),
        (len(started), "dataset draft to save", "dataset drafts to save", "/scenes?builder=open"),
        (missing, "recording without its file", "recordings without their files", None),
        (everything.unreadable, "scene not fully readable", "scenes not fully readable", scenes_where("problem is not None")),
    )
    return tuple(Waiting(count, one if count == 1 else many, href) for count, one, many, href in found if count)


def _uncertain(store: ArtifactStore, queries: SceneQueries, tallies: Tallies) -> tuple[UncertainScene, ...]:
    found = queries.page(Question("max_uncertainty is not None", sort="-max_uncertainty"), 0, UNCERTAIN)
    return tuple(_uncertain_scene(store, each, each.max_uncertainty, tallies) for each in found if each.max_uncertainty is not None)


def _uncertain_scene(store: ArtifactStore, scene: Scene, score: float, tallies: Tallies) -> UncertainScene:
    version = next((stored.version for stored in scene.artifacts if stored.asset == UNCERTAINTY), "")
    counted = tallies.get((scene.scene_id, version), ())
    frame = next((each.worst_frame for each in counted if each.evaluation == scene.uncertainty_evaluation), None)
    viewable = store.current_version(ArtifactKey("recordings", scene.scene_id, "scene_view")) is not None
    return UncertainScene(
        scene=scene.scene_id,
        score=score,
        score_kind=scene.uncertainty_score,
        model=scene.uncertainty_model,
        evaluation=scene.uncertainty_evaluation,
        frame=frame,
        status=scene.status,
        tags=scene.tags,
        href=scene_page(scene.scene_id),
        frame_href=frame_in_3d(scene.scene_id, frame) if frame is not None and viewable else None,
    )
