import numpy as np
import pytest

from lamm_pipeline.tracking.byte_track import ByteTracker
from lamm_pipeline.tracking.motion_2d import ImageBoxMotion, botsort_rules
from lamm_pipeline_tests.tracking import kitti_tracking


def test_velocity_is_learnt_from_boxes_that_move_evenly():
    model = ImageBoxMotion()
    means, covariances = model.start(np.array([[0.0, 0.0, 40.0, 20.0]]))
    for step in range(1, 30):
        means, covariances = model.predict(means, covariances, 1.0)
        means, covariances = model.update(means, covariances, np.array([[3.0 * step, -step, 40.0 + 3.0 * step, 20.0 - step]]))
    np.testing.assert_allclose(means[0, 4:], [3.0, -1.0, 0.0, 0.0], atol=0.1)
    predicted, _ = model.predict(means, covariances, 2.0)
    np.testing.assert_allclose(predicted[0, :2], [20.0 + 31 * 3.0, 10.0 - 31.0], atol=0.3)


def test_sides_stay_positive():
    model = ImageBoxMotion()
    means, covariances = model.start(np.array([[0.0, 0.0, 1.0, 1.0]]))
    means[0, 6:] = -5.0
    assert (model.predict(means, covariances, 1.0)[0][0, 2:4] > 0.0).all()


@pytest.mark.requirement("TRK-02")
def test_the_core_with_2d_boxes_scores_on_kitti_as_botsort_without_camera_motion_does(shared_data, tmp_path):
    """BoT-SORT of the package `trackers` 2.6.1 gives exactly these ids on these sequences (compared detection by detection)."""
    tracked = {}
    for name in kitti_tracking.SEQUENCES:
        sequence = kitti_tracking.load(shared_data, name)
        tracker = ByteTracker(botsort_rules(0.7), ImageBoxMotion())
        tracked[name] = []
        for frame in range(sequence.frames):
            rows = sequence.of_frame(frame)
            owners = tracker.update(sequence.rows[rows, 2:6], sequence.scores[rows], np.zeros(len(rows), dtype=np.int64), 1.0)
            tracked[name] += [(frame, owner.track_id, row) for row, owner in zip(rows, owners, strict=True) if owner and owner.track_id]
    scores = kitti_tracking.score(shared_data, tmp_path, tracked)
    assert scores["hota"] == pytest.approx(79.65, abs=0.1)
    assert scores["mota"] == pytest.approx(87.42, abs=0.1)
    assert scores["idf1"] == pytest.approx(92.09, abs=0.1)
    assert scores["switches"] == 3
