"""KITTI's label files, exactly: object labels (15 columns, 16 with a score) and tracking labels (frame and track id in front).

    type truncated occluded alpha x1 y1 x2 y2 height width length x y z rotation_y [score]

Locations are bottom centres in the rectified left-camera frame. `DontCare` regions have -1, -10 and -1000 in place of what they lack, and
so have objects that only have a 2D box. Source: readme.txt of KITTI's object and tracking development kits.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import BoxXyxy
from lamm_pipeline.ontology.ontology import KITTI_TYPES

DONT_CARE = "DontCare"
NO_BOX_3D = Box3D(x=-1000.0, y=-1000.0, z=-1000.0, length=-1.0, width=-1.0, height=-1.0, rotation_y=-10.0)
"""What stands in a line without a 3D box."""
NO_ALPHA = -10.0

# the blanks of height width length x y z rotation_y; the tracking labels have theirs one column off, and readers expect that
_BLANKS_OBJECT = (-1.0, -1.0, -1.0, -1000.0, -1000.0, -1000.0, -10.0)
_BLANKS_TRACKING = (-1000.0, -1000.0, -1000.0, -10.0, -1.0, -1.0, -1.0)
# the tracking kit writes `Person` where the object kit has `Person_sitting`
_TYPES = KITTI_TYPES | {DONT_CARE, "Person"}
_COLUMNS = 15
_ANGLE_LIMIT = math.pi + 0.01


@dataclass(frozen=True)
class KittiObject:
    """One line.

    Attributes:
        type: one of KITTI's types, or `DontCare`.
        truncated: share of the object outside the image, 0..1; -1 unknown. Tracking labels hold the levels 0, 1, 2 here.
        occluded: 0 visible, 1 partly, 2 largely occluded, 3 unknown; -1 in `DontCare` lines.
        alpha: observation angle, -10 unknown.
        box_xyxy: pixels in the left image.
        box: `NO_BOX_3D` where there is none.
        score: of a prediction, higher is better; None in ground truth.
        track_id: identity in tracking files, -1 in their `DontCare` lines; None in object files.
    """

    type: str
    truncated: float
    occluded: int
    alpha: float
    box_xyxy: BoxXyxy
    box: Box3D
    score: float | None = None
    track_id: int | None = None

    @property
    def has_box_3d(self) -> bool:
        """Whether the line says where the object is in space."""
        return self.box.length > 0.0


def dont_care(box_xyxy: BoxXyxy, track_id: int | None = None) -> KittiObject:
    """A region in which nothing is to be counted."""
    return KittiObject(DONT_CARE, -1.0, -1, NO_ALPHA, box_xyxy, NO_BOX_3D, None, track_id)


def parse_line(line: str) -> KittiObject:
    """Read one line of an object label file.

    Raises:
        ValueError: the line is not KITTI's; the message says why.
    """
    fields = line.split()
    if len(fields) not in (_COLUMNS, _COLUMNS + 1):
        raise ValueError(f"it has {len(fields)} columns, KITTI's object labels have 15 or, with a score, 16")
    kind = fields[0]
    if kind not in _TYPES:
        raise ValueError(f"the type is {kind!r}; KITTI knows {', '.join(sorted(_TYPES))}")
    values = [_number(field) for field in fields[1:]]
    truncated, occluded, angle, x1, y1, x2, y2, height, width, length, x, y, z, rotation_y = values[:14]
    if truncated != -1.0 and not 0.0 <= truncated <= 2.0:
        raise ValueError(f"truncated is {truncated:g}; it must be 0 to 1 (levels 0 to 2 in tracking labels) or -1")
    if occluded not in (-1.0, 0.0, 1.0, 2.0, 3.0):
        raise ValueError(f"occluded is {occluded:g}; it must be 0, 1, 2, 3 or -1")
    if x2 < x1 or y2 < y1:
        raise ValueError(f"the 2D box {x1:g} {y1:g} {x2:g} {y2:g} ends before it starts")
    box = Box3D(x=x, y=y, z=z, length=length, width=width, height=height, rotation_y=rotation_y)
    if tuple(values[7:14]) in (_BLANKS_OBJECT, _BLANKS_TRACKING):
        box = NO_BOX_3D
    if box != NO_BOX_3D and min(height, width, length) <= 0.0:
        raise ValueError(f"the size {height:g} {width:g} {length:g} is not positive")
    if box != NO_BOX_3D and abs(rotation_y) > _ANGLE_LIMIT:
        raise ValueError(f"rotation_y is {rotation_y:g}; it must be -pi to pi")
    if angle != NO_ALPHA and abs(angle) > _ANGLE_LIMIT:
        raise ValueError(f"alpha is {angle:g}; it must be -pi to pi, or -10")
    score = values[14] if len(values) > 14 else None
    return KittiObject(kind, truncated, int(occluded), angle, (x1, y1, x2, y2), box, score)


def format_line(item: KittiObject) -> str:
    """Write one line of an object label file, without the line break; the score is left out where it is None."""
    return " ".join([item.type, *_columns(item)])


def read(path: Path) -> list[KittiObject]:
    """Read an object label file.

    Raises:
        InputError: a line is not KITTI's; the message names file and line.
    """
    return [_parsed(path, number, line) for number, line in _lines(path)]


def write(path: Path, objects: Iterable[KittiObject]) -> None:
    """Write an object label file; without objects it is empty, as KITTI's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{format_line(item)}\n" for item in objects), encoding="ascii", newline="\n")


