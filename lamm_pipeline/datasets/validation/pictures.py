"""Pictures of what rules object to, for the report: the frame with its box and mask, small enough to lie in the page."""

import base64
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.datasets.splits.split_table import PlacedSample
from lamm_pipeline.datasets.validation.rule import Failure
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.drawing import Color, draw_box, draw_mask
from lamm_pipeline.ontology.ontology import ObjectClass
from lamm_pipeline.sample_table import Annotation, Sample

MOST = 40
WIDTH = 320
JPEG_QUALITY = 80
FARTHEST_PX = 100_000
_OFFENDER: Color = (239, 68, 68)


@dataclass(frozen=True)
class Pictured:
    """A failure that is to be shown, with the rule that told of it."""

    rule: str
    failure: Failure


@dataclass(frozen=True)
class Picture:
    """A picture of a failure.

    Attributes:
        rule: that objects.
        subject: id of the annotation or frame.
        caption: class, split and what is wrong.
        source: the picture as a data URI, None where the image cannot be read.
        width, height: of the picture, pixels.
    """

    rule: str
    subject: str
    caption: str
    source: str | None
    width: int
    height: int


def pictures(wanted: Sequence[Pictured], frames: Callable[[], Iterator[PlacedSample]], classes: Mapping[str, ObjectClass]) -> list[Picture]:
    """Draw failures.

    Args:
        wanted: in the order of the report; at most `MOST` are drawn, the rules taking turns.
        frames: streams the frames; it is read until the last one wanted has come.
        classes: for their names.

    Returns:
        In the order of `wanted`.
    """
    chosen = _in_turns([each for each in wanted if each.failure.frame_id is not None])
    by_frame: defaultdict[str | None, list[int]] = defaultdict(list)
    for place, each in enumerate(chosen):
        by_frame[each.failure.frame_id].append(place)
    drawn: dict[int, Picture] = {}
    for frame in frames() if by_frame else ():
        for place in by_frame.pop(frame.sample.frame_id, ()):
            drawn[place] = _picture(chosen[place], frame, classes)
        if not by_frame:
            break
    return [drawn[place] for place in sorted(drawn)]


def _in_turns(wanted: Sequence[Pictured]) -> list[Pictured]:
    """The first of every rule, then the second of every rule, until there are enough; put back into the order they came in."""
    turns: defaultdict[str, int] = defaultdict(int)
    numbered = []
    for place, each in enumerate(wanted):
        numbered.append((turns[each.rule], place))
        turns[each.rule] += 1
    return [wanted[place] for place in sorted(place for _, place in sorted(numbered)[:MOST])]


def _picture(pictured: Pictured, frame: PlacedSample, classes: Mapping[str, ObjectClass]) -> Picture:
    sample, failure = frame.sample, pictured.failure
    annotation = next((each for each in sample.annotations if each.detection_id == failure.detection_id), None)
    words = [frame.split or "in no split", failure.detail]
    if annotation is not None:
        known = classes.get(annotation.class_id)
        words.insert(0, annotation.class_id if known is None else known.name)
    image = _read(sample)
    if image is None:
        return Picture(pictured.rule, failure.subject, " · ".join(words), None, WIDTH, WIDTH * 3 // 4)
    left, top, right, bottom = (0, 0, image.shape[1], image.shape[0]) if annotation is None else _around(annotation, *image.shape[1::-1])
    if annotation is not None:
        _draw_mask(image, annotation)
    size = (WIDTH, max(1, round((bottom - top) * WIDTH / (right - left))))
    small = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if annotation is not None:
        scale = WIDTH / (right - left)
        x1, y1, x2, y2 = annotation.box_xyxy
        moved = ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)
        if all(abs(side) < FARTHEST_PX for side in moved):  # false with NaN
            draw_box(small, moved, _OFFENDER)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
    return Picture(pictured.rule, failure.subject, " · ".join(words), source, *size)


def _around(annotation: Annotation, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the image to be shown: the object with as much around it again, at least a third of the image."""
    corners = np.clip(np.nan_to_num(np.array(annotation.box_xyxy)), 0, [width, height, width, height])
    (x1, x2), (y1, y2) = sorted(corners[::2].tolist()), sorted(corners[1::2].tolist())
    portion = min(1.0, max(1 / 3, 2 * (x2 - x1) / width, 2 * (y2 - y1) / height))
    shown_width, shown_height = max(1, round(portion * width)), max(1, round(portion * height))
    left = round(min(max(0.0, (x1 + x2 - shown_width) / 2), width - shown_width))
    top = round(min(max(0.0, (y1 + y2 - shown_height) / 2), height - shown_height))
    return left, top, left + shown_width, top + shown_height


def _read(sample: Sample) -> NDArray[np.uint8] | None:
    path = sample.path(sample.image)
    try:
        encoded = b"" if path is None else path.read_bytes()
    except OSError:
        return None
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    return None if image is None else image.astype(np.uint8, copy=False)


def _draw_mask(image_bgr: NDArray[np.uint8], annotation: Annotation) -> None:
    """Tint the mask, unless what is wrong with it is that nobody can."""
    if annotation.mask_rle is not None and list(annotation.mask_rle["size"]) == list(image_bgr.shape[:2]):
        with suppress(InputError):
            draw_mask(image_bgr, annotation.mask_rle, _OFFENDER)
