"""The truth of points from label files and from boxes with the ground plane."""

import math
from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import corners
from lamm_pipeline.geometry.ground_plane import GroundPlane
from lamm_pipeline.uncertainty.labels import ClassMap, derive_labels, labels_digest, read_class_map, read_labels
from lamm_pipeline.uncertainty.scores import BadPredictionError

STREET = GroundPlane((0.0, -1.0, 0.0), 1.5, 1.0)


def test_only_the_low_16_bits_of_a_label_are_the_class(tmp_path: Path) -> None:
    path = tmp_path / "000000.label"
    np.array([40, 40 | 9 << 16, 10, 0xFFFF, 0], "<u4").tofile(path)
    table = ClassMap({40: "ground", 10: "car", 0xFFFF: "sky"}).indices(("car", "ground"))
    assert read_labels(path, table, 5).tolist() == [1, 1, 0, -1, -1]
    for points in (4, 6):
        with pytest.raises(BadPredictionError, match="20 bytes, not 4 for each"):
            read_labels(path, table, points)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadPredictionError, match="19 bytes"):
        read_labels(path, table, 4)


def test_a_class_map_is_yaml_or_json(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("40: ground\n0: null\n10: car\n")
    (tmp_path / "map.json").write_text('{"40": "ground", "0": null, "10": "car"}')
    assert read_class_map(tmp_path / "map.yaml") == read_class_map(tmp_path / "map.json") == ClassMap({40: "ground", 10: "car"})


@pytest.mark.parametrize("text", ["- 40", "ground: 40", "40: [", "70000: car"])
def test_a_wrong_class_map_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"map\.yaml"):
        read_class_map(path)
    with pytest.raises(InputError, match="There is no class map"):
        read_class_map(tmp_path / "missing.yaml")


def test_the_digest_is_of_labels_and_map(tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    np.zeros(3, "<u4").tofile(tmp_path / "drive" / "000000.label")
    first = labels_digest(tmp_path, "drive", ClassMap({1: "a"}))
    assert labels_digest(tmp_path, "drive", ClassMap({1: "b"})) != first
    np.ones(3, "<u4").tofile(tmp_path / "drive" / "000000.label")
    assert labels_digest(tmp_path, "drive", ClassMap({1: "a"})) != first


def test_points_in_a_turned_box_are_obstacles() -> None:
    box = Box3D(3.0, 1.5, 12.0, 4.0, 2.0, 1.6, math.radians(30))
    outline = corners(box)
    inside = outline.mean(axis=0) + 0.95 * (outline - outline.mean(axis=0))
    outside = outline.mean(axis=0) + 1.2 * (outline - outline.mean(axis=0))
    assert derive_labels(inside, [box], None).tolist() == [1] * 8
    assert derive_labels(outside, [box], None).tolist() == [-1] * 8


def test_height_over_the_ground_decides_outside_of_boxes_and_what_lies_between_is_not_known() -> None:
    heights = np.array([-0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 3.0])
    points = np.column_stack([np.zeros(7), 1.5 - heights, np.full(7, 10.0)])
    assert derive_labels(points, [], STREET).tolist() == [-1, 0, 0, 0, -1, 1, 1]
    box = Box3D(0.0, 1.5, 10.0, 4.0, 2.0, 1.6, 0.0)
    assert derive_labels(points, [box], STREET).tolist() == [-1, 0, -1, -1, 1, 1, 1]
