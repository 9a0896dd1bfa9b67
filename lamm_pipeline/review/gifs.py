"""Two GIFs of each sequence annotation, for people who decide what it is: the whole picture with the box, and what is in the box.

    gifs/sequence_0001/main_<digest>.gif    whole frames, the box in green
    gifs/sequence_0001/crop_<digest>.gif    the mean of all boxes with a tenth of its size around it, the same part of every frame
    review_gifs.json                        {"<sequence annotation>": {"main": <name>, "crop": <name>, "frames": 12, ...}, ...}

A name says what the file holds (the start of its SHA-256), so that two GIFs never share one and nobody sees a former one from a cache.
The names are keys within the artifact; links are made of them when somebody reads them, because links expire.

An image that is missing or damaged is left out and reported. A sequence without any usable image gets no GIF, and the reason is told.
"""

import json
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.review.gif_encoder import PALETTE_FRAMES, GifWriter, choose_palette, spread
from lamm_pipeline.review.gif_settings import GifSettings
from lamm_pipeline.review.sequence_annotations import BoxXyxy, SequenceAnnotation, SequenceAnnotations, SequenceBox
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.storage.artifacts import Artifact, ArtifactStore
from lamm_pipeline.storage.atomic import TEMPORARY, sha256_file, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

FILE_NAME = "review_gifs.json"
GREEN_RGB = (0, 255, 0)
LINE_PX = 3
PADDING = 0.1
SEQUENCES_PER_CHECKPOINT = 5
"""A sequence takes about as long as a checkpoint of other stages: up to `max_frames` images are read and encoded twice."""

Image = NDArray[np.uint8]
_DIGEST_DIGITS = 16


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be shown."""

    frame_id: str
    reason: str


@dataclass(frozen=True)
class SequenceGifs:
    """The GIFs of one sequence annotation.

    Attributes:
        sequence_id: of the sequence annotation.
        main: name of the GIF of whole frames within the artifact, None where there is none.
        crop: name of the GIF of the part with the box, likewise.
        frames: pictures in each.
        thinned_frames: frames left out because the sequence is longer than `max_frames`.
        skipped_images: images that are missing or damaged.
        size: bytes of both files.
        reason: why there are no GIFs, None where there are.
    """

    sequence_id: str
    main: str | None
    crop: str | None
    frames: int
    thinned_frames: int
    skipped_images: tuple[SkippedImage, ...]
    size: int
    reason: str | None


def read(path: Path) -> dict[str, SequenceGifs]:
    """Read `review_gifs.json`: the GIFs by sequence annotation.

    Raises:
        InputError: the file is missing or is none of this kind.
    """
    try:
        return {name: _from_json(name, stored) for name, stored in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no list of review GIFs ({error!r}). Materialize `review_gifs` again.") from error


def links(store: ArtifactStore, artifact: Artifact, seconds: int = 3600) -> dict[str, dict[str, str | None]]:
    """Addresses of the GIFs for a browser, `main` and `crop` by sequence annotation, made now and never to be stored.

    None where there is no GIF, or where the store's files have no address of their own.
    """
    return {
        name: {
            kind: None if file is None else store.link(artifact, file, seconds) for kind, file in (("main", each.main), ("crop", each.crop))
        }
        for name, each in read(artifact.file(FILE_NAME)).items()
    }


def make_review_gifs(
    registry: FrameRegistry,
    image_file: Callable[[str], Path],
    sequences: Sequence[SequenceAnnotation],
    settings: GifSettings,
    draft: Draft,
    *,
    progress: Progress = no_progress,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make the GIFs of these sequence annotations, `settings.max_concurrent` at a time.

    Args:
        registry: the frames of the recording.
        image_file: where an image of the registry is; `InputError` where it is not.
        sequences: see `chosen`.
        settings: size, quality, how many at a time, whether to go on after an error.
        draft: where the files go.
        progress: told how many frames are shown.
        tell: told the steps of each sequence, for a debug log.

    Returns:
        Counts.

    Raises:
        OSError: the GIFs of a sequence could not be written, and `settings.continue_on_error` is off.
    """
    maker = _Maker(
        {frame.frame_id: frame for frame in registry.frames}, registry.width, registry.height, image_file, settings, draft.directory
    )
    log = draft.log("gifs.jsonl")
    begun = int(draft.state.get("sequences", 0))
    done, total = int(draft.state.get("done", 0)), sum(len(each.boxes) for each in sequences)
    for number, (sequence, (made, steps)) in enumerate(
        map_ordered(maker.make, sequences[begun:], settings.max_concurrent), start=begun + 1
    ):
        tell("\n  ".join([f"{sequence.sequence_id}:", *steps]))
        log.append(asdict(made))
        done += len(sequence.boxes)
        progress(done, total)
        if number % SEQUENCES_PER_CHECKPOINT == 0:
            draft.checkpoint({"done": done, "sequences": number})
    index = {stored.pop("sequence_id"): stored for stored in log}
    write_json(draft.directory / FILE_NAME, index)
    return _counts([_from_json(name, stored) for name, stored in index.items()])


