"""Pictures that show candidates and masklets of a frame side by side, and what is to be said where there is nothing to show."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.drawing import Color, Image, draw_box, tint
from lamm_pipeline.geometry.packed_mask import Mask, resize
from lamm_pipeline.segmentation.mask_candidates import MaskCandidate
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.tracking.masklets.manifest import LevelWarning

ComparedFrame = tuple[str, int, NDArray[np.uint8] | None, Sequence[MaskCandidate], Mapping[int, Mask]]
"""Frame id, index in the recording, image `(H, W, 3)` BGR or None, candidates, masklets by id."""

NO_TARGETS = "comparison.no_targets"
MISSING_SOURCES = "comparison.missing_sources"
MISSING_MASKS = "comparison.missing_masks"
RENDER_EMPTY = "comparison.render_empty"
_MESSAGES = {
    NO_TARGETS: "No frames were chosen for comparison pictures.",
    MISSING_SOURCES: "Images of frames that were to be compared are missing or damaged.",
    MISSING_MASKS: "Frames that were to be compared have no masks, neither of candidates nor of masklets.",
    RENDER_EMPTY: "None of the comparison pictures could be made.",
}
_COLOR_SEED = 2
_TITLE_PX = 24
_GAP_PX = 6


def summary_name(level: int) -> str:
    """File name of the JSON that lists the pictures of a level."""
    return f"L{level:02d}_comparison_summary.json"


def fallback_name(level: int) -> str:
    """File name of the JSON that says why there is no picture of a level."""
    return f"L{level:02d}_no_comparisons.json"


def write_comparisons(folder: Path, frames: Iterable[ComparedFrame], level: int) -> list[LevelWarning]:
    """Draw frames, candidates on the left and masklets on the right, and write down what was drawn and what was not.

    Writes `L<level>_<frame index>.png` for each frame, a summary as JSON, and a JSON that says why when there is no picture at all.

    Args:
        folder: for the files.
        frames: the chosen ones; taken one at a time.
        level: of the candidates.

    Returns:
        A warning for each reason why frames could not be drawn, with the frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    attempted: list[int] = []
    pictures: list[dict[str, Any]] = []
    missing: dict[str, list[int]] = {MISSING_SOURCES: [], MISSING_MASKS: []}
    for frame_id, frame_index, image, candidates, masklets in frames:
        attempted.append(frame_index)
        if image is None:
            missing[MISSING_SOURCES].append(frame_index)
            continue
        if not any(each.mask_rle for each in candidates) and not any(mask.any() for mask in masklets.values()):
            missing[MISSING_MASKS].append(frame_index)
            continue
        name = f"L{level:02d}_{frame_index:06d}.png"
        _write_png(folder / name, comparison_picture(image, candidates, masklets, f"level {level}, frame {frame_index}"))
        pictures.append(_entry(name, frame_id, frame_index, candidates, masklets))
    warnings = _warnings(level, attempted, missing, len(pictures))
    issues = {code: indices for code, indices in missing.items() if indices}
    told = {"level": level, "frames_attempted": attempted, "issues": issues, "warnings": [each.to_json() for each in warnings]}
    if not pictures:
        write_json(folder / fallback_name(level), told)
    write_json(folder / summary_name(level), {**told, "rendered_count": len(pictures), "pictures": pictures})
    return warnings


def comparison_picture(image_bgr: Image, candidates: Sequence[MaskCandidate], masklets: Mapping[int, Mask], title: str) -> Image:
    """Candidates and masklets of a frame side by side.

    Args:
        image_bgr: `(H, W, 3)`.
        candidates: of the frame.
        masklets: masks by id, of the image's size or scaled to it.
        title: said above, before the numbers.

    Returns:
        `(H + title, 2 W + gap, 3)` BGR.
    """
    height, width = image_bgr.shape[:2]
    left, right = image_bgr.copy(), image_bgr.copy()
    for number, candidate in enumerate(candidates):
        color = color_of(-1 - number)
        if candidate.mask_rle is not None:
            tint(left, resize(rle.decode(candidate.mask_rle), (height, width)), color)
        draw_box(left, candidate.box_xyxy, color, _label(candidate))
    for number in sorted(masklets):
        mask = resize(masklets[number], (height, width))
        box_xyxy = _box_of(mask)
        if box_xyxy is not None:
            tint(right, mask, color_of(number))
            draw_box(right, box_xyxy, color_of(number), str(number))
    canvas = np.zeros((height + _TITLE_PX, 2 * width + _GAP_PX, 3), np.uint8)
    canvas[_TITLE_PX:, :width] = left
    canvas[_TITLE_PX:, width + _GAP_PX :] = right
    _write_title(canvas, 0, f"{title}: {len(candidates)} candidates")
    _write_title(canvas, width + _GAP_PX, f"{len(masklets)} masklets")
    return canvas


def color_of(number: int) -> Color:
    """The colour of an object, red, green, blue: the same in every frame and every run."""
    random = np.random.default_rng([_COLOR_SEED, int(number < 0), abs(number)])
    red, green, blue = colorsys.hsv_to_rgb(random.random(), 0.6 + 0.4 * random.random(), 0.8 + 0.2 * random.random())
    return round(255 * red), round(255 * green), round(255 * blue)


def _warnings(level: int, attempted: Sequence[int], missing: Mapping[str, Sequence[int]], drawn: int) -> list[LevelWarning]:
    found = [LevelWarning(code, level, _MESSAGES[code], tuple(indices)) for code, indices in missing.items() if indices]
    if not attempted:
        found.append(LevelWarning(NO_TARGETS, level, _MESSAGES[NO_TARGETS]))
    elif not drawn and len(found) > 1:
        found.append(LevelWarning(RENDER_EMPTY, level, _MESSAGES[RENDER_EMPTY], tuple(attempted)))
    return found


def _entry(name: str, frame_id: str, frame_index: int, candidates: Sequence[MaskCandidate], masklets: Mapping[int, Mask]) -> dict[str, Any]:
    listed = [
        {"candidate_id": each.candidate_id, "class_id": each.class_id, "score": each.score, "area": each.area, "bbox": list(each.box_xyxy)}
        for each in candidates
    ]
    shown = [{"masklet_id": number, "area": int(masklets[number].sum())} for number in sorted(masklets)]
    return {"picture": name, "frame_id": frame_id, "frame_index": frame_index, "candidates": listed, "masklets": shown}


def _label(candidate: MaskCandidate) -> str:
    said = [candidate.class_id or "", "" if candidate.score is None else f"{candidate.score:.2f}"]
    return " ".join(word for word in said if word)


def _box_of(mask: Mask) -> tuple[float, float, float, float] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _write_title(canvas: Image, x: int, text: str) -> None:
    cv2.putText(canvas, text, (x + 6, _TITLE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)


def _write_png(path: Path, picture: Image) -> None:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
