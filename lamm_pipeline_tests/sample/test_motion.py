import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamm_pipeline.sample.imu_stream import START_NS, frame_stamp_ns, imu_at, imu_between
from lamm_pipeline.sample.motion import GRAVITY_M_S2, SceneClock, camera_pose, imu_samples
from lamm_pipeline.sample.rig import Rig
from lamm_pipeline.sample.settings import SampleSettings

SETTINGS = SampleSettings(frames=60)
CLOCK = SceneClock.for_static_frames(SETTINGS.static_frames, SETTINGS.fps)
STEP_S = 1 / 400


def body_rotation(time_s: float, rig: Rig) -> Rotation:
    return Rotation.from_matrix(camera_pose(CLOCK, time_s).rotation @ rig.raw_to_rectified)


def test_the_scene_stands_still_exactly_during_the_static_stretch() -> None:
    static = SETTINGS.static_frames
    times = np.arange(SETTINGS.frames) / SETTINGS.fps
    steps = np.diff(CLOCK.scene_time(times))
    assert steps[static.start : static.stop - 1] == pytest.approx(0.0, abs=1e-12)
    outside = np.delete(steps, np.arange(static.start - 4, static.stop + 3))
    assert outside == pytest.approx(1 / SETTINGS.fps)
    assert (steps >= -1e-12).all()


@pytest.mark.requirement("EXT-07")
def test_integrating_the_gyro_gives_the_cameras_rotation(rig: Rig) -> None:
    times = np.arange(0.0, 3.5, STEP_S)
    gyro = imu_samples(CLOCK, times + STEP_S / 2, rig.raw_to_rectified, None).angular_velocity
    rotation = body_rotation(0.0, rig)
    for rate in gyro:
        rotation = rotation * Rotation.from_rotvec(rate * STEP_S)
    error = (rotation.inv() * body_rotation(times[-1] + STEP_S, rig)).magnitude()
    assert np.degrees(error) < 0.001
    assert (body_rotation(0.0, rig).inv() * rotation).magnitude() > 0.02


def test_integrating_the_specific_force_twice_gives_the_cameras_path(rig: Rig) -> None:
    times = np.arange(0.0, 3.5, STEP_S)
    samples = imu_samples(CLOCK, times, rig.raw_to_rectified, None)
    world = Rotation.from_quat(samples.orientation_xyzw).apply(samples.specific_force) + np.array([0.0, GRAVITY_M_S2, 0.0])
    start_velocity = (camera_pose(CLOCK, 1e-4).position - camera_pose(CLOCK, -1e-4).position) / 2e-4
    velocity = start_velocity + np.cumsum((world[:-1] + world[1:]) / 2 * STEP_S, axis=0)
    velocity = np.vstack([start_velocity, velocity])
    path = camera_pose(CLOCK, 0.0).position + np.cumsum((velocity[:-1] + velocity[1:]) / 2 * STEP_S, axis=0)
    assert path[-1] == pytest.approx(camera_pose(CLOCK, float(times[-1])).position, abs=0.002)
    assert path[-1, 2] > 0.4


def test_at_rest_the_accelerometer_points_up_with_the_strength_of_gravity(rig: Rig) -> None:
    middle = (SETTINGS.static_frames[0] + SETTINGS.static_frames[-1]) / 2 / SETTINGS.fps
    at_rest = imu_samples(CLOCK, np.array([middle]), rig.raw_to_rectified, None)
    assert np.linalg.norm(at_rest.specific_force) == pytest.approx(9.81, abs=1e-6)
    assert at_rest.specific_force[0, 1] == pytest.approx(-9.81, abs=0.01)
    assert at_rest.angular_velocity[0] == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    upright = Rotation.from_quat(at_rest.orientation_xyzw[0]).apply(at_rest.specific_force[0])
    assert upright == pytest.approx([0.0, -9.81, 0.0], abs=1e-6)


def test_the_stream_has_400_samples_a_second_without_gap_or_overlap(rig: Rig) -> None:
    stamps: list[int] = []
    before = None
    for frame in range(4):
        until = frame_stamp_ns(frame, 15.0)
        stamps += [sample.timestamp_ns for sample in imu_between(before, until, CLOCK, rig.raw_to_rectified, 7)]
        assert stamps[-1] <= until
        before = until
    assert stamps[0] == START_NS - 300_000_000
    assert set(np.diff(stamps).tolist()) == {2_500_000}


def test_noise_is_seeded(rig: Rig) -> None:
    first, again, other = (imu_at(START_NS, CLOCK, rig.raw_to_rectified, seed) for seed in (7, 7, 8))
    assert first == again
    assert first.angular_velocity != other.angular_velocity
