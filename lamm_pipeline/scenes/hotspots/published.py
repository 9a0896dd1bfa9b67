"""The hotspots in force, for whoever shows them: report server, command line, dashboard."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lamm_pipeline.datasets.frame_ranking import KEY
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.hotspots import scene_ranking
from lamm_pipeline.scenes.hotspots.scene_ranking import SceneScore
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore

SUMMARY = "hotspots.json"


@dataclass(frozen=True)
class Hotspots:
    """What `uncertainty_hotspots` has published.

    Attributes:
        version: of the artifact.
        scores: a row a scene, model and kind of score.
        summary: the content of `hotspots.json`: `counts`, `views` (model and kind of score, with the numbers of their tags), `insights`,
            `proposals`, `left_out`.
    """

    version: str
    scores: tuple[SceneScore, ...]
    summary: Mapping[str, Any]

    def ranking(self, model: str | None = None, tag: str | None = None) -> list[SceneScore]:
        """The scenes, the most uncertain first, each once; see `scene_ranking.rank`."""
        return scene_ranking.rank(self.scores, model=model, tag=tag)


def published(store: ArtifactStore) -> Hotspots | None:
    """The hotspots in force; None where there are none yet, or where they cannot be read."""
    artifact = store.current(KEY)
    if artifact is None or not {SUMMARY, scene_ranking.FILE_NAME} <= set(artifact.manifest.files):
        return None
    try:
        scores = scene_ranking.read(artifact.file(scene_ranking.FILE_NAME))
        return Hotspots(artifact.version, tuple(scores), json.loads(artifact.file(SUMMARY).read_bytes()))
    except (InputError, KeyError, TypeError, ValueError):  # of another code version: made anew with the next refresh
        return None


def frame_page(store: ArtifactStore, recording: str, frame_index: int) -> str:
    """Address of a frame on the report server: in 3D where the recording has a scene view, else on the page of the scene."""
    page = f"/scenes/{quote(recording)}"
    there = store.current_version(ArtifactKey("recordings", recording, "scene_view")) is not None
    return f"{page}/view?frame={frame_index}" if there else page
