"""The pages on which people review recordings, and the requests that they make.

| address | what |
| --- | --- |
| `/recordings` | recordings with their progress |
| `/recordings/<key>` | review page of a recording |
| `/recordings/<key>/clusters` | similar frames of a recording, at any thresholds |
| `/recordings/<key>/images/<version>/<index>` | image of a frame; `?small=1` a thumbnail |
| `/api/recordings` | a page of the list; `query`, `offset` |
| `/api/recordings/<key>/...` | JSON for the pages, and the decisions that people take on them |
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.files import find_artifact, published_file, thumbnail
from lamm_pipeline.reports.requests import body_of, file_or_missing, number_of, page, recording_of
from lamm_pipeline.reports.reviews.clusters import Clusters, Order
from lamm_pipeline.reports.reviews.playback import FRAMES, playback
from lamm_pipeline.reports.reviews.reviews import Reviews
from lamm_pipeline.reports.security import page_policy
from lamm_pipeline.settings import actor

PAGE_ROWS = 50


class ReviewPages:
    """Answers requests about recordings. HTTP is here; what is read and said is in `reviews.py` and `clusters.py`."""

    def __init__(self, workspace: Workspace, *, local: bool) -> None:
        """Made by the server.

        Args:
            workspace: what is shown.
            local: whoever asks sits at this machine, so that the system's user is offered as their name.
        """
        self.workspace = workspace
        self.local = local
        self.reviews = Reviews(workspace)
        self.clusters = Clusters(workspace)

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        one, of_one = "/recordings/{recording:str}", "/api/recordings/{recording:str}"
        return [
            Route("/recordings", self.recordings_page),
            Route(one, self.review_page),
            Route(f"{one}/clusters", self.clusters_page),
            Route(f"{one}/images/{{version:str}}/{{index:int}}", self.image),
            Route("/api/recordings", self.recordings),
            Route(f"{of_one}/summary", self.summary),
            Route(f"{of_one}/data", self.data),
            Route(f"{of_one}/playback", self.playback),
            Route(f"{of_one}/clusters", self.similar_frames),
            Route(f"{of_one}/clusters/{{index:int}}", self.members),
            Route(f"{of_one}/state", self.state),
            Route(f"{of_one}/pulse", self.pulse),
            Route(f"{of_one}/masks", self.masks),
            Route(f"{of_one}/history", self.history),
            Route(f"{of_one}/decisions", self.decide, methods=["POST"]),
            Route(f"{of_one}/undo", self.undo, methods=["POST"]),
            Route(f"{of_one}/labelling", self.set_labelling, methods=["POST"]),
        ]

    def recordings_page(self, _: Request) -> Response:
        """The list of recordings."""
        return page("recordings.html")

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
        return file_or_missing(found)

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
        return JSONResponse({**self.reviews.state(self._recording(request)), "actor": actor() if self.local else None})

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
        return recording_of(request, self.workspace.catalog)
