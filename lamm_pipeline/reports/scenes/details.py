"""All that is known of one scene, for its page."""

from typing import Any

import dagster as dg

from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import dagster_home, open_instance
from lamm_pipeline.orchestration.runs import PARTITION_TAG, state_of
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.scenes.timeline import view_state
from lamm_pipeline.review import gifs
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.storage.artifacts import ArtifactKey

MAX_EVENTS = 100
MAX_RUNS = 20
MAX_GIFS = 6
HISTORY = ("labelling.", "tag.", "decisions.", "recording.")


def details(workspace: Workspace, library: SceneLibrary, key: str) -> dict[str, Any]:
    """A scene with its files, its history and its datasets.

    Args:
        workspace: where all of it is.
        library: has its row.
        key: of the recording.
    """
    scene, catalog = library.queries().scenes[key], workspace.catalog
    row = catalog.recordings.get(key)
    events = [each for each in catalog.audit.events(key) if each.action.startswith(HISTORY)]
    versions = {each.key: each for each in catalog.versions.all()}
    return {
        "scene": {name: value for name, value in vars(scene).items() if name not in {"artifacts", "captured_at"}},
        "captured_at": None if scene.captured_at is None else f"{scene.captured_at:%Y-%m-%d %H:%M:%S} UTC",
        "file": {
            "path": row.path,
            "source_path": row.source_path,
            "bytes": row.size,
            "digest": row.digest,
            "missing": bool(row.missing_since),
        },
        "added": {"at": _moment(row.added_at), "by": row.added_by},
        "artifacts": [
            {
                "asset": each.asset,
                "version": each.version,
                "bytes": each.bytes,
                "folder": None if found is None else found.location,
            }
            for each in scene.artifacts
            for found in [workspace.store.find(ArtifactKey("recordings", key, each.asset), each.version)]
        ],
        "history": [
            {"at": _moment(each.at), "actor": each.actor, "action": each.action, "details": each.details}
            for each in reversed(events[-MAX_EVENTS:])
        ],
        "decisions": len(catalog.decisions.of(key)),
        "datasets": [
            {
                "version": name,
                "title": versions[name].title,
                "created_at": _moment(versions[name].created_at),
                "created_by": versions[name].created_by,
            }
            for name in scene.datasets
            if name in versions
        ],
        "gifs": _gifs(workspace, key),
        "view": view_state(workspace.store, key),
    }


def runs(workspace: Workspace, key: str) -> list[dict[str, Any]]:
    """The newest runs of a recording, the newest first."""
    root = workspace.settings.root
    with open_instance(root) as instance:
        found = instance.get_run_records(dg.RunsFilter(tags={PARTITION_TAG: key}), limit=MAX_RUNS)
        return [
            {
                "run": each.dagster_run.run_id,
                "job": each.dagster_run.job_name,
                "state": str(state_of(dagster_home(root), each.dagster_run)),
                "created_at": _moment(each.create_timestamp),
            }
            for each in found
        ]


def _gifs(workspace: Workspace, key: str) -> list[dict[str, Any]]:
    """Some of the recording's GIFs; none where there are none, or where they cannot be read."""
    artifact = workspace.store.current(ArtifactKey("recordings", key, "review_gifs"))
    if artifact is None or gifs.FILE_NAME not in artifact.manifest.files:
        return []
    try:
        index = gifs.read(artifact.file(gifs.FILE_NAME))
    except InputError:
        return []
    shown = [(name, each.crop) for name, each in index.items() if each.crop is not None]
    place = f"/files/{artifact.key.path}/{artifact.version}"
    return [{"sequence": name, "src": f"{place}/{crop}"} for name, crop in shown[:MAX_GIFS]]


def _moment(at: Any) -> str:
    return f"{utc(at):%Y-%m-%d %H:%M:%S}"
