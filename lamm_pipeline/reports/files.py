"""Files of published artifacts for the browser, and nothing else.

Nothing of an address becomes a path: scope, partition, asset and version have to look like such names, the version has to be published, and
the file's name has to stand in its manifest, letter by letter.
"""

import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from starlette.responses import FileResponse, RedirectResponse, Response

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.drafts import SCOPES

LINK_SECONDS = 900
THUMBNAIL_WIDTH = 240
FOREVER = "private, max-age=31536000, immutable"
"""What is published under a version never changes."""

_PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_ASSET = re.compile(r"[a-z0-9_]{1,100}")
_VERSION = re.compile(r"[0-9a-f]{16}")

_SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
}
"""Types that browsers show; everything else is saved."""

_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; frame-ancestors 'none'"
)
"""For HTML reports: their own scripts run, but as those of a foreign page, which can neither read from here nor decide anything. Tables
that lie beside a report can be saved from it."""


def find_artifact(store: ArtifactStore, scope: str, partition: str, asset: str, version: str) -> Artifact | None:
    """The published artifact that an address names, or None."""
    named = scope in SCOPES and is_partition(partition) and _ASSET.fullmatch(asset) and is_version(version)
    return store.find(ArtifactKey(scope, partition, asset), version) if named else None


def is_partition(name: str) -> bool:
    """Whether a recording or a dataset version can be called so."""
    return _PARTITION.fullmatch(name) is not None


def is_version(name: str) -> bool:
    """Whether a version of an artifact can be called so."""
    return _VERSION.fullmatch(name) is not None


def published_file(store: ArtifactStore, artifact: Artifact, name: str) -> Response | None:
    """One file of an artifact for the browser: from the disk, or by a link into the bucket that is signed now; None where there is none."""
    if name not in artifact.manifest.files:
        return None
    kind = PurePosixPath(name).suffix.lower()
    link = None if kind == ".html" else store.link(artifact, name, LINK_SECONDS)
    if link is not None:
        return RedirectResponse(link, 307)
    path = _path(artifact, name)
    if path is None:
        return None
    headers = {"Cache-Control": FOREVER} | ({"Content-Security-Policy": _REPORT_POLICY} if kind == ".html" else {})
    if kind in _SHOWN:
        return FileResponse(path, headers=headers, media_type=_SHOWN[kind])
    return FileResponse(path, headers=headers, media_type="application/octet-stream", filename=path.name)


def thumbnail(artifact: Artifact, name: str) -> Response | None:
    """A small JPEG of an image of an artifact; None where there is no such image."""
    path = _path(artifact, name) if name in artifact.manifest.files else None
    image = None if path is None else read_image(path)
    if image is None:
        return None
    height, width = image.shape[:2]
    if width > THUMBNAIL_WIDTH:
        size = (THUMBNAIL_WIDTH, max(1, round(height * THUMBNAIL_WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return Response(encoded, headers={"Cache-Control": FOREVER}, media_type="image/jpeg")


def _path(artifact: Artifact, name: str) -> Path | None:
    """Where a file of the artifact lies; None where it is gone, or where something else was put in its place that leads elsewhere."""
    try:
        path = artifact.file(name)
    except InputError:
        return None
    depth = len(PurePosixPath(name).parts)
    folder = path.parents[depth - 1]
    real = path.resolve()
    return path if real.is_file() and real == folder.resolve() / name else None
