"""The truth of points: SemanticKITTI's `.label` files, or ground and obstacles derived from 3D boxes and the ground plane."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.ground_plane import GroundPlane
from lamm_pipeline.storage.atomic import digest_json, sha256_file
from lamm_pipeline.uncertainty.predictions import UNKNOWN_LABEL
from lamm_pipeline.uncertainty.scores import BadPredictionError

GROUND, OBSTACLE = "ground", "obstacle"
GROUND_BAND_M = 0.15
"""Points nearer to the ground plane than this are ground, unless they lie in a box: then nobody knows."""
OBSTACLE_FROM_M = 0.5
"""Points higher than this are obstacles, in a box or not; what lies between is not known."""
BOX_MARGIN_M = 0.05

_CLASS_BITS = 0xFFFF


@dataclass(frozen=True)
class ClassMap:
    """Names of the numbers in label files; numbers without a name are unlabelled."""

    names: Mapping[int, str]

    def indices(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Which class of an evaluation each number is: a table to look up numbers in, -1 for those it has no class for."""
        table = np.full(_CLASS_BITS + 1, UNKNOWN_LABEL, np.int64)
        for number, name in self.names.items():
            if name in classes:
                table[number] = classes.index(name)
        return table


def read_class_map(path: Path) -> ClassMap:
    """Read a class map: a YAML or JSON object of label numbers and class names, null for unlabelled.

    Raises:
        InputError: it is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        stored = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        names = {int(number): str(name) for number, name in stored.items() if name is not None}
    except FileNotFoundError:
        raise InputError(f"There is no class map {path}. Give the path of a YAML or JSON file.") from None
    except (UnicodeDecodeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"{path} is no class map ({error}): it is to hold lines such as `40: ground`.") from None
    wrong = [number for number in names if not 0 <= number <= _CLASS_BITS]
    if wrong:
        raise InputError(f"{path} names the label {wrong[0]}; labels are whole numbers from 0 to {_CLASS_BITS}.")
    return ClassMap(names)


def label_file(folder: Path, recording: str, index: int) -> Path:
    """Where the labels of a frame lie: `<folder>/<recording>/<index:06d>.label`."""
    return folder / recording / f"{index:06d}.label"


def labels_digest(folder: Path, recording: str, class_map: ClassMap) -> str:
    """Digest of all label files of a recording and of the class map."""
    files = [[path.name, sha256_file(path)] for path in sorted((folder / recording).glob("*.label"))]
    return digest_json([files, {str(number): name for number, name in class_map.names.items()}])


def read_labels(path: Path, table: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Read a SemanticKITTI label file: a little-endian uint32 for each point, whose low 16 bits are the class, the others the instance.

    Args:
        path: of the file.
        table: see `ClassMap.indices`.
        points: of the frame.

    Returns:
        `(points,)` index of the class, -1 = not known.

    Raises:
        BadPredictionError: the file has another number of points.
    """
    raw = np.fromfile(path, "<u4")
    if path.stat().st_size != 4 * points:
        raise BadPredictionError("wrong labels", f"{path.name} has {path.stat().st_size} bytes, not 4 for each of {points} points")
    found: NDArray[np.int64] = table[raw & _CLASS_BITS]
    return found


def derive_labels(points: NDArray[np.floating], boxes: Iterable[Box3D], ground: GroundPlane | None) -> NDArray[np.int64]:
    """Which points are ground (0) and which are obstacles (1), as far as boxes and the ground plane tell; -1 = they do not.

    Args:
        points: `(N, 3)` in the rectified left camera, metres.
        boxes: objects of the frame.
        ground: its ground plane, None when none was found: only points in boxes are known then.

    Returns:
        `(N,)` indices.
    """
    labels = np.full(len(points), UNKNOWN_LABEL, np.int64)
    height = np.full(len(points), np.inf) if ground is None else ground.height_above(points)
    if ground is not None:
        labels[height > OBSTACLE_FROM_M] = 1
        labels[np.abs(height) < GROUND_BAND_M] = 0
    for box in boxes:
        # what is low in a box is a wheel, a foot, or the ground below
        inside = _inside(points, box)
        labels[inside] = np.where(height[inside] < GROUND_BAND_M, UNKNOWN_LABEL, 1)
    return labels


def _inside(points: NDArray[np.floating], box: Box3D) -> NDArray[np.bool_]:
    x, y, z = (points[:, axis] - centre for axis, centre in enumerate((box.x, box.y, box.z)))
    cos, sin = np.cos(box.rotation_y), np.sin(box.rotation_y)
    along, across = cos * x - sin * z, sin * x + cos * z
    return np.asarray(
        (np.abs(along) <= box.length / 2 + BOX_MARGIN_M)
        & (np.abs(across) <= box.width / 2 + BOX_MARGIN_M)
        & (y <= BOX_MARGIN_M)
        & (y >= -box.height - BOX_MARGIN_M)
    )
