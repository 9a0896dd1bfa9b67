"""The report server: review pages, HTML reports from the store, and the requests that the pages make.

| address | what |
| --- | --- |
| `/` | dashboard, see `home.py` |
| `/recordings` | recordings with their progress |
| `/recordings/<key>` | review page of a recording |
| `/recordings/<key>/clusters` | similar frames of a recording, at any thresholds |
| `/recordings/<key>/images/<version>/<index>` | image of a frame; `?small=1` a thumbnail |
| `/scenes` | scene library and dataset builder, see `scene_pages.py` |
| `/scenes/<key>` | all that is known of a scene |
| `/hotspots` | scenes that models are least sure of, see `hotspots.py` |
| `/datasets` | dataset versions with their downloads |
| `/datasets/<version>/<format>.zip` | a dataset version in one format |
| `/files/<scope>/<partition>/<asset>/<version>/<name>` | file of a published artifact |
| `/scenes/...`, `/rerun/...` | 3D scenes, see `scene_viewer.py` |
| `/api/...` | JSON for the pages |
| `/static/...` | scripts and styles |
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.clusters import Clusters, Order
from lamm_pipeline.reports.downloads import dataset_versions, download
from lamm_pipeline.reports.files import find_artifact, is_partition, published_file, thumbnail
from lamm_pipeline.reports.home import HomePage
from lamm_pipeline.reports.hotspots import HotspotPages
from lamm_pipeline.reports.playback import FRAMES, playback
from lamm_pipeline.reports.requests import PAGES, body_of, number_of, page
from lamm_pipeline.reports.reviews import Reviews
from lamm_pipeline.reports.scene_pages import ScenePages
from lamm_pipeline.reports.scene_viewer import SceneViewer
from lamm_pipeline.reports.security import COOKIE, LOGIN, Access, Guard, page_policy
from lamm_pipeline.settings import actor

STATIC = Path(__file__).parent / "static"
PAGE_ROWS = 50

_log = logging.getLogger(__name__)


class ReportServer:
    """Answers requests. HTTP is here; what is read and said is in `reviews.py`, `clusters.py`, `files.py`, `home.py` and others."""

    def __init__(self, workspace: Workspace, access: Access) -> None:
        self.workspace = workspace
        self.access = access
        self.reviews = Reviews(workspace)
        self.clusters = Clusters(workspace)
        self.scene_viewer = SceneViewer(workspace, self._recording)
        self.scenes = ScenePages(workspace, self._recording, local=access.token is None)
        self.hotspots = HotspotPages(workspace, self.scenes.policy)
        self.home = HomePage(workspace, self.scenes.scenes.library)

    def application(self) -> ASGIApp:
        """The ASGI application, guarded."""
        key = "{recording:str}"
        routes = [
            Route(LOGIN, self.login_page),
            Route(LOGIN, self.login, methods=["POST"]),
            Route("/recordings", self.recordings_page),
            Route(f"/recordings/{key}", self.review_page),
            Route(f"/recordings/{key}/clusters", self.clusters_page),
            Route(f"/recordings/{key}/images/{{version:str}}/{{index:int}}", self.image),
            Route("/files/{scope:str}/{partition:str}/{asset:str}/{version:str}/{name:path}", self.file),
            Route("/datasets", self.datasets_page),
            Route("/datasets/{version:str}/{name:str}.zip", self.dataset_zip),
            Route("/api/datasets", self.datasets),
            Route("/api/recordings", self.recordings),
            Route(f"/api/recordings/{key}/summary", self.summary),
            Route(f"/api/recordings/{key}/data", self.data),
            Route(f"/api/recordings/{key}/playback", self.playback),
            Route(f"/api/recordings/{key}/clusters", self.similar_frames),
            Route(f"/api/recordings/{key}/clusters/{{index:int}}", self.members),
            Route(f"/api/recordings/{key}/state", self.state),
            Route(f"/api/recordings/{key}/pulse", self.pulse),
            Route(f"/api/recordings/{key}/masks", self.masks),
            Route(f"/api/recordings/{key}/history", self.history),
            Route(f"/api/recordings/{key}/decisions", self.decide, methods=["POST"]),
            Route(f"/api/recordings/{key}/undo", self.undo, methods=["POST"]),
            Route(f"/api/recordings/{key}/labelling", self.set_labelling, methods=["POST"]),
            *self.home.routes,
            *self.scene_viewer.routes,
            *self.scenes.routes,
            *self.hotspots.routes,
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        handlers: Mapping[Any, Any] = {
            InputError: _on_bad_input,
            HTTPException: _on_http_error,
            Exception: _on_bug,
            **dict.fromkeys(FAULTS, _on_fault),
        }
        application = Starlette(routes=routes, exception_handlers=handlers)
        application.router.redirect_slashes = False  # an address that is nearly one is none
        return Guard(application, self.access)

    def recordings_page(self, _: Request) -> Response:
        """The list of recordings."""
        return page("recordings.html")

    def login_page(self, _: Request) -> Response:
        """Where a browser gives the token."""
        return page("login.html")

    async def login(self, request: Request) -> Response:
        """Take the token of a browser and give it a cookie in its place."""
        given = (await body_of(request)).get("token")
        if not isinstance(given, str) or not self.access.is_token(given.strip()):
            return JSONResponse({"error": "This is not the token."}, 401)
        answer = JSONResponse({"ok": True})
        secure = request.headers.get("origin", "").startswith("https://")
        answer.set_cookie(COOKIE, self.access.cookie or "", httponly=True, samesite="lax", secure=secure, path="/")
        return answer

    def review_page(self, request: Request) -> Response:
        """The review page of a recording."""
        origin = self.reviews.image_origin(self._recording(request))
        return page("review.html", page_policy([] if origin is None else [origin]))

    def clusters_page(self, request: Request) -> Response:
        """The page with similar frames of a recording."""
        self._recording(request)
        return page("clusters.html")

    def image(self, request: Request) -> Response:
        """Image of a frame of any published version of the frames, whole or small."""
        recording, index = self._recording(request), request.path_params["index"]
        artifact = find_artifact(self.workspace.store, "recordings", recording, "frames", request.path_params["version"])
        name = None if artifact is None else self.reviews.image_name(artifact, index)
        if artifact is None or name is None:
            raise HTTPException(404, "There is no such image.")
        found = thumbnail(artifact, name) if request.query_params.get("small") else published_file(self.workspace.store, artifact, name)
        return _found(found)

    def file(self, request: Request) -> Response:
        """File of a published artifact."""
        named = request.path_params
        artifact = find_artifact(self.workspace.store, named["scope"], named["partition"], named["asset"], named["version"])
        return _found(None if artifact is None else published_file(self.workspace.store, artifact, named["name"]))

    def datasets_page(self, _: Request) -> Response:
        """The list of dataset versions."""
        return page("datasets.html")

    def dataset_zip(self, request: Request) -> Response:
        """A dataset version in one format, as a ZIP."""
        return _found(download(request, self.workspace, request.path_params["version"], request.path_params["name"]))

    def datasets(self, request: Request) -> Response:
        """A page of the list of dataset versions."""
        return JSONResponse({**dataset_versions(self.workspace, number_of(request, "offset") or 0, PAGE_ROWS), "rows": PAGE_ROWS})

    def recordings(self, request: Request) -> Response:
        """A page of the list of recordings."""
        found = self.reviews.recordings(number_of(request, "offset") or 0, PAGE_ROWS, request.query_params.get("query", ""))
        return JSONResponse({**found, "rows": PAGE_ROWS})

    def summary(self, request: Request) -> Response:
        """Counts and progress of a recording."""
        return JSONResponse(self.reviews.summary(self._recording(request)))

    def data(self, request: Request) -> Response:
        """What the review page shows."""
        return Response(self.reviews.data_as_json(self._recording(request)), media_type="application/json")

    def playback(self, request: Request) -> Response:
        """Some frames, to be played."""
        start, count = number_of(request, "start"), number_of(request, "count")
        return JSONResponse(playback(self.reviews.data(self._recording(request)), start or 0, FRAMES if count is None else count))

    def similar_frames(self, request: Request) -> Response:
        """What thresholds keep."""
        order = Order.time if request.query_params.get("order") == Order.time else Order.size
        return JSONResponse(
            self.clusters.overview(self._recording(request), request.query_params, order, number_of(request, "offset") or 0)
        )

    def members(self, request: Request) -> Response:
        """The frames that a kept one stands for."""
        recording, index = self._recording(request), request.path_params["index"]
        return JSONResponse(self.clusters.members(recording, request.query_params, index, number_of(request, "offset") or 0))

    def state(self, request: Request) -> Response:
        """What people have said, and the name that a person is offered as their own."""
        return JSONResponse({**self.reviews.state(self._recording(request)), "actor": None if self.access.token else actor()})

    def pulse(self, request: Request) -> Response:
        """Whether the page shows the present."""
        return JSONResponse(self.reviews.pulse(self._recording(request)))

    def masks(self, request: Request) -> Response:
        """Masks of some frames."""
        places = request.query_params.get("frames", "").split(",")
        if not all(each.isascii() and each.isdecimal() and len(each) < 10 for each in places):
            raise InputError("`frames` is a list of numbers with commas between them.")
        return JSONResponse(self.reviews.masks(self._recording(request), [int(each) for each in places]))

    def history(self, request: Request) -> Response:
        """Who said what."""
        return JSONResponse(
            self.reviews.history(self._recording(request), number_of(request, "before"), request.query_params.get("subject") or None)
        )

    async def decide(self, request: Request) -> Response:
        """Take decisions."""
        return await self._changed(request, self.reviews.decide)

    async def undo(self, request: Request) -> Response:
        """Take decisions back."""
        return await self._changed(request, self.reviews.undo)

    async def set_labelling(self, request: Request) -> Response:
        """Say how far labelling is."""
        return await self._changed(request, self.reviews.set_labelling)

    async def _changed(self, request: Request, change: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> Response:
        content = await body_of(request)
        recording = await run_in_threadpool(self._recording, request)
        return JSONResponse(await run_in_threadpool(change, recording, content))

    def _recording(self, request: Request) -> str:
        key = str(request.path_params["recording"])
        if not is_partition(key) or not self.workspace.catalog.has_recording(key):
            raise HTTPException(404, "There is no such recording.")
        return key


def listen(host: str, port: int) -> socket.socket:
    """A socket that the server can be given; with port 0 the system chooses one.

    Raises:
        InputError: the port is taken, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"{host!r} is no address to listen on ({error}).") from None
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        raise InputError(f"The report server cannot listen on {host}:{port}: {error.strerror}. Choose another port.") from None
    return found


