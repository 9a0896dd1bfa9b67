"""The images of an import: those in the ZIP, or clean ones that take their place. Decoded once to see that they are whole."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.diversity import Grey, small_hash
from lamm_pipeline.imports.layout import frame_index
from lamm_pipeline.imports.mask_forms import Size
from lamm_pipeline.imports.safe_zip import SafeZip

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_AFTER_END = 4096


class ImageSource(Protocol):
    """Where the images of frames are read."""

    @property
    def names(self) -> Mapping[int, str]:
        """Names of the images, by frame index."""
        ...

    def read(self, frame: int) -> bytes:
        """The content of an image file.

        Raises:
            InputError: it is damaged, or larger than allowed.
        """
        ...


@dataclass(frozen=True)
class ZipImages:
    """The images in the ZIP."""

    archive: SafeZip
    names: Mapping[int, str]
    max_bytes: float

    def read(self, frame: int) -> bytes:
        """See `ImageSource.read`."""
        size = self.archive.members[self.names[frame]].file_size
        if size > self.max_bytes:
            raise InputError(f"It takes {size / 1e6:.0f} MB, more than are allowed (max_file_mb).")
        return self.archive.read(self.names[frame])


@dataclass(frozen=True)
class FolderImages:
    """Images in a folder, of the person who imports or of a recording's frames."""

    folder: Path
    names: Mapping[int, str]

    def read(self, frame: int) -> bytes:
        """See `ImageSource.read`."""
        return (self.folder / self.names[frame]).read_bytes()


@dataclass(frozen=True)
class CheckedImage:
    """What is known of an image once it was decoded."""

    suffix: str
    size: Size
    image_hash: int


def images_in(folder: Path) -> FolderImages:
    """The images of a folder, by the frame index in their names.

    Raises:
        InputError: there are none, or two of one frame.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the folder with the clean images.")
    names: dict[int, str] = {}
    for path in sorted(folder.iterdir()):
        index = frame_index(path.name) if path.is_file() else None
        if index is not None and index in names:
            raise InputError(f"{folder} holds two images of frame {index}: {names[index]} and {path.name}. Leave one of them out.")
        if index is not None:
            names[index] = path.name
    if not names:
        raise InputError(f"{folder} holds no images that are named by frame index, such as frame_000012.png or 000012.jpg.")
    return FolderImages(folder, names)


def check_image(content: bytes, max_pixels: float) -> CheckedImage:
    """Decode an image to see that it is whole.

    Args:
        content: of the file.
        max_pixels: a larger image is not decoded.

    Raises:
        InputError: it is no PNG or JPEG, cut off, damaged or too large.
    """
    kind, (width, height) = _header(content)
    if width * height > max_pixels:
        raise InputError(f"It has {width} x {height} pixels, more than are allowed (max_megapixels).")
    if _ENDS[kind] not in content[-_AFTER_END:]:
        raise InputError("It is cut off.")
    try:
        grey = _grey(content, kind)
    except cv2.error:
        grey = None
    if grey is None or sorted(grey.shape) != sorted((width, height)):  # decoding turns an image the way its camera was held
        raise InputError("It cannot be decoded.")
    return CheckedImage(SUFFIXES[kind], (grey.shape[0], grey.shape[1]), small_hash(grey))


def _header(content: bytes) -> tuple[str, tuple[int, int]]:
    """Format, and width and height as they are stored, without decoding.

    Raises:
        InputError: it is no PNG or JPEG.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=list(SUFFIXES)) as image:
                return "PNG" if image.format == "PNG" else "JPEG", image.size  # a JPEG that has more images behind it calls itself MPO
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, TypeError, OverflowError):
        raise InputError("It is no PNG or JPEG that can be read.") from None


def _grey(content: bytes, kind: str) -> Grey | None:
    """The grey values of an image, None where it cannot be decoded.

    A JPEG holds them beside its colours: the whole file is decoded, but to make colours of it would take as long again. A PNG's are made of
    its colours, as those of extracted frames are, so that these keep their hash when they come back from an export.
    """
    encoded = np.frombuffer(content, np.uint8)
    if kind == "JPEG":
        grey = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    else:
        colours = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        grey = None if colours is None else cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)
    return None if grey is None else np.asarray(grey, np.uint8)
