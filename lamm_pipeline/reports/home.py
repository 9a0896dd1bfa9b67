"""The home page, and what it asks for again and again while somebody looks at it.

| address | what |
| --- | --- |
| `/` | the dashboard |
| `/api/dashboard` | everything on it, as it is now |
| `/api/activity` | older entries of the feed; `before` is the place to go on from |
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.orchestration.run_history import RunHistory
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.requests import page
from lamm_pipeline.scenes.dashboard.activity import Cursor
from lamm_pipeline.scenes.dashboard.dashboard import Known, feed_to_json, gather, older_feed, published
from lamm_pipeline.scenes.library.present import SceneLibrary


class HomePage:
    """Answers requests about the dashboard, one after the other. Keeps what it has read, and Dagster's instance, slow to open, open."""

    def __init__(self, workspace: Workspace, library: SceneLibrary) -> None:
        self.workspace = workspace
        self.library = library
        self._lock = threading.Lock()
        self._reading: tuple[RunHistory, Known] | None = None
        self._open = ExitStack()

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/", self.home),
            Route("/api/dashboard", self.dashboard),
            Route("/api/activity", self.activity),
        ]

    def home(self, _: Request) -> Response:
        """The dashboard."""
        return page("home.html")

    def dashboard(self, _: Request) -> Response:
        """Everything on it."""
        with self._read() as (history, known):
            found = gather(self.workspace, self.library, history, known)
        return JSONResponse({**found.to_json(), "root": str(self.workspace.settings.root)})

    def activity(self, request: Request) -> Response:
        """Older entries of the feed."""
        before = Cursor.parse(request.query_params.get("before", ""))
        with self._read() as (history, _):
            return JSONResponse(feed_to_json(older_feed(self.workspace, self.library, history, before)))

    @contextmanager
    def _read(self) -> Iterator[tuple[RunHistory, Known]]:
        with self._lock:
            if self._reading is None:
                known = published(self.workspace.store)
                instance = self._open.enter_context(open_instance(self.workspace.settings.root))
                self._reading = (RunHistory(instance, known.runs), known)
            yield self._reading
