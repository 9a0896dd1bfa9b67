"""The ensemble of ground filters on a scene made here, and on the SemanticKITTI scan."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.uncertainty.ground_ensemble import MEMBERS, segment
from lamm_pipeline.uncertainty.labels import ClassMap, read_labels
from lamm_pipeline.uncertainty.scores import SCORES, score_points
from lamm_pipeline.uncertainty.tally import accuracy, sparsification, tally_points

CLASSES = ("ground", "obstacle")
KITTI = ClassMap(
    dict.fromkeys((40, 44, 48, 49, 60, 72), "ground")
    | dict.fromkeys((10, 11, 13, 15, 18, 20, 30, 31, 32, 50, 51, 52, 70, 71, 80, 81, 99, *range(252, 260)), "obstacle")
)


def scene(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A street that bends upwards to one side, with boxes on it; and what is an obstacle."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-30.0, 30.0, (20_000, 2))
    ground = 0.01 * np.maximum(xy[:, 1] - 5.0, 0.0) ** 1.5 - 1.7
    obstacle = np.zeros(len(xy), np.int64)
    height = np.zeros(len(xy))
    for x, y in rng.uniform(-20.0, 20.0, (12, 2)):
        inside = (np.abs(xy - (x, y)) < (2.0, 0.9)).all(axis=1)
        obstacle[inside] = 1
        height[inside] = rng.uniform(0.5, 1.5, inside.sum())
    z = ground + height + rng.normal(0.0, 0.02, len(xy))
    return np.column_stack([xy, z, np.zeros(len(xy))]).astype(np.float32), obstacle


def test_members_find_ground_and_obstacles_and_differ() -> None:
    points, truth = scene()
    votes = segment(points)[..., 1] > 0.5
    assert [float((vote == truth).mean()) > 0.7 for vote in votes] == [True] * len(MEMBERS)
    assert (votes != votes[0]).any(axis=0).mean() >= 0.01


def test_the_same_cloud_gives_the_same_and_few_points_no_error() -> None:
    points, _ = scene(1)
    assert np.array_equal(segment(points), segment(points))
    for count in (0, 1, 3, 60):
        found = segment(points[:count])
        assert found.shape == (len(MEMBERS), count, 2)
        assert np.isfinite(found).all()
    far = np.vstack([points, [[1e6, -1e6, 0.0, 0.0]]])
    assert np.isfinite(segment(far)).all()


def test_on_a_real_scan_members_differ_and_their_doubts_find_the_errors(shared_data: Path) -> None:
    folder = shared_data / "semantickitti"
    points = np.fromfile(folder / "000000.bin", "<f4").reshape(-1, 4)
    labels = read_labels(folder / "000000.label", KITTI.indices(CLASSES), len(points))
    assert 0.9 < (labels >= 0).mean() < 1.0
    probabilities = segment(points)
    votes = probabilities[..., 1] > 0.5
    assert (votes != votes[0]).any(axis=0).mean() >= 0.01
    for one in range(len(MEMBERS)):
        for other in range(one):
            assert (votes[one] != votes[other]).mean() > 0.002, f"members {one} and {other} say the same"
    scored = score_points(probabilities)
    tally = tally_points(scored, labels, "mutual_information", 2)
    right = accuracy(tally.confusion)
    assert right is not None
    assert right > 0.95
    assert right > max(float((vote == labels)[labels >= 0].mean()) for vote in votes) - 0.005
    for name in SCORES[:4]:
        found = sparsification(tally_points(scored, labels, name, 2))
        assert found is not None
        assert found.ause < found.ause_random * (0.3 if name == "mutual_information" else 0.7), name
