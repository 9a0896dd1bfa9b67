"""Where in an export its documents and images are. Exports differ in folders and names; what they mean does not."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from lamm_pipeline.errors import InputError

ANNOTATIONS = "annotations.json"
METADATA = "metadata.json"
IMAGE_FOLDERS = ("images", "frames", "data")
PLACES = "images/frame_000012.png, also in the folder `frames` or `data`, as 000012 or 0012, and as .jpg"

_IMAGE = re.compile(r"(?:frame_)?([0-9]{4,9})\.(?:png|jpe?g)", re.IGNORECASE)
_FORKS = "__MACOSX"


@dataclass(frozen=True)
class Layout:
    """The members of an export that are read.

    Attributes:
        annotations: name of annotations.json.
        metadata: name of metadata.json, None where there is none.
        images: names of the images by frame index, in its order.
        ignored: names of the other members, but for those that archivers of a system add.
    """

    annotations: str
    metadata: str | None
    images: dict[int, str]
    ignored: list[str]


def read_layout(names: Iterable[str], source: str) -> Layout:
    """Find documents and images among the members of a ZIP.

    Args:
        names: of all files.
        source: what to call the ZIP in sentences.

    Raises:
        InputError: there is no annotations.json, or several, or two images of one frame.
    """
    shown = [name for name in names if not any(part.startswith(".") or part == _FORKS for part in name.split("/"))]
    documents = sorted((name for name in shown if PurePosixPath(name).name == ANNOTATIONS), key=lambda name: name.count("/"))
    if not documents:
        raise InputError(f"{source} holds no {ANNOTATIONS}; it is no SAM2 export. Give the ZIP as the exporter wrote it.")
    if len(documents) > 1 and documents[0].count("/") == documents[1].count("/"):
        raise InputError(f"{source} holds several exports: {documents[0]} and {documents[1]}. Give each as a ZIP of its own.")
    top = documents[0].removesuffix(ANNOTATIONS)
    images: dict[int, str] = {}
    for name in shown:
        folder, _, file = name.removeprefix(top).rpartition("/")
        index = frame_index(file) if name.startswith(top) and folder in IMAGE_FOLDERS else None
        if index is None:
            continue
        if index in images:
            raise InputError(f"{source} holds two images of frame {index}: {images[index]} and {name}. Leave one of them out.")
        images[index] = name
    metadata = top + METADATA if top + METADATA in shown else None
    read = {documents[0], metadata, *images.values()}
    return Layout(documents[0], metadata, dict(sorted(images.items())), [name for name in shown if name not in read])


def frame_index(file_name: str) -> int | None:
    """The frame that an image is of, by its name: `frame_000012.png`, `frame_0012.jpg`, `000012.png`, `0012.jpeg`; None for others."""
    match = _IMAGE.fullmatch(file_name)
    return None if match is None else int(match[1])
