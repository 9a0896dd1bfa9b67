"""Datasets for the browser: which versions there are, and each of their formats as one ZIP.

| address | what |
| --- | --- |
| `/datasets` | dataset versions with their downloads |
| `/datasets/<version>/<format>.zip` | a dataset version in one format |
| `/api/datasets` | a page of the list |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lamm_pipeline.catalog.models import DatasetVersion
from lamm_pipeline.datasets.downloads import find_export, zip_entries
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.files import is_partition
from lamm_pipeline.reports.requests import file_or_missing, number_of, page
from lamm_pipeline.storage.zip_stream import ZipEntry, zip_bytes, zip_length

PAGE_ROWS = 50


class DatasetPages:
    """Answers requests about dataset versions."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/datasets", self.datasets_page),
            Route("/datasets/{version:str}/{name:str}.zip", self.dataset_zip),
            Route("/api/datasets", self.datasets),
        ]

    def datasets_page(self, _: Request) -> Response:
        """The list of dataset versions."""
        return page("datasets.html")

    def dataset_zip(self, request: Request) -> Response:
        """A dataset version in one format, as a ZIP."""
        return file_or_missing(download(request, self.workspace, request.path_params["version"], request.path_params["name"]))

    def datasets(self, request: Request) -> Response:
        """A page of the list of dataset versions."""
        return JSONResponse({**dataset_versions(self.workspace, number_of(request, "offset") or 0, PAGE_ROWS), "rows": PAGE_ROWS})


def dataset_versions(workspace: Workspace, offset: int, rows: int) -> dict[str, Any]:
    """Dataset versions with the formats that can be downloaded, the newest first.

    Args:
        workspace: where they are.
        offset: how many to leave out.
        rows: how many at most.
    """
    versions = sorted(workspace.catalog.versions.all(), key=lambda row: (row.created_at, row.number), reverse=True)
    return {"total": len(versions), "datasets": [_described(workspace, row) for row in versions[offset : offset + rows]]}


def download(request: Request, workspace: Workspace, version: str, name: str) -> Response | None:
    """A dataset version in one format as a ZIP that is made while it is sent; None where there is none.

    Args:
        request: with the method HEAD only the headers are made.
        workspace: where it is.
        version: key of the dataset version.
        name: the format.
    """
    wanted = next((each for each in ExportFormat if each == name), None)
    artifact = None if wanted is None or not is_partition(version) else find_export(workspace.store, version, wanted)
    if artifact is None:
        return None
    entries = zip_entries(artifact)
    headers = {
        "Content-Length": str(zip_length(entries)),
        "Content-Disposition": f'attachment; filename="{version}-{name}.zip"',
        "Accept-Ranges": "none",
        "ETag": f'"{artifact.version}"',
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type="application/zip")
    return _ZipResponse(entries, headers)


class _ZipResponse(StreamingResponse):
    """Sends a ZIP, and closes what it was reading when the browser has gone."""

    def __init__(self, entries: Sequence[ZipEntry], headers: Mapping[str, str]) -> None:
        self.pieces = zip_bytes(entries)
        super().__init__(self.pieces, headers=headers, media_type="application/zip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.pieces.close()


def _described(workspace: Workspace, row: DatasetVersion) -> dict[str, Any]:
    found = {each: find_export(workspace.store, row.key, each) for each in ExportFormat}
    return {
        "version": row.key,
        "title": row.title,
        "created_at": f"{row.created_at:%Y-%m-%d %H:%M}",
        "created_by": row.created_by,
        "formats": [{"format": each, "bytes": artifact.manifest.size} for each, artifact in found.items() if artifact is not None],
    }
