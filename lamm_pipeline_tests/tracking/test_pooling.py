"""What a whole track says about its object."""

import math

import numpy as np
import pytest

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.tracking import camera_path
from lamm_pipeline.tracking.pooling import Observation, pool
from lamm_pipeline.tracking.settings import TrackingSettings

SETTINGS = TrackingSettings()


def seen(n, box, truncated=0.0, occluded=0, typical=True):
    return Observation(0.1 * n, box, np.array([0.0, 0.0, 0.5 * n]), 0.8, truncated, occluded, typical)


def car(x=3.0, z=20.0, yaw=-1.57, length=4.0):
    return Box3D(x, 1.6, z, length, 1.7, 1.5, yaw)


@pytest.mark.requirement("TRK-02")
def test_boxes_of_a_parked_car_become_one_and_a_few_wild_ones_do_not_matter():
    random = np.random.default_rng(3)
    boxes = [car(3.0 + random.normal(0.0, 0.2), 20.0 + random.normal(0.0, 0.4), -1.57 + random.normal(0.0, 0.1)) for _ in range(20)]
    boxes[4] = car(3.0, 26.0, 0.0)
    boxes[9] = car(3.0, 20.0, -1.57 + math.pi)  # front and rear mistaken
    pooled = pool([seen(n, box) for n, box in enumerate(boxes)], SETTINGS)
    assert pooled.static
    assert len(set(pooled.boxes)) == 1
    box = pooled.boxes[0]
    assert (box.x, box.z) == (pytest.approx(3.0, abs=0.12), pytest.approx(20.0, abs=0.2))
    assert box.rotation_y == pytest.approx(-1.57, abs=0.06)


@pytest.mark.requirement("TRK-02")
def test_boxes_cut_off_at_the_image_border_hardly_count():
    whole = [seen(n, car()) for n in range(5)]
    cut = [seen(n, car(1.5, 18.5, 0.0), truncated=0.6) for n in range(5, 10)]
    box = pool([*whole, *cut], SETTINGS).boxes[0]
    assert (box.x, box.z, box.rotation_y) == (pytest.approx(3.0, abs=0.1), pytest.approx(20.0, abs=0.1), pytest.approx(-1.57, abs=0.02))


@pytest.mark.requirement("TRK-02")
def test_a_box_that_grows_keeps_the_face_the_camera_sees():
    """A van taken for a car in a few frames: its rear stays at 18 m, its length is that of a van."""
    boxes = [seen(n, car(0.0, 21.0, -math.pi / 2.0, length=6.0)) for n in range(6)]
    boxes += [seen(n, car(0.0, 20.0, -math.pi / 2.0, length=4.0), typical=False) for n in range(6, 9)]
    box = pool(boxes, SETTINGS).boxes[0]
    assert (box.length, box.z - box.length / 2.0) == (6.0, pytest.approx(18.0, abs=1e-6))


@pytest.mark.requirement("TRK-02")
def test_a_driving_car_is_smoothed_and_looks_where_it_goes():
    random = np.random.default_rng(7)
    boxes = [car(0.8 * n, 20.0 + random.normal(0.0, 0.3), random.choice([-0.4, 0.3, math.pi - 0.1])) for n in range(20)]
    pooled = pool([seen(n, box) for n, box in enumerate(boxes)], SETTINGS)
    assert not pooled.static
    assert pooled.boxes[10].rotation_y == pytest.approx(0.0, abs=0.15)
    assert np.std([box.z for box in pooled.boxes]) < 0.6 * np.std([box.z for box in boxes])
    between = pooled.at([0.1 * n for n in range(20)], 1.05)
    assert between.x == pytest.approx(8.4, abs=0.2)


@pytest.mark.requirement("TRK-02")
def test_a_thing_that_creeps_and_turns_is_not_taken_for_one_that_stands():
    """0.15 m/s and 20 degrees a second are seen at 2 m, where stereo is exact, though no two frames differ by more than the noise."""
    random = np.random.default_rng(5)
    boxes = [Box3D(0.01 * n + random.normal(0.0, 0.01), 0.8, 2.0, 0.4, 0.2, 0.4, 0.02 * n + random.normal(0.0, 0.03)) for n in range(60)]
    still = [Box3D(random.normal(0.0, 0.01), 0.8, 2.0, 0.4, 0.2, 0.4, random.normal(0.0, 0.03)) for _ in range(60)]
    camera = np.zeros(3)
    creeping, standing = (
        pool([Observation(n / 15, box, camera, 0.7, 0.0, 0) for n, box in enumerate(each)], SETTINGS) for each in (boxes, still)
    )
    assert not creeping.static
    assert standing.static
    assert creeping.boxes[45].rotation_y == pytest.approx(0.9, abs=0.1)


@pytest.mark.requirement("TRK-02")
def test_a_bias_of_the_distance_that_shrinks_as_the_camera_comes_nearer_is_no_motion():
    boxes = [Observation(0.1 * n, car(z=40.0 + 0.02 * (40.0 - n)), np.array([0.0, 0.0, 1.0 * n]), 0.8, 0.0, 0) for n in range(30)]
    assert pool(boxes, SETTINGS).static


@pytest.mark.requirement("TRK-02")
def test_boxes_go_to_the_world_and_back(tmp_path):
    pose = np.eye(4)
    pose[:3, :3] = [[math.cos(0.3), 0.0, math.sin(0.3)], [0.0, 1.0, 0.0], [-math.sin(0.3), 0.0, math.cos(0.3)]]
    pose[:3, 3] = (1.0, -0.2, 7.0)
    there = camera_path.to_world(car(), pose)
    assert there.rotation_y == pytest.approx(-1.57 + 0.3)
    back = camera_path.to_camera(there, pose)
    assert vars(back) == pytest.approx(vars(car()))
    camera_path.write(tmp_path / "poses.txt", {4: pose})
    assert camera_path.read(tmp_path / "poses.txt")[4] == pytest.approx(pose)
