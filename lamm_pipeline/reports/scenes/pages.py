"""The pages of the scene library and of scenes, and the requests that they make.

| address | what |
| --- | --- |
| `/scenes` | all scenes: search, sort, filter, change many at once, build datasets |
| `/scenes/<key>` | one scene |
| `/api/library` | a page of the scenes that fit; `where`, `search`, `sort`, `offset` |
| `/api/library/words` | what conditions and changes can name |
| `/api/library/changes` | change many scenes |
| `/api/library/drafts/<name>` | draft of a dataset with its statistics |
| `.../scenes`, `.../plan`, `.../save` | change it, try another split, save it as a version |
| `/api/library/scenes/<key>` | all that is known of a scene; `/runs` its runs, `/timeline` its uncertainty frame by frame |
| `/plotly/<version>/plotly.min.js` | what draws the timeline |
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.files import FOREVER
from lamm_pipeline.reports.requests import body_of, number_of, page, recording_of
from lamm_pipeline.reports.scenes.details import details, runs
from lamm_pipeline.reports.scenes.library import Scenes
from lamm_pipeline.reports.scenes.timeline import PLOT_SCRIPT, SceneTimelines, plot_script, plot_version
from lamm_pipeline.reports.security import page_policy
from lamm_pipeline.settings import actor


class ScenePages:
    """Answers requests about scenes. HTTP is here; what is read and said is in `library.py`, `details.py`, `timeline.py`."""

    def __init__(self, workspace: Workspace, *, local: bool) -> None:
        """Made by the server.

        Args:
            workspace: what is shown.
            local: whoever asks sits at this machine, so that the system's user is offered as their name.
        """
        self.workspace = workspace
        self.local = local
        self.scenes = Scenes(workspace)
        self.timelines = SceneTimelines(workspace)

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        draft = "/api/library/drafts/{name:str}"
        return [
            Route("/scenes", self.library_page),
            Route("/scenes/{recording:str}", self.scene_page),
            Route("/api/library", self.library),
            Route("/api/library/words", self.words),
            Route("/api/library/changes", self.change, methods=["POST"]),
            Route(draft, self.draft),
            Route(f"{draft}/scenes", self.change_draft, methods=["POST"]),
            Route(f"{draft}/plan", self.plan, methods=["POST"]),
            Route(f"{draft}/save", self.save, methods=["POST"]),
            Route("/api/library/scenes/{recording:str}", self.scene),
            Route("/api/library/scenes/{recording:str}/runs", self.runs),
            Route("/api/library/scenes/{recording:str}/timeline", self.timeline),
            Route(f"/plotly/{{version:str}}/{PLOT_SCRIPT}", self.plot_script),
        ]

    def library_page(self, _: Request) -> Response:
        """All scenes."""
        return page("library.html", self.policy())

    def scene_page(self, request: Request) -> Response:
        """One scene."""
        recording_of(request, self.workspace.catalog)
        return page("details.html", self.policy())

    def library(self, request: Request) -> Response:
        """Some of the scenes that fit."""
        return JSONResponse(self.scenes.page(request.query_params, number_of(request, "offset") or 0))

    def words(self, _: Request) -> Response:
        """What the page offers."""
        return JSONResponse({**self.scenes.vocabulary(), "actor": actor() if self.local else None})

    async def change(self, request: Request) -> Response:
        """Change many scenes."""
        content = await body_of(request)
        return JSONResponse(await run_in_threadpool(self.scenes.change, content))

    def draft(self, request: Request) -> Response:
        """A draft with its statistics."""
        return JSONResponse(self.scenes.draft(request.path_params["name"], {}))

    async def change_draft(self, request: Request) -> Response:
        """Put scenes into a draft, or take them out."""
        return await self._with_draft(request, self.scenes.change_draft)

    async def plan(self, request: Request) -> Response:
        """A draft with the statistics of another split. Changes nothing."""
        return await self._with_draft(request, self.scenes.draft)

    async def save(self, request: Request) -> Response:
        """Make a dataset version of a draft."""
        return await self._with_draft(request, self.scenes.save)

    def scene(self, request: Request) -> Response:
        """All that is known of a scene."""
        return JSONResponse(details(self.workspace, self.scenes.library, recording_of(request, self.workspace.catalog)))

    def runs(self, request: Request) -> Response:
        """The runs of a scene."""
        return JSONResponse({"runs": runs(self.workspace, recording_of(request, self.workspace.catalog))})

    def timeline(self, request: Request) -> Response:
        """The uncertainty of a scene, frame by frame."""
        return JSONResponse(self.timelines.timeline(recording_of(request, self.workspace.catalog)))

    def plot_script(self, request: Request) -> Response:
        """What draws the timeline."""
        path = plot_script()
        if path is None or request.path_params["version"] != plot_version():
            raise HTTPException(404, "There is no such file.")
        return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": FOREVER})

    async def _with_draft(self, request: Request, work: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> Response:
        content = await body_of(request)
        return JSONResponse(await run_in_threadpool(work, request.path_params["name"], content))

    def policy(self) -> str:
        """Content security policy of pages with pictures of scenes."""
        origin = self.scenes.image_origin()
        return page_policy([] if origin is None else [origin])
