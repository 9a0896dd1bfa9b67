"""Pictures that show candidates and masklets of a frame side by side, and what is to be said where there is nothing to show."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import box_of_mask
from lamm_pipeline.geometry.drawing import Image, distinct_color, draw_box, tint
from lamm_pipeline.geometry.packed_mask import Mask, resize
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
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
_SIDE_PX = 640
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
    """Candidates and masklets of a frame side by side; wide images are made smaller.

    Args:
        image_bgr: `(H, W, 3)`.
        candidates: of the frame.
        masklets: masks by id, of the image's size or scaled to it.
        title: said above, before the numbers.

    Returns:
        BGR, two pictures of the frame and a line of text above them.
    """
    scale = min(1.0, _SIDE_PX / image_bgr.shape[1])
    height, width = (max(1, round(side * scale)) for side in image_bgr.shape[:2])
    left = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    right = left.copy()
    for number, candidate in enumerate(candidates):
        if candidate.mask_rle is not None:
            tint(left, resize(rle.decode(candidate.mask_rle), (height, width)), distinct_color(-1 - number))
    for number, candidate in enumerate(candidates):
        x1, y1, x2, y2 = candidate.box_xyxy
        box_xyxy = (x1 * scale, y1 * scale, x2 * scale, y2 * scale)
        draw_box(left, box_xyxy, distinct_color(-1 - number), _label(candidate))
    masks = {number: resize(masklets[number], (height, width)) for number in sorted(masklets)}
    for number, mask in masks.items():
        tint(right, mask, distinct_color(number))
    for number, mask in masks.items():
        around_xyxy = box_of_mask(mask)
        if around_xyxy is not None:
            draw_box(right, around_xyxy, distinct_color(number), str(number))
    canvas = np.zeros((height + _TITLE_PX, 2 * width + _GAP_PX, 3), np.uint8)
    canvas[_TITLE_PX:, :width] = left
    canvas[_TITLE_PX:, width + _GAP_PX :] = right
    _write_title(canvas, 0, f"{title}: {len(candidates)} candidates")
    _write_title(canvas, width + _GAP_PX, f"{len(masklets)} masklets")
    return canvas


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


def _write_title(canvas: Image, x: int, text: str) -> None:
    cv2.putText(canvas, text, (x + 6, _TITLE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)


def _write_png(path: Path, picture: Image) -> None:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