def read_tracking(path: Path) -> dict[int, list[KittiObject]]:
    """Read a tracking label file (rows `frame track_id type ...`).

    Returns:
        The objects of each frame that has any, frames in ascending order.

    Raises:
        InputError: a line is not KITTI's; the message names file and line.
    """
    frames: dict[int, list[KittiObject]] = {}
    for number, line in _lines(path):
        head = line.split(maxsplit=2)
        try:
            frame, track_id = int(head[0]), int(head[1])
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}:{number} does not start with frame and track id: {line!r}. Correct the line.") from error
        item = _parsed(path, number, head[2] if len(head) > 2 else "")
        frames.setdefault(frame, []).append(replace(item, track_id=track_id))
    return dict(sorted(frames.items()))


def write_tracking(path: Path, frames: Mapping[int, Sequence[KittiObject]]) -> None:
    """Write a tracking label file, frames in ascending order; every object needs a `track_id`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii", newline="\n") as file:
        for frame, objects in sorted(frames.items()):
            for item in objects:
                if item.track_id is None:
                    raise ValueError(f"A {item.type} of frame {frame} has no track id; a tracking label needs one.")
                file.write(" ".join([str(frame), str(item.track_id), item.type, *_tracking_columns(item)]) + "\n")


def _columns(item: KittiObject) -> list[str]:
    """The columns behind the type in an object file: two decimals, and blanks without decimals."""
    box = item.box
    space = (box.height, box.width, box.length, box.x, box.y, box.z, box.rotation_y)
    return [
        "-1" if item.truncated < 0.0 else f"{item.truncated:z.2f}",
        str(item.occluded),
        "-10" if item.alpha == NO_ALPHA else f"{item.alpha:z.2f}",
        *(f"{value:z.2f}" for value in item.box_xyxy),
        *((f"{value:z.2f}" for value in space) if item.has_box_3d else (f"{value:.0f}" for value in _BLANKS_OBJECT)),
        *([] if item.score is None else [f"{item.score:z.4f}"]),
    ]


def _tracking_columns(item: KittiObject) -> list[str]:
    """The columns behind the type in a tracking file: six decimals everywhere, but levels of truncation are whole numbers."""
    box = item.box
    space = (box.height, box.width, box.length, box.x, box.y, box.z, box.rotation_y) if item.has_box_3d else _BLANKS_TRACKING
    return [
        f"{item.truncated:.0f}" if item.truncated.is_integer() else f"{item.truncated:z.2f}",
        str(item.occluded),
        *(f"{value:z.6f}" for value in (item.alpha, *item.box_xyxy, *space)),
        *([] if item.score is None else [f"{item.score:z.6f}"]),
    ]


def _number(field: str) -> float:
    value = float(field)
    if not math.isfinite(value):
        raise ValueError(f"{field!r} is no finite number")
    return value


def _parsed(path: Path, number: int, line: str) -> KittiObject:
    try:
        return parse_line(line)
    except ValueError as error:
        raise InputError(f"{path}:{number} is no KITTI label: {error}. Correct the line.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"The label file {path} does not exist.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file, so it holds no KITTI labels.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line
