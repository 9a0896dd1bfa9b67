"""One frame of an export: its entry in the document, its image, and the row of the sample table they make.

Frames are read by several processes at once, so a reader is small, and can be copied to another process.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline import sample_table
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.imports.images import CheckedImage, ImageSource, check_image
from lamm_pipeline.imports.labels import Labels
from lamm_pipeline.imports.mask_forms import Size
from lamm_pipeline.imports.objects import FrameObjects, read_objects
from lamm_pipeline.imports.problems import Problem
from lamm_pipeline.imports.sam2_format import MAX_SIDE, NAMESPACE, number, parse, whole, within
from lamm_pipeline.sample_table import FrameState, Sample
from lamm_pipeline.storage.json_array import Span

IMAGES = "images"

_CAMERA = tuple(RectifiedCamera.__dataclass_fields__)


@dataclass(frozen=True)
class ReadFrame:
    """What became of a frame.

    Attributes:
        row: of the table, None where the frame is left out.
        labels: class id by label.
        problems: what is wrong with it.
    """

    row: dict[str, Any] | None
    labels: dict[str, str]
    problems: list[Problem]


@dataclass(frozen=True)
class FrameReader:
    """All that is the same for each frame of an import.

    Attributes:
        export: name of the ZIP, for sentences.
        document: the unpacked annotations.json.
        images: where images are read.
        clean: whether these take the place of those in the ZIP.
        labels: tell classes.
        recording: key of the recording that the frames are of.
        by_rows: whether the runs of masks that are bare lists go along the rows.
        max_pixels: a larger image is left out.
        annotated_size: of the video, None where nobody says it.
        artifact: reference of the artifact that is being written.
        folder: of its files.
    """

    export: str
    document: Path
    images: ImageSource
    clean: bool
    labels: Labels
    recording: str
    by_rows: bool
    max_pixels: float
    annotated_size: Size | None
    artifact: str
    folder: Path

    def __call__(self, frame: tuple[int, Span | None]) -> ReadFrame:
        """Read a frame, and write its image to the folder.

        Args:
            frame: its index, and the place of its entry in the document.

        Raises:
            InputError: it is a clean image, but of another video.
        """
        index, span = frame
        entry = {} if span is None else _entry(self.document, span)
        file = self.images.names.get(index)
        if file is None and not entry.get("objects"):
            return ReadFrame(None, {}, [Problem("empty_frame", f"Frame {index} has neither an image nor objects; it is left out.", index)])
        if file is None:
            return ReadFrame(None, {}, [Problem("image_missing", f"Frame {index} has no image; it is left out.", index)])
        try:
            content = self.images.read(index)
            image = check_image(content, self.max_pixels)
        except InputError as error:
            sentence = f"The image of frame {index}, {file}, is not usable, and the frame is left out: {error}"
            return ReadFrame(None, {}, [Problem("image_damaged", sentence, index, file)])
        if self.clean and self.annotated_size not in {None, image.size}:
            raise _other_size(self, file, image.size)
        name = f"{IMAGES}/{index:06d}{image.suffix}"
        (self.folder / name).write_bytes(content)
        frame_id = f"{self.recording}:{index:06d}"
        found = read_objects(entry.get("objects"), frame_id, index, image.size, self.labels, by_rows=self.by_rows)
        row = sample_table.to_row(_sample(self, index, frame_id, name, image, entry, found))
        return ReadFrame(row, found.labels, [*_size_problems(self, index, file, image), *found.problems])


def _other_size(reader: FrameReader, file: str, size: Size) -> InputError:
    rows, columns = reader.annotated_size or size
    return InputError(
        f"The image {file} has {size[1]} x {size[0]} pixels, but {reader.export} was annotated at {columns} x {rows}: it is no "
        "clean image of that video. Give images of the same size."
    )


def _entry(document: Path, span: Span) -> dict[str, Any]:
    with document.open("rb") as file:
        file.seek(span.offset)
        return dict(parse(file.read(span.length)))


def _sample(
    reader: FrameReader, index: int, frame_id: str, name: str, image: CheckedImage, entry: Mapping[str, Any], found: FrameObjects
) -> Sample:
    given = entry.get(NAMESPACE)
    own: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if found.annotations:
        state = FrameState.kept
    else:
        state = FrameState.reviewed_empty if own.get("state") == FrameState.reviewed_empty else FrameState.unlabelled
    height, width = image.size
    return Sample(
        frame_id=frame_id,
        recording=reader.recording,
        frame_index=index,
        timestamp_ns=_timestamp_ns(entry, own),
        width=width,
        height=height,
        artifact=reader.artifact,
        folder=reader.folder,
        image=name,
        state=str(state),
        annotations=tuple(found.annotations),
        camera=_camera(own.get("camera")),
        image_hash=image.image_hash,
    )


def _timestamp_ns(entry: Mapping[str, Any], own: Mapping[str, Any]) -> int | None:
    exact = whole(own.get("timestamp_ns"))
    if exact is None and NAMESPACE not in entry:
        seconds = number(entry.get("timestamp_sec"))
        exact = None if seconds is None or abs(seconds) > 1e9 else round(seconds * 1e9)
    return exact if exact is not None and abs(exact) < 1 << 62 else None


def _camera(value: Any) -> RectifiedCamera | None:
    if not isinstance(value, dict):
        return None
    sides: dict[str, float | None] = {name: number(value.get(name)) for name in _CAMERA}
    sides |= {name: within(whole(value.get(name)), 1, MAX_SIDE) for name in ("width", "height")}
    known: dict[str, Any] = {name: each for name, each in sides.items() if each is not None}
    return RectifiedCamera(**known) if len(known) == len(_CAMERA) else None


def _size_problems(reader: FrameReader, index: int, file: str, image: CheckedImage) -> Iterator[Problem]:
    told = reader.annotated_size
    if told is not None and told != image.size:
        sentence = f"The image of frame {index}, {file}, has {image.size[1]} x {image.size[0]} pixels, the video {told[1]} x {told[0]}."
        yield Problem("contradiction", sentence, index, file)
