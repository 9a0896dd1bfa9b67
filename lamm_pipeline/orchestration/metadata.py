"""Metadata as people see it in the Dagster UI: tables, thumbnails, short texts."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import cv2
import dagster as dg
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import Artifact

MAX_ROWS = 50
THUMBNAIL_WIDTH = 450
_TYPES = {bool: "bool", int: "int", float: "float"}


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A table of at most 50 rows, with the columns of all of them; no row at all gives a table with the one column `none`."""
    shown = rows[:MAX_ROWS]
    columns = list(dict.fromkeys(name for row in shown for name in row)) or ["none"]
    schema = dg.TableSchema(columns=[dg.TableColumn(name, _type(shown, name)) for name in columns])
    records = [dg.TableRecord({name: _plain(row.get(name)) for name in columns}) for row in shown]
    return dg.MetadataValue.table(records, schema)


def thumbnail(image_bgr: NDArray[np.uint8], caption: str) -> dg.MarkdownMetadataValue:
    """A picture as inline Markdown.

    Args:
        image_bgr: `(H, W, 3)` uint8.
        caption: said below the picture.
    """
    height, width = image_bgr.shape[:2]
    if width > THUMBNAIL_WIDTH:
        size = (THUMBNAIL_WIDTH, round(height * THUMBNAIL_WIDTH / width))
        image_bgr = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return dg.MetadataValue.md(f"![{caption}](data:image/jpeg;base64,{base64.b64encode(encoded).decode()})\n\n{caption}")


def review_url(settings: Settings, recording: str) -> dg.UrlMetadataValue:
    """The page on which people review a recording.

    Args:
        settings: say where the report server is.
        recording: key of the recording.
    """
    return dg.MetadataValue.url(f"{settings.report_url}/recordings/{recording}")


def file_url(settings: Settings, artifact: Artifact, name: str) -> dg.UrlMetadataValue:
    """A file of a published artifact, as the report server shows it.

    Args:
        settings: say where the report server is.
        artifact: whose file.
        name: of the file in it.
    """
    return dg.MetadataValue.url(f"{settings.report_url}/files/{artifact.key.path}/{artifact.version}/{quote(name)}")


def scene_url(settings: Settings, recording: str) -> dg.UrlMetadataValue:
    """The page that shows a recording in 3D.

    Args:
        settings: say where the report server is.
        recording: key of the recording.
    """
    return dg.MetadataValue.url(f"{settings.report_url}/scenes/{quote(recording)}/view")


def frame_link(settings: Settings, recording: str, frame_index: int) -> str:
    """Address of a frame in 3D; where its recording has no scene view then, the report server goes on to the page of the scene.

    Args:
        settings: say where the report server is.
        recording: key of the recording.
        frame_index: index of the frame in the recording.
    """
    return f"{settings.report_url}/scenes/{quote(recording)}/view?frame={frame_index}"


def _type(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [value for row in rows if (value := row.get(name)) is not None]
    return _TYPES.get(type(values[0]), "string") if values else "string"


def _plain(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
