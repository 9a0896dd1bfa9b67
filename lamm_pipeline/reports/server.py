"""The report server: review pages, HTML reports from the store, and the requests that the pages make.

| address | what |
| --- | --- |
| `/` | dashboard, see `home.py` |
| `/recordings...` | review of recordings, see `reviews/pages.py` |
| `/scenes...` | scene library, scenes and dataset builder, see `scenes/pages.py`; scenes in 3D, see `scenes/viewer.py` |
| `/hotspots` | scenes that models are least sure of, see `hotspots.py` |
| `/datasets...` | dataset versions with their downloads, see `downloads.py` |
| `/files/<scope>/<partition>/<asset>/<version>/<name>` | file of a published artifact |
| `/api/...` | JSON for the pages |
| `/static/...` | scripts and styles |
"""

import logging
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.downloads import DatasetPages
from lamm_pipeline.reports.files import find_artifact, published_file
from lamm_pipeline.reports.home import HomePage
from lamm_pipeline.reports.hotspots import HotspotPages
from lamm_pipeline.reports.requests import PAGES, body_of, file_or_missing, page
from lamm_pipeline.reports.reviews.pages import ReviewPages
from lamm_pipeline.reports.scenes.pages import ScenePages
from lamm_pipeline.reports.scenes.viewer import SceneViewer
from lamm_pipeline.reports.security import COOKIE, LOGIN, Access, Guard

STATIC = Path(__file__).parent / "static"

_log = logging.getLogger(__name__)


class ReportServer:
    """Puts the pages together. Whoever makes pages has `routes`; here is what belongs to none of them."""

    def __init__(self, workspace: Workspace, access: Access) -> None:
        self.workspace = workspace
        self.access = access

    def application(self) -> ASGIApp:
        """The ASGI application, guarded."""
        workspace, local = self.workspace, self.access.token is None
        scenes = ScenePages(workspace, local=local)
        routes = [
            Route(LOGIN, self.login_page),
            Route(LOGIN, self.login, methods=["POST"]),
            Route("/files/{scope:str}/{partition:str}/{asset:str}/{version:str}/{name:path}", self.file),
            *HomePage(workspace, scenes.scenes.library).routes,
            *ReviewPages(workspace, local=local).routes,
            *SceneViewer(workspace).routes,
            *scenes.routes,
            *HotspotPages(workspace, scenes.policy).routes,
            *DatasetPages(workspace).routes,
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

    def file(self, request: Request) -> Response:
        """File of a published artifact."""
        named = request.path_params
        artifact = find_artifact(self.workspace.store, named["scope"], named["partition"], named["asset"], named["version"])
        return file_or_missing(None if artifact is None else published_file(self.workspace.store, artifact, named["name"]))


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
