import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.tracking.motion_3d import SpaceBoxMotion, box_of, generalized_iou, measurement
from lamm_pipeline.tracking.settings import Similarity, TrackingSettings


def car(x=0.0, z=20.0, yaw=0.0):
    return Box3D(x, 1.6, z, 4.2, 1.7, 1.5, yaw)


def rows(*boxes):
    return np.array([measurement(box) for box in boxes])


def followed(model, boxes, dt):
    means, covariances = model.start(rows(boxes[0]))
    for box in boxes[1:]:
        means, covariances = model.update(*model.predict(means, covariances, dt), rows(box))
    return means, covariances


def test_a_measurement_and_its_box_are_the_same_thing():
    box = car(x=-3.0, z=12.0, yaw=0.7)
    back = box_of(np.array(measurement(box)))
    assert (back.x, back.z, back.rotation_y, back.length) == (box.x, box.z, box.rotation_y, box.length)
    assert back.y == pytest.approx(box.y)


@pytest.mark.parametrize("dt", [1 / 30, 0.1, 0.5])
def test_velocity_is_in_metres_per_second_whatever_the_frame_rate(dt):
    boxes = [car(x=6.0 * n * dt, z=30.0 - 8.0 * n * dt) for n in range(int(3.0 / dt))]
    means, _ = followed(SpaceBoxMotion(TrackingSettings()), boxes, dt)
    np.testing.assert_allclose(means[0, 7:], [6.0, 0.0, -8.0], atol=0.35)


def test_the_prediction_follows_the_real_time_of_a_gap():
    model = SpaceBoxMotion(TrackingSettings())
    means, covariances = followed(model, [car(x=1.0 * n) for n in range(20)], 0.1)
    predicted, _ = model.predict(means, covariances, 0.7)
    assert predicted[0, 0] == pytest.approx(19.0 + 7.0, abs=0.2)


def test_a_heading_the_wrong_way_round_does_not_turn_the_track():
    means, _ = followed(
        SpaceBoxMotion(TrackingSettings()), [car(yaw=1.5), car(yaw=1.5 - math.pi), car(yaw=1.5), car(yaw=1.5 - math.pi)], 0.1
    )
    assert box_of(means[0]).rotation_y == pytest.approx(1.5)


def test_noise_of_the_distance_is_smoothed():
    random = np.random.default_rng(1)
    noisy = [car(z=30.0 + error) for error in random.normal(0.0, 1.0, 60)]
    means, _ = followed(SpaceBoxMotion(TrackingSettings(acceleration_m_s2=1.0)), noisy, 1 / 30)
    assert abs(means[0, 2] - 30.0) < 0.5


@pytest.mark.requirement("TRK-02")
def test_the_gate_grows_with_the_gap_and_with_the_distance_and_shrinks_once_the_speed_is_known():
    model = SpaceBoxMotion(TrackingSettings())

    def reach(boxes, gap):
        means, covariances = model.predict(*followed(model, boxes, 0.1), gap)
        offsets = np.arange(0.0, 60.0, 0.1)
        x, y, z = means[0, :3]
        detections = np.array([[x + offset, y, z, 0.0, 4.2, 1.7, 1.5] for offset in offsets])
        return offsets[model.similarity(means, covariances, detections)[0] > 0.0].max()

    assert reach([car()], 0.1) < reach([car()], 0.3) < reach([car()], 1.0)
    assert reach([car(z=10.0)] * 10, 0.1) < reach([car(z=50.0)] * 10, 0.1)
    assert reach([car()] * 10, 0.1) < reach([car()], 0.1)
    assert reach([car()] * 10, 0.1) < 4.0


@pytest.mark.parametrize("kind", list(Similarity))
def test_similarity_is_greatest_for_the_box_that_fits_and_0_beyond_the_gate(kind):
    model = SpaceBoxMotion(TrackingSettings(similarity=kind))
    means, covariances = model.start(rows(car()))
    same, near, far = model.similarity(means, covariances, rows(car(), car(x=1.0), car(x=30.0)))[0]
    assert same == pytest.approx(1.0)
    assert 0.0 < near < same
    assert far == 0.0


def test_generalized_iou_of_boxes_in_line_is_known():
    a, b = car(), car(x=8.4)  # a gap of one length: hull three lengths, union two
    np.testing.assert_allclose(generalized_iou([a, a, a], [a, b, car(x=2.1)], volume=False), [1.0, -1 / 3, 1 / 3], atol=1e-5)
    above = Box3D(0.0, 0.1, 20.0, 4.2, 1.7, 1.5, 0.0)  # stands exactly on top of it
    assert generalized_iou([a], [above], volume=True)[0] == pytest.approx(0.0, abs=1e-5)


@given(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0), st.floats(-3.0, 3.0), st.booleans())
def test_generalized_iou_is_symmetric_and_bounded(x, z, yaw, volume):
    a, b = car(), car(x=x, z=20.0 + z, yaw=yaw)
    forward, backward = generalized_iou([a, b], [b, a], volume=volume)
    assert forward == pytest.approx(backward, abs=1e-5)
    assert -1.0 <= forward <= 1.0
