"""Scene views in the browser.

| address | what |
| --- | --- |
| `/scenes/<recording>/view` | the scene; `?frame=N` opens it at that frame; without a scene on to the page `/scenes/<recording>` |
| `/scenes/<recording>/<version>/scene.rrd` | its file |
| `/rerun/<version>/<name>` | Rerun's web viewer |
| `/api/scenes/<recording>` | what the page has to know |
"""

import json
import threading
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.files import FOREVER, find_artifact
from lamm_pipeline.reports.requests import number_of, page, recording_of
from lamm_pipeline.reports.scenes.rerun_viewer import FILES, viewer_file
from lamm_pipeline.reports.scenes.timeline import view_state
from lamm_pipeline.scenes.view.scene_layout import FRAME_TIMELINE
from lamm_pipeline.scenes.view.scene_view import ABOUT_FILE, SCENE_FILE
from lamm_pipeline.scenes.view.scene_writer import rerun_version
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey

ASSET = "scene_view"
VIEWER_FOLDER = "rerun-viewer"

_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""That of other pages, but the viewer may compile itself and make pictures. It reaches no server other than this one."""


class SceneViewer:
    """Answers requests for scenes.

    Args:
        workspace: what is shown.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._taking_out = threading.Lock()

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/scenes/{recording:str}/view", self.page),
            Route("/scenes/{recording:str}/{version:str}/scene.rrd", self.scene),
            Route("/rerun/{version:str}/{name:str}", self.viewer),
            Route("/api/scenes/{recording:str}", self.about),
        ]

    def page(self, request: Request) -> Response:
        """The page that shows a scene; where there is none, the page that tells all else, which says how it is made."""
        recording = recording_of(request, self._workspace.catalog)
        if self._workspace.store.current_version(ArtifactKey("recordings", recording, ASSET)) is None:
            frame = number_of(request, "frame")
            return RedirectResponse(f"/scenes/{quote(recording)}" + ("" if frame is None else f"?frame={frame}"), 303)
        return page("scene.html", _POLICY)

    def about(self, request: Request) -> Response:
        """Where the scene in force and its viewer are, and what `scene.json` says."""
        recording = recording_of(request, self._workspace.catalog)
        artifact = self._workspace.store.current(ArtifactKey("recordings", recording, ASSET))
        if artifact is None:
            raise InputError(f"There is no scene view of {recording!r} yet. `lamm scenes view {recording}` makes it.")
        about: dict[str, Any] = json.loads(artifact.file(ABOUT_FILE).read_text(encoding="utf-8"))
        viewer = rerun_version()
        if viewer != about["rerun"]:
            written = f"The scene view was written by Rerun {about['rerun']}, and Rerun {viewer} is installed here."
            raise InputError(f"{written} `lamm scenes view {recording}` makes it again.")
        return JSONResponse(
            {
                "scene": f"/scenes/{recording}/{artifact.version}/{SCENE_FILE}",
                "viewer": f"/rerun/{viewer}",
                "timeline": FRAME_TIMELINE,
                "about": about,
                "note": view_state(self._workspace.store, recording)["note"],
            }
        )

    def scene(self, request: Request) -> Response:
        """The scene's file, from this server wherever it is stored: the page may ask no other."""
        artifact = find_artifact(
            self._workspace.store, "recordings", recording_of(request, self._workspace.catalog), ASSET, request.path_params["version"]
        )
        if artifact is None:
            raise HTTPException(404, "There is no such scene.")
        return _scene_file(artifact)

    def viewer(self, request: Request) -> Response:
        """A file of Rerun's web viewer."""
        name = request.path_params["name"]
        version = rerun_version()
        if name not in FILES or request.path_params["version"] != version:
            raise HTTPException(404, "There is no such file.")
        with self._taking_out:
            path = viewer_file(self._workspace.settings.root / VIEWER_FOLDER, version, name)
        return FileResponse(path, media_type=FILES[name], headers={"Content-Encoding": "gzip", "Cache-Control": FOREVER})


def _scene_file(artifact: Artifact) -> Response:
    return FileResponse(artifact.file(SCENE_FILE), media_type="application/octet-stream", headers={"Cache-Control": FOREVER})