def chosen(annotations: SequenceAnnotations, annotation_ids: Iterable[str]) -> list[SequenceAnnotation]:
    """The sequence annotations with these ids; all for none.

    Raises:
        InputError: there is no sequence annotation with such an id.
    """
    wanted = set(annotation_ids)
    unknown = sorted(wanted - {each.sequence_id for each in annotations.sequences})
    if unknown:
        raise InputError(
            f"{annotations.recording!r} has no sequence annotation {unknown[0]!r}; it has {len(annotations.sequences)}, "
            f"numbered from {annotations.recording}:s0001. See `lamm sequences`."
        )
    return [each for each in annotations.sequences if not wanted or each.sequence_id in wanted]


def shown_boxes(sequence: SequenceAnnotation, max_frames: int | None) -> list[SequenceBox]:
    """The boxes, and with them the frames, that the GIFs of a sequence show."""
    count = len(sequence.boxes)
    return [sequence.boxes[number] for number in spread(count, max_frames or count)]


def crop_xyxy(boxes_xyxyn: Sequence[BoxXyxy], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the images that a crop shows: the mean box with `PADDING` of its width and height on each side, cut at the edges.

    Args:
        boxes_xyxyn: at least one, in shares of the image.
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        Left, top, right, bottom in pixels, the latter two exclusive; at least one pixel wide and high.
    """
    x1, y1, x2, y2 = np.mean(np.array(boxes_xyxyn, np.float64), axis=0).tolist()
    left, right = _padded(x1 * width, x2 * width, width)
    top, bottom = _padded(y1 * height, y2 * height, height)
    return left, top, right, bottom


def planned(
    registry: FrameRegistry, sequences: Iterable[SequenceAnnotation], settings: GifSettings, there: Callable[[str], bool]
) -> list[dict[str, Any]]:
    """What `make_review_gifs` would make, for people: a row for each sequence annotation.

    Args:
        registry: the frames of the recording.
        sequences: see `chosen`.
        settings: size and number of frames.
        there: whether an image of the registry is published.
    """
    published = {frame.frame_id for frame in registry.frames if frame.image_left is not None and there(frame.image_left)}
    rows = []
    for sequence in sequences:
        boxes = shown_boxes(sequence, settings.max_frames)
        usable = sum(box.frame_id in published for box in boxes)
        left, top, right, bottom = crop_xyxy([box.box_xyxyn for box in sequence.boxes], registry.width, registry.height)
        rows.append(
            {
                "sequence": sequence.sequence_id,
                "class": sequence.class_id,
                "frames": usable,
                "thinned_frames": len(sequence.boxes) - len(boxes),
                "missing_images": len(boxes) - usable,
                "main": _size(registry.width, registry.height, settings.max_width),
                "crop": _size(right - left, bottom - top, settings.max_width),
            }
        )
    return rows


@dataclass(frozen=True)
class _Maker:
    """Makes the GIFs of single sequences; used by several threads."""

    records: dict[str, FrameRecord]
    width: int
    height: int
    image_file: Callable[[str], Path]
    settings: GifSettings
    folder: Path

    def make(self, sequence: SequenceAnnotation) -> tuple[SequenceGifs, list[str]]:
        """The GIFs of a sequence, and what was done, for the log."""
        try:
            return self._make(sequence)
        except (InputError, OSError, cv2.error) as error:
            if not self.settings.continue_on_error:
                raise
            return _none(sequence, (), f"failed: {error}"), [f"failed: {error}"]

    def _make(self, sequence: SequenceAnnotation) -> tuple[SequenceGifs, list[str]]:
        boxes = shown_boxes(sequence, self.settings.max_frames)
        part = crop_xyxy([box.box_xyxyn for box in sequence.boxes], self.width, self.height)
        render = {
            "main": partial(_whole, max_width=self.settings.max_width),
            "crop": partial(_part, part, max_width=self.settings.max_width),
        }
        steps: list[str] = []
        skipped: list[SkippedImage] = []
        samples = list(islice(self._pictures(_spread_first(boxes), [], []), PALETTE_FRAMES))
        if not samples:
            list(self._pictures(boxes, skipped, steps))
            return _none(sequence, tuple(skipped), f"none of its {len(boxes)} images can be used"), steps
        files = {kind: self.folder / f".{uuid.uuid4().hex}{TEMPORARY}" for kind in render}
        writers: dict[str, GifWriter] = {}
        names, sizes = {}, {}
        with ExitStack() as until_done:
            for kind, rendered in render.items():
                pictures = [rendered(box, image) for box, image in samples]
                height, width = pictures[0].shape[:2]
                palette = choose_palette(pictures, self.settings.quality, [GREEN_RGB] if kind == "main" else [])
                until_done.callback(files[kind].unlink, missing_ok=True)
                writers[kind] = until_done.enter_context(GifWriter(files[kind], width, height, palette))
                steps.append(f"{kind}: {width}x{height}, quality {self.settings.quality}")
            del samples, pictures
            for box, image in self._pictures(boxes, skipped, steps):
                for kind, writer in writers.items():
                    writer.add(render[kind](box, image))
            for kind, writer in writers.items():
                writer.close()
                sizes[kind] = files[kind].stat().st_size
                names[kind] = self._named(files[kind], sequence, kind)
                steps.append(f"{kind}: {writer.frames} frames, {sizes[kind]} bytes, {names[kind]}")
        frames = len(boxes) - len(skipped)
        thinned = len(sequence.boxes) - len(boxes)
        size = sum(sizes.values())
        return SequenceGifs(sequence.sequence_id, names["main"], names["crop"], frames, thinned, tuple(skipped), size, None), steps

    def _pictures(self, boxes: Iterable[SequenceBox], skipped: list[SkippedImage], steps: list[str]) -> Iterator[tuple[SequenceBox, Image]]:
        """The boxes whose images can be used, with these."""
        for box in boxes:
            image = self._image(box.frame_id)
            if isinstance(image, str):
                skipped.append(SkippedImage(box.frame_id, image))
                steps.append(f"{box.frame_id} is left out: {image}")
            else:
                steps.append(f"{box.frame_id} read")
                yield box, image

    def _image(self, frame_id: str) -> Image | str:
        """The image `(height, width, 3)` BGR of a frame, or why it cannot be used."""
        record = self.records.get(frame_id)
        if record is None or record.image_left is None:
            return "the frame is not among the extracted ones"
        try:
            path = self.image_file(record.image_left)
        except InputError:
            return f"{record.image_left} is missing"
        image = read_image(path)
        if image is None:
            return f"{record.image_left} is {'damaged' if path.is_file() else 'missing'}"
        height, width = image.shape[:2]
        if (width, height) != (self.width, self.height):
            return f"{record.image_left} is {width}x{height} instead of {self.width}x{self.height}"
        return image

    def _named(self, file: Path, sequence: SequenceAnnotation, kind: str) -> str:
        """Put a finished GIF where it belongs; returns its name within the artifact."""
        number = sequence.sequence_id.rpartition(":s")[2]
        name = f"gifs/sequence_{number}/{kind}_{sha256_file(file)[:_DIGEST_DIGITS]}.gif"
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
        return name


def _whole(box: SequenceBox, image_bgr: Image, max_width: int | None) -> Image:
    """A whole frame with its box, RGB. The line is drawn last, so that it is as thick in a shrunk picture."""
    picture = np.ascontiguousarray(_shrunk(image_bgr, max_width)[:, :, ::-1])
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (round(share * size) for share, size in zip(box.box_xyxyn, (width, height, width, height), strict=True))
    for beside in range(-(LINE_PX // 2), LINE_PX // 2 + 1):  # OpenCV draws a thickness of 3 with five pixels
        cv2.rectangle(picture, (x1 - beside, y1 - beside), (x2 + beside, y2 + beside), GREEN_RGB, 1)
    return picture


def _part(part_xyxy: tuple[int, int, int, int], _: SequenceBox, image_bgr: Image, max_width: int | None) -> Image:
    """The part of a frame that a crop shows, RGB."""
    left, top, right, bottom = part_xyxy
    return np.ascontiguousarray(_shrunk(image_bgr[top:bottom, left:right], max_width)[:, :, ::-1])


def _shrunk(image: Image, max_width: int | None) -> Image:
    height, width = image.shape[:2]
    size = _shrunk_size(width, height, max_width)
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _shrunk_size(width: int, height: int, max_width: int | None) -> tuple[int, int]:
    if max_width is None or width <= max_width:
        return width, height
    return max_width, max(1, round(height * max_width / width))


def _size(width: int, height: int, max_width: int | None) -> str:
    return "x".join(str(each) for each in _shrunk_size(width, height, max_width))


def _padded(start: float, end: float, size: int) -> tuple[int, int]:
    padding = PADDING * (end - start)
    low, high = (round(edge, 6) for edge in (start - padding, end + padding))  # shares of the image are pixels up to rounding errors
    first = min(max(0, math.floor(low)), size - 1)
    return first, max(first + 1, min(size, math.ceil(high)))


def _spread_first(boxes: Sequence[SequenceBox]) -> list[SequenceBox]:
    """The boxes in another order: first some from all over the sequence, then the others."""
    first = list(spread(len(boxes), PALETTE_FRAMES))
    return [boxes[number] for number in dict.fromkeys([*first, *range(len(boxes))])]


def _none(sequence: SequenceAnnotation, skipped: tuple[SkippedImage, ...], reason: str) -> SequenceGifs:
    return SequenceGifs(sequence.sequence_id, None, None, 0, 0, skipped, 0, reason)


def _from_json(sequence_id: str, stored: dict[str, Any]) -> SequenceGifs:
    skipped = tuple(SkippedImage(**each) for each in stored["skipped_images"])
    return SequenceGifs(sequence_id, **{**stored, "skipped_images": skipped})


def _counts(made: Sequence[SequenceGifs]) -> dict[str, Any]:
    return {
        "sequences": len(made),
        "gifs": sum((each.main is not None) + (each.crop is not None) for each in made),
        "frames": sum(each.frames for each in made),
        "thinned_frames": sum(each.thinned_frames for each in made),
        "skipped_images": sum(len(each.skipped_images) for each in made),
        "bytes": sum(each.size for each in made),
        "without_gifs": [{"sequence": each.sequence_id, "reason": each.reason} for each in made if each.reason is not None],
    }
