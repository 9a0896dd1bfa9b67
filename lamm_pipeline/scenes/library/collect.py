"""The rows of the scene library: from the catalog, and from the manifests of what is in force.

What has not changed since the last time is taken from there. Of what has, small files are read: manifests, `recording.json`, and the scores
of `frame_uncertainty.parquet`. A recording of which something cannot be read stays in the library and says so.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.catalog.models import Labelling, Recording
from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library import previews
from lamm_pipeline.scenes.library.gps import read_gps
from lamm_pipeline.scenes.library.scene_table import CODE_VERSION, FILE_NAME, Scene, StoredAsset, read
from lamm_pipeline.storage.artifacts import UNPARTITIONED, Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

KEY = ArtifactKey("summaries", UNPARTITIONED, "scene_library")
"""The published library."""

UNCERTAINTY = "frame_uncertainty"
READ = ("recording", "frames", "detections", UNCERTAINTY)
"""What columns come from."""

ASSETS = (
    *("recording", "frames", "diversity_metrics", "detections", "boxes_3d", "tracks", "mask_candidates", "masklets", "identities"),
    *("sequence_annotations", "review_gifs", "annotation_stats", "selection", UNCERTAINTY, "scene_view", previews.ASSET),
)
"""What storage is counted of."""

POINT_BYTES = 16
_FACTS = (
    *("duration_s", "frames", "points", "annotations"),
    *("max_uncertainty", "avg_uncertainty", "uncertainty_model", "uncertainty_evaluation", "uncertainty_score"),
)
_UNREADABLE = (InputError, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Known:
    """What the catalog says of all recordings now.

    Attributes:
        recordings: all of them, by key.
        sources: names of source datasets by id.
        tags, labellings, datasets: by recording; those without any are not in it.
        problems: sentences about dataset versions whose manifest cannot be read.
    """

    recordings: Mapping[str, Recording]
    sources: Mapping[str, str]
    tags: Mapping[str, list[str]]
    labellings: Mapping[str, Labelling]
    datasets: Mapping[str, list[str]]
    problems: tuple[str, ...] = field(default=())

    def said_of(self, key: str) -> dict[str, Any]:
        """The columns of a recording that come from the catalog."""
        row, labelling = self.recordings[key], self.labellings.get(key)
        return {
            "name": _stem(row.source_path),
            "source": None if row.dataset_id is None else self.sources.get(row.dataset_id),
            "source_path": row.source_path,
            "captured_at": None if row.recorded_at is None else utc(row.recorded_at),
            "status": "unlabelled" if labelling is None else labelling.status,
            "labeler": None if labelling is None else labelling.labeler,
            "tags": tuple(self.tags.get(key, ())),
            "datasets": tuple(self.datasets.get(key, ())),
        }


def known(catalog: Catalog, root: Path) -> Known:
    """Ask the catalog about all recordings; a handful of queries, however many there are."""
    datasets: dict[str, list[str]] = {}
    problems = []
    for version in catalog.versions.all():
        try:
            members = _members(root, version.key, version.manifest_digest)
        except InputError as error:
            problems.append(str(error))
            continue
        for member in members:
            datasets.setdefault(member, []).append(version.key)
    return Known(
        recordings={row.key: row for row in catalog.recordings.all()},
        sources={row.id: row.name for row in catalog.source_datasets.all()},
        tags=catalog.tags.all(),
        labellings=catalog.labelling.all(),
        datasets=datasets,
        problems=tuple(problems),
    )


def collect(
    store: ArtifactStore,
    told: Known,
    previous: Mapping[str, Scene],
    *,
    draw: bool = False,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> list[Scene]:
    """The rows of all recordings as they are now, by id.

    Args:
        store: published artifacts.
        told: what the catalog says.
        previous: the rows of the last time, by id.
        draw: make previews that are not there.
        workers: threads.
        progress: told about recordings.
    """

    def row(key: str) -> Scene:
        return _scene(store, told, key, previous.get(key), draw=draw)

    found = []
    for _, scene in map_ordered(row, told.recordings, workers):
        found.append(scene)
        progress(len(found), len(told.recordings))
    return found


def published(store: ArtifactStore) -> dict[str, Scene]:
    """The rows of the library in force, by id; none where there is no library yet, or one of another code version."""
    artifact = store.current(KEY)
    if artifact is None or artifact.manifest.identity.code_version != CODE_VERSION or FILE_NAME not in artifact.manifest.files:
        return {}
    try:
        return {scene.scene_id: scene for scene in read(artifact.file(FILE_NAME))}
    except (InputError, KeyError, TypeError):  # damaged: it is made anew
        return {}


def with_present(scenes: Mapping[str, Scene], told: Known) -> list[Scene]:
    """Rows of all recordings: of artifacts what `scenes` says, of the catalog what it says now."""
    rows = []
    for key in told.recordings:
        said = told.said_of(key)
        scene = scenes.get(key)
        rows.append(Scene(scene_id=key, storage_bytes=told.recordings[key].size, **said) if scene is None else replace(scene, **said))
    return rows


def _scene(store: ArtifactStore, told: Known, key: str, before: Scene | None, *, draw: bool) -> Scene:
    problems: list[str] = []

    def tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return work()
        except _UNREADABLE as error:
            problems.append(str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}.")
            return {}

    row = told.recordings[key]
    columns = tried(lambda: _places(Path(row.source_path)))
    if draw:
        tried(lambda: _drawn(store, key))
    versions = {asset: version for asset in ASSETS if (version := store.current_version(ArtifactKey("recordings", key, asset)))}
    stored: list[StoredAsset] = []
    tried(lambda: _weigh(store, key, versions, before, stored))
    columns |= tried(lambda: _facts(store, key, versions, before))
    columns |= tried(lambda: _pictures(store, key, versions, before))
    return Scene(
        scene_id=key,
        storage_bytes=row.size + sum(each.bytes for each in stored),
        artifacts=tuple(stored),
        problem=" ".join(problems) or None,
        **told.said_of(key),
        **columns,
    )


def _places(recording: Path) -> dict[str, Any]:
    start, end = (place or (None, None) for place in read_gps(recording))
    return {"gps_start_lat": start[0], "gps_start_lon": start[1], "gps_end_lat": end[0], "gps_end_lon": end[1]}


def _drawn(store: ArtifactStore, key: str) -> dict[str, Any]:
    """Have the previews of the frames in force made, where they are not."""
    frames = store.current_version(ArtifactKey("recordings", key, "frames"))
    there = store.current(ArtifactKey("recordings", key, previews.ASSET))
    if frames is not None and (there is None or not previews.is_of(there, frames)):
        previews.previews(store, _artifact(store, key, "frames", frames))
    return {}


def _weigh(store: ArtifactStore, key: str, versions: Mapping[str, str], before: Scene | None, stored: list[StoredAsset]) -> dict[str, Any]:
    known_sizes = {(each.asset, each.version): each.bytes for each in before.artifacts} if before is not None else {}
    for asset, version in versions.items():
        size = known_sizes.get((asset, version))
        stored.append(StoredAsset(asset, version, _artifact(store, key, asset, version).manifest.size if size is None else size))
    return {}


def _facts(store: ArtifactStore, key: str, versions: Mapping[str, str], before: Scene | None) -> dict[str, Any]:
    """What artifacts say, or what they said the last time where these are the same."""
    if before is not None and before.problem is None and _same(before, versions, READ):
        return {name: getattr(before, name) for name in _FACTS}
    found: dict[str, Any] = {}
    artifacts = {asset: _artifact(store, key, asset, versions[asset]) for asset in READ if asset in versions}
    if "recording" in artifacts:
        content = json.loads(artifacts["recording"].file("recording.json").read_bytes())
        found["duration_s"] = float(content["duration_s"])
    if "frames" in artifacts:
        counts, files = artifacts["frames"].counts, artifacts["frames"].manifest.files
        clouds = [entry.size for name, entry in files.items() if name.startswith("velodyne/") and name.endswith(".bin")]
        found |= {"frames": counts.get("extracted_frames"), "points": sum(clouds) // POINT_BYTES if clouds else None}
    if "detections" in artifacts:
        found["annotations"] = artifacts["detections"].counts.get("detections")
    if UNCERTAINTY in artifacts and _is_of(artifacts[UNCERTAINTY], versions.get("frames")):
        found |= uncertainty_of(artifacts[UNCERTAINTY].file(f"{UNCERTAINTY}.parquet"))
    return found


def _is_of(scored: Artifact, frames_version: str | None) -> bool:
    """Whether scores are of these frames, as far as is known; those of frames that were extracted otherwise count for nothing."""
    return scored.manifest.identity.inputs.get("frames", frames_version) == frames_version


def uncertainty_of(path: Path) -> dict[str, Any]:
    """The columns of a scene's uncertainty, from its frames' scores.

    The highest score of all evaluations counts, of equal ones that of the newest evaluation. The average is that of all scores of its kind:
    what measures something else cannot be compared with it. Scores that are no numbers count nowhere.

    Args:
        path: `frame_uncertainty.parquet`.

    Raises:
        ValueError: it is no such table.
    """
    table = pq.read_table(path, columns=["evaluation", "model_id", "evaluated_at", "score", "score_kind"])
    table = table.filter(pc.is_finite(table["score"]))
    if table.num_rows == 0:
        return {}
    highest = pc.max(table["score"]).as_py()
    rows = table.filter(pc.equal(table["score"], highest)).to_pylist()
    first = max(rows, key=lambda row: (row["evaluated_at"], row["evaluation"]))
    return {
        "max_uncertainty": highest,
        "avg_uncertainty": pc.mean(table.filter(pc.equal(table["score_kind"], first["score_kind"]))["score"]).as_py(),
        "uncertainty_model": first["model_id"],
        "uncertainty_evaluation": first["evaluation"],
        "uncertainty_score": first["score_kind"],
    }


def _pictures(store: ArtifactStore, key: str, versions: Mapping[str, str], before: Scene | None) -> dict[str, Any]:
    """Where the previews are, if they are of the frames in force."""
    if "frames" not in versions or previews.ASSET not in versions:
        return {}
    if before is not None and _same(before, versions, ("frames", previews.ASSET)):
        return {"points_preview": before.points_preview, "image_preview": before.image_preview}
    artifact = _artifact(store, key, previews.ASSET, versions[previews.ASSET])
    if not previews.is_of(artifact, versions["frames"]):
        return {}
    places = {name: f"{artifact.key.path}/{artifact.version}/{name}" for name in artifact.manifest.files}
    return {"points_preview": places.get(previews.POINTS), "image_preview": places.get(previews.IMAGE)}


def _same(before: Scene, versions: Mapping[str, str], assets: Iterable[str]) -> bool:
    known_versions = {each.asset: each.version for each in before.artifacts}
    return all(known_versions.get(asset) == versions.get(asset) for asset in assets)


def _artifact(store: ArtifactStore, key: str, asset: str, version: str) -> Artifact:
    found = store.find(ArtifactKey("recordings", key, asset), version)
    if found is None:
        raise InputError(f"The {asset} in force ({version}) cannot be found. Run the stage again.")
    return found


@functools.lru_cache(maxsize=100_000)
def _stem(path: str) -> str:
    """Stem of a file's name; kept, because taking paths apart costs more than everything else about a row."""
    return Path(path).stem


@functools.lru_cache(maxsize=10_000)
def _members(root: Path, version: str, _digest: str) -> tuple[str, ...]:
    """The recordings of a dataset version, which never change; the digest tells versions of other roots apart."""
    return tuple(read_version(root, version).members)