def make_server(workspace: Workspace, access: Access) -> uvicorn.Server:
    """The server, ready to run on a socket of `listen`.

    Args:
        workspace: what is shown.
        access: who may see it.
    """
    return uvicorn.Server(
        uvicorn.Config(
            ReportServer(workspace, access).application(),
            loop="asyncio",
            http="h11",  # the strictest of its parsers
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
    )


def serve(workspace: Workspace, access: Access, listener: socket.socket, *, until_input_ends: bool = False) -> None:
    """Answer requests until the process is told to stop.

    Args:
        workspace: what is shown.
        access: who may see it.
        listener: of `listen`.
        until_input_ends: stop as well when standard input ends, which it does when the process that started this one is no more.
    """
    server = make_server(workspace, access)

    def watch() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    if until_input_ends:
        threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listener])


def _found(response: Response | None) -> Response:
    if response is None:
        raise HTTPException(404, "There is no such file.")
    return response


def _on_bad_input(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _on_http_error(request: Request, error: Exception) -> Response:
    status, sentence = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse((PAGES / "missing.html").read_text(encoding="utf-8"), status)
    return JSONResponse({"error": sentence}, status)


def _on_fault(_: Request, error: Exception) -> Response:
    _log.error("%s", fault_sentence(error))
    return JSONResponse({"error": "A fault of the machine (disk, network or database). The server's log has more; try again."}, 503)


def _on_bug(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "The server failed at this. Its log has more."}, 500)
