"""How unsure models are over the frames of one scene: what its timeline and the table of its most uncertain frames show.

Scores of different kinds cannot be compared, so that each evaluation has a line for each kind, and each kind a ranking of its own.
"""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.view.scene_source import FRAMES, usable_inputs
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline.uncertainty.score_recording import SCORED
from lamm_pipeline.uncertainty.summary import top_frames

UNCERTAINTY = "frame_uncertainty"
VIEW = "scene_view"
PLOT_SCRIPT = "plotly.min.js"
_KEPT = 8
_DIGITS = 6


class SceneTimelines:
    """Timelines of scenes; those asked for last are kept, because reading one of 18,000 frames takes a second.

    Args:
        workspace: where all of it is.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kept = functools.lru_cache(_KEPT)(self._read)

    def timeline(self, key: str) -> dict[str, Any]:
        """The timeline of a scene.

        Args:
            key: of the recording.

        Returns:
            JSON values: `frames` and `seconds` of the x axis; `series`, whose `scores` belong to these, null where there is none; `top`
            frames of each kind of score; `left_out`, the evaluations that are not shown, with the reason; `problem`, why nothing is, or
            None; `view`, see `view_state`; `plot`, the address of the script that draws it, None where it is not installed.
        """
        found: dict[str, Any] = {"frames": [], "seconds": [], "series": [], "top": [], "left_out": [], "problem": None}
        store = self._workspace.store
        versions = [store.current_version(ArtifactKey("recordings", key, asset)) for asset in (FRAMES, UNCERTAINTY)]
        if None not in versions:
            try:
                found |= self._kept(key, *versions)
            except InputError as error:
                found["problem"] = str(error)
        return {**found, "view": view_state(store, key), "plot": plot_address()}

    def _read(self, key: str, _frames_version: str, _uncertainty_version: str) -> dict[str, Any]:
        """What artifacts say; the versions tell what is kept from what is to be read again."""
        artifacts = self._workspace.recording_artifacts(key, FRAMES, UNCERTAINTY)
        scored = artifacts[UNCERTAINTY]
        registry = frame_registry.read(artifacts[FRAMES].file(frame_registry.FILE_NAME))
        frames = registry.selected_frames
        places = {frame.svo2_frame_index: place for place, frame in enumerate(frames)}
        rows = [row for row in frame_uncertainty.read(scored.file(frame_uncertainty.FILE_NAME)) if row.frame_index in places]
        return {
            "frames": list(places),
            "seconds": [round((frame.timestamp_ns - frames[0].timestamp_ns) / 1e9, 3) for frame in frames],
            "series": _series(rows, places),
            "top": [_told(row) for kind in sorted({row.score_kind for row in rows}) for row in _highest(rows, kind)],
            "left_out": _left_out(scored),
        }


def view_state(store: ArtifactStore, key: str) -> dict[str, Any]:
    """Whether there is a scene in 3D, and what is to be known of it.

    Args:
        store: of artifacts.
        key: of the recording.

    Returns:
        `there`; `note`, a sentence, None where the scene shows what is in force.
    """
    view = store.current(ArtifactKey("recordings", key, VIEW))
    how = f"`lamm scenes view {key}` makes it, and so does the job `scene` in Dagster."
    if view is None:
        return {"there": False, "note": f"There is no 3D view of this scene yet. {how}"}
    try:
        now = {asset: artifact.version for asset, artifact in usable_inputs(store, key)[0].items()}
    except InputError as error:
        return {"there": True, "note": f"The 3D view shows what is no longer in force. {error}"}
    then = view.manifest.identity.inputs
    others = [asset.replace("_", " ") for asset in sorted({*now, *then}) if now.get(asset) != then.get(asset)]
    note = f"The 3D view is older than what is in force now: {', '.join(others)}. {how.replace('makes it', 'makes it again')}"
    return {"there": True, "note": note if others else None}


def plot_script() -> Path | None:
    """The script that draws timelines, out of the package `plotly`; None where that is not installed."""
    found = importlib.util.find_spec("plotly")
    path = None if found is None or found.origin is None else Path(found.origin).parent / "package_data" / PLOT_SCRIPT
    return path if path is not None and path.is_file() else None


def plot_version() -> str:
    """Version of the package that `plot_script` is out of."""
    return importlib.metadata.version("plotly")


def plot_address() -> str | None:
    """Where the report server has the script; another one for each version, so that browsers can keep it."""
    return None if plot_script() is None else f"/plotly/{plot_version()}/{PLOT_SCRIPT}"


def _series(rows: Iterable[FrameUncertainty], places: Mapping[int, int]) -> list[dict[str, Any]]:
    """A line for each evaluation and kind of score, in the order of the table: evaluations by date."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        line = found.setdefault(
            (row.evaluation, row.score_kind),
            {
                "evaluation": row.evaluation,
                "model_id": row.model_id,
                "evaluated_at": row.evaluated_at.isoformat(),
                "kind": row.score_kind,
                "scores": [None] * len(places),
            },
        )
        line["scores"][places[row.frame_index]] = round(row.score, _DIGITS)
    return list(found.values())


def _highest(rows: Iterable[FrameUncertainty], kind: str) -> list[FrameUncertainty]:
    return top_frames(row for row in rows if row.score_kind == kind)


def _told(row: FrameUncertainty) -> dict[str, Any]:
    names = ("frame_index", "evaluation", "model_id", "score", "score_kind", "iou")
    return {name: getattr(row, name) for name in names}


def _left_out(scored: Artifact) -> list[dict[str, Any]]:
    names = ("evaluation", "status", "reason")
    return [{name: each[name] for name in names} for each in scored.counts.get("evaluations", ()) if each["status"] != SCORED]
