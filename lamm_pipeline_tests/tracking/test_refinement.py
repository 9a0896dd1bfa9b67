"""Tracks with a camera that moves: world coordinates, gaps, support, and a run that is killed."""

import numpy as np
import pytest

from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking import camera_path, tracks
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.track import track_boxes
from lamm_pipeline_tests.tracking.straight_drive import FRAMES, STEP_M, Drive, detected, frame, scene


def run(folder, views, progress=lambda *_: None, frames=None):
    frame_boxes.write(folder / "boxes_3d.json", scene() if frames is None else frames)
    draft = Draft.open(folder / "out")
    try:
        return track_boxes(
            folder / "boxes_3d.json", TrackingSettings(), draft, recording="drive", views=views, workers=2, progress=progress
        )
    finally:
        draft.close()


@pytest.mark.requirement("TRK-02", "TRK-04")
def test_a_parked_car_has_one_box_in_the_world_also_where_it_was_not_detected(tmp_path):
    found = run(tmp_path, Drive())
    (track,) = found.tracks
    assert track.static
    assert [point.frame_index for point in track.filled] == [15, 16, 17, 18, 19]
    poses = camera_path.read(tmp_path / "out" / "poses.txt")
    assert poses[39][2, 3] == pytest.approx(39 * STEP_M)
    places = np.array([[box.x, box.z + poses[index][2, 3]] for index, _, box in track.refined()])
    assert len(places) == FRAMES
    assert np.ptp(places, axis=0).max() < 0.001
    assert places[0] == pytest.approx([4.0, 45.0], abs=0.1)
    for point in track.filled:
        truth = detected(point.frame_index, 4.0, 45.0).box_xyxy
        assert point.box_xyxy == pytest.approx(truth, abs=3.0)
    assert np.linalg.norm(track.points[-1].velocity_m_s) < 2.0  # over ground; relative to the camera it is 5 m/s
    assert found.untracked == {"track with less evidence than min_evidence": 4}
    assert tracks.read(tmp_path / "out" / "tracks.json") == found


@pytest.mark.requirement("TRK-02")
def test_no_box_is_filled_in_where_something_stands_before_it(tmp_path):
    (track,) = run(tmp_path, Drive(wall_at=17)).tracks
    assert [point.frame_index for point in track.filled] == [15, 16]


def parked(n):
    return (detected(n, 4.0, 45.0),)


@pytest.mark.requirement("TRK-02")
@pytest.mark.parametrize(
    ("views", "filled"),
    [
        (Drive(shown=parked), range(12, 37)),
        (Drive(shown=lambda n: parked(n) if n >= 16 else ()), range(16, 37)),
        (Drive(shown=lambda n: parked(n) if n != 18 else ()), range(19, 37)),
        (Drive(shown=parked, wall_at=28), range(12, 28)),
        (Drive(), range(23, 26)),
    ],
    ids=["stands there all the time", "comes", "is not there for a moment", "is hidden", "was not seen to stand there"],
)
def test_what_stands_still_goes_on_as_long_as_depth_shows_it_and_as_it_was_detected(tmp_path, views, filled):
    """Detected in nine frames, so it may go on for eight at either end."""
    frames = [frame(n, *(parked(n) if 20 <= n <= 22 or 26 <= n <= 28 else ())) for n in range(FRAMES)]
    (track,) = run(tmp_path, views, frames=frames).tracks
    assert track.static
    detections = {point.frame_index for point in track.points}
    assert [point.frame_index for point in track.filled] == [n for n in filled if n not in detections]


@pytest.mark.requirement("TRK-02")
def test_what_moves_is_not_taken_to_have_been_there_before_it_was_detected(tmp_path):
    def driving(n):
        return (detected(n, 3.0, 30.0 + 0.5 * n),)

    frames = [frame(n, *(driving(n) if 10 <= n <= 24 else ())) for n in range(FRAMES)]
    (track,) = run(tmp_path, Drive(shown=driving), frames=frames).tracks
    assert not track.static
    assert track.filled == ()


@pytest.mark.requirement("TRK-02")
def test_a_track_goes_on_neither_beyond_the_image_nor_into_the_place_of_another(tmp_path):
    """The object is lost for longer than a track lives, so that it has two tracks; then it leaves the image."""

    def beside(n):
        return (detected(n, 4.0, 24.0),)

    frames = [frame(n, *(beside(n) if n < 10 or 22 <= n <= 30 else ())) for n in range(FRAMES)]
    found = run(tmp_path, Drive(shown=beside), frames=frames)
    assert len(found.tracks) == 2
    shown = [index for track in found.tracks for index, _, _ in track.refined()]
    assert sorted(shown) == sorted(set(shown))
    assert sorted(shown) == list(range(32))  # in frame 32 its lower edge is outside


@pytest.mark.requirement("TRK-02")
@pytest.mark.parametrize(
    ("speed_m", "seen", "tracked"),
    [(0.5, range(14), 1), (0.0, range(14), 0), (0.5, (0, 1, *range(2, 14, 2)), 0), (0.5, range(5), 0)],
    ids=["moves", "stands still", "moves, but is missed half the time", "moves, but only for a moment"],
)
def test_detections_of_low_scores_are_believed_when_many_fit_one_motion(tmp_path, speed_m, seen, tracked):
    frames = [frame(n, *([detected(n, 3.0, 30.0 + speed_m * n, score=0.36)] if n in seen else ())) for n in range(14)]
    found = run(tmp_path, Drive(), frames=frames)
    assert len(found.tracks) == tracked
    assert found.untracked == ({} if tracked else {"track with less evidence than min_evidence": len(seen)})


@pytest.mark.requirement("TRK-02")
@pytest.mark.parametrize(("beside_m", "classes"), [(0.1, {"car"}), (6.0, {"car", "person"})], ids=["on the car", "beside it"])
def test_what_is_taken_for_two_classes_is_one_object_that_of_the_better_track(tmp_path, beside_m, classes):
    frames = [
        frame(n, detected(n, 3.0, 30.0), *([detected(n, 3.0 + beside_m, 30.0, "person", score=0.6)] if 4 <= n < 11 else ()))
        for n in range(14)
    ]
    found = run(tmp_path, Drive(), frames=frames)
    assert {track.class_id for track in found.tracks} == classes
    assert found.untracked == ({} if len(classes) == 2 else {"track of an object that a better track has": 7})


class Killed(Exception):  # noqa: N818 - not an error of the code under test
    pass


@pytest.mark.requirement("TRK-04")
@pytest.mark.parametrize("kill_at", [10, 26])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, kill_at):
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole", Drive())

    def progress(done, _total):
        if done == kill_at:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "again", Drive(), progress)
    run(tmp_path / "again", Drive())
    for name in ("tracks.json", "poses.txt"):
        assert (tmp_path / "again" / "out" / name).read_bytes() == (tmp_path / "whole" / "out" / name).read_bytes()
