"""Predictions made elsewhere, as files.

- S4 JSON: `{"predictions": [{"xyxyn": [x1, y1, x2, y2], "confidence": 0..1, "class_name": text}]}` a frame, boxes in shares of the image:
  one file `{frame key: {...}}`, or `{recording: {frame key: {...}}}`, or a folder with a file a frame (`<frame key>.json`,
  `<recording>/<frame key>.json`).
- COCO: one file with the lists `images`, `annotations` (or `predictions`) and `categories`, or a bare list of results beside a file with
  the other lists. Boxes are x, y, width, height in pixels; masks are polygons or runs. An image is named by its `frame_id`, as our own
  files have it, else by its `file_name`.

Everything is checked when it is read. Whose frame a key means is settled in `prediction_matching.py`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import digest_json, sha256_file

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True)
class Prediction:
    """One object, as a file has it.

    Attributes:
        label: the class in the file's words; None where it has only a number.
        category_id: the class as a number of the ontology, only without `label`.
        confidence: in 0..1, None where the file has none.
        box_xyxy: corners, None where only the mask is given.
        in_shares: True when the corners are shares of the image's width and height instead of pixels.
        segmentation: COCO polygons or runs, None without a mask.
        detection_id: our detection that it was made from, as files for labelling tools have it; None elsewhere.
    """

    label: str | None
    category_id: int | None
    confidence: float | None
    box_xyxy: BoxXyxy | None
    in_shares: bool
    segmentation: Any
    detection_id: str | None = None


@dataclass(frozen=True)
class PredictedFrame:
    """What was predicted for one image; nothing is a prediction too.

    Attributes:
        key: how the file names the frame.
        size: width and height of the image in pixels, None where the file does not say.
        predictions: in the file's order.
    """

    key: str
    size: tuple[int, int] | None
    predictions: tuple[Prediction, ...]


def read_predictions(path: Path, images: Path | None = None) -> tuple[PredictedFrame, ...]:
    """Read all predictions of a file or folder.

    Args:
        path: JSON file, or folder of JSON files.
        images: COCO file with the lists `images` and `categories`, for a `path` that is a bare list of results.

    Raises:
        InputError: something is missing or not as the formats have it; the sentence names file and frame.
    """
    if path.is_dir():
        files = _frame_files(path)
        return tuple(_s4_frame(file.relative_to(path).with_suffix("").as_posix(), _load(file), file) for file in files)
    document = _load(path)
    if isinstance(document, list):
        return _coco_frames(document, _load(images) if images is not None else {}, path)
    if "images" in document:
        results = document.get("annotations", document.get("predictions"))
        if not isinstance(results, list):
            raise InputError(f"{path} has a list `images`, but no list `annotations` or `predictions` beside it.")
        return _coco_frames(results, document, path)
    if "predictions" in document:
        raise InputError(f"{path} has the predictions of one frame, but does not say which; write {{frame key: {{predictions: [...]}}}}.")
    return tuple(_s4_tree(document, path))


def digest_predictions(path: Path, images: Path | None = None) -> str:
    """Hex SHA-256 of all that `read_predictions` reads; of a folder, also of the names in it."""
    _refuse_missing(path)
    parts = {file.relative_to(path).as_posix(): sha256_file(file) for file in _frame_files(path)} if path.is_dir() else sha256_file(path)
    if images is None:
        return digest_json(parts) if isinstance(parts, dict) else parts
    _refuse_missing(images)
    return digest_json([parts, sha256_file(images)])


def _frame_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise InputError(f"The folder {folder} has no JSON file; expected is one a frame, such as {folder / '000012.json'}.")
    return files


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise InputError(f"The predictions {path} do not exist; set `predictions` to a JSON file or a folder of JSON files.")


def _load(path: Path) -> Any:
    _refuse_missing(path)
    try:
        document = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The predictions {path} are not valid JSON ({error}).") from error
    if not isinstance(document, dict | list):
        raise InputError(f"The predictions {path} are neither a JSON object nor a list.")
    return document


def _s4_tree(document: Mapping[str, Any], path: Path) -> Iterator[PredictedFrame]:
    for key, value in document.items():
        if not isinstance(value, dict):
            raise InputError(f"Under {key!r} {path} has no object with a list `predictions`; it is neither S4 JSON nor COCO.")
        if "predictions" in value:
            yield _s4_frame(key, value, path)
        else:
            yield from (_s4_frame(f"{key}/{frame}", inner, path) for frame, inner in value.items())


def _s4_frame(key: str, value: Any, path: Path) -> PredictedFrame:
    entries = value.get("predictions") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"Frame {key!r} of {path} has no list `predictions`.")
    found = []
    for number, entry in enumerate(entries, start=1):
        where = f"Prediction {number} of frame {key!r} of {path}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} is not an object with xyxyn, confidence and class_name.")
        label = entry.get("class_name")
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"{where} has no class_name.")
        confidence = _confidence(entry.get("confidence"), "confidence", where)
        corners = _four_numbers(entry.get("xyxyn"), "xyxyn", "[x1, y1, x2, y2] in shares of width and height", where)
        if max(map(abs, corners)) > 2.0:
            raise InputError(f"{where} has the xyxyn {list(corners)}; they are shares of width and height (0 to 1), not pixels.")
        found.append(Prediction(label.strip(), None, confidence, corners, True, None))
    return PredictedFrame(key, None, tuple(found))


def _coco_frames(results: list[Any], lists: Any, path: Path) -> tuple[PredictedFrame, ...]:
    if not isinstance(lists, dict):
        raise InputError(f"The file `predictions_images` beside {path} is not a COCO file: it has no list `images`.")
    images = {each["id"]: each for each in _entries(lists, "images", ("id", "file_name"), path)}
    names = {each["id"]: str(each["name"]) for each in _entries(lists, "categories", ("id", "name"), path)}
    frames: dict[str, list[Prediction]] = {_image_key(image): [] for image in images.values()}
    for number, result in enumerate(results, start=1):
        where = f"Result {number} of {path}"
        if not isinstance(result, dict):
            raise InputError(f"{where} is not an object with image_id, category_id, bbox and score.")
        frames.setdefault(_coco_key(result, images, where), []).append(_coco_prediction(result, names, where))
    sizes = {_image_key(image): _size(image) for image in images.values()}
    return tuple(PredictedFrame(key, sizes.get(key), tuple(found)) for key, found in frames.items())


def _entries(lists: Mapping[str, Any], name: str, keys: tuple[str, str], path: Path) -> list[dict[str, Any]]:
    entries = lists.get(name, [])
    complete = isinstance(entries, list) and all(isinstance(each, dict) and all(key in each for key in keys) for each in entries)
    if not complete or not all(isinstance(each["id"], int | str) for each in entries):
        raise InputError(f"The list `{name}` that belongs to {path} is not COCO's: every entry needs {' and '.join(keys)}.")
    return list(entries)


def _coco_key(result: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]], where: str) -> str:
    if isinstance(result.get("file_name"), str):
        return str(result["file_name"])
    image_id = result.get("image_id")
    if not isinstance(image_id, int | str):
        raise InputError(f"{where} has neither image_id nor file_name.")
    if image_id in images:
        return _image_key(images[image_id])
    if isinstance(image_id, str):
        return image_id
    if not images:
        raise InputError(f"{where} has the image_id {image_id}, but no list `images` says which frame that is; set `predictions_images`.")
    return f"image_id {image_id}"


def _image_key(image: Mapping[str, Any]) -> str:
    frame_id = image.get("frame_id")
    return frame_id if isinstance(frame_id, str) else str(image["file_name"])


def _coco_prediction(result: Mapping[str, Any], names: Mapping[Any, str], where: str) -> Prediction:
    label, number = result.get("category"), result.get("category_id")
    if not isinstance(label, str):
        if not isinstance(number, int) or isinstance(number, bool):
            raise InputError(f"{where} has neither category_id (a whole number) nor category (a name).")
        label = names.get(number)
        if label is None and names:
            label = f"category_id {number}"
    segmentation = result.get("segmentation") or None
    box = None
    if result.get("bbox") is not None or segmentation is None:
        x, y, width, height = _four_numbers(result.get("bbox"), "bbox", "[x, y, width, height] in pixels", where)
        box = (x, y, x + width, y + height)
    confidence = _confidence(result.get("score"), "score", where)
    attributes = result.get("attributes")
    detection_id = result.get("detection_id") or (attributes.get("detection_id") if isinstance(attributes, dict) else None)
    made_from = detection_id if isinstance(detection_id, str) else None
    return Prediction(label, number if label is None else None, confidence, box, False, segmentation, made_from)


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _confidence(value: Any, name: str, where: str) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not 0.0 <= value <= 1.0:
        raise InputError(f"{where} has the {name} {value!r}; it must be a number from 0 to 1, or null.")
    return float(value)


def _four_numbers(value: Any, name: str, form: str, where: str) -> BoxXyxy:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise InputError(f"{where} has the {name} {value!r}; it must be {form}.")
    a, b, c, d = map(float, value)
    return a, b, c, d


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
