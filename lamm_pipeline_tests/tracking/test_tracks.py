import json
from dataclasses import replace

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.tracking import tracks
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet

BOX = Box3D(1.0, 1.5, 10.0, 4.0, 1.7, 1.5, 0.1)


def point(frame, score=0.5, class_id="car"):
    detection = f"drive:{frame:06d}:0"
    return TrackPoint(
        f"drive:{frame:06d}", frame, 10**9 * frame, detection, class_id, "Car", score, (1.0, 2.0, 3.5, 4.0), BOX, BOX, (0.1, 0.0, -2.0)
    )


def track(track_id, frames, **kwargs):
    return Track(track_id, "car", "Car", tuple(point(frame, **kwargs) for frame in frames))


@pytest.fixture
def track_set():
    walker = Track(
        2,
        "person",
        "Person",
        (replace(point(9, score=None), detection_id="drive:000009:1", class_id="person", velocity_m_s=None),),
        active=True,
    )
    return TrackSet("drive", 12, (track(1, (0, 1, 4)), walker), {"score not above low_score": 3})


@pytest.mark.requirement("TRK-05")
def test_statistics_are_counted(track_set):
    assert track_set.statistics() == {
        "total": 2,
        "active": 1,
        "avg_length": 2.0,
        "max_length": 3,
        "min_length": 1,
        "class_distribution": {"car": 1, "person": 1},
        "tracked_detections": 4,
        "tracked_without_score": 1,
        "filled_frames": 0,
        "static": 0,
        "untracked_detections": {"score not above low_score": 3},
    }


@pytest.mark.requirement("TRK-05")
def test_statistics_of_nothing_have_no_lengths():
    statistics = TrackSet("drive", 5, ()).statistics()
    assert (statistics["total"], statistics["avg_length"], statistics["min_length"]) == (0, None, None)


@pytest.mark.requirement("TRK-04")
def test_the_file_has_the_keys_of_the_format_and_reads_back_equal(tmp_path, track_set):
    path = tmp_path / "tracks.json"
    tracks.write(path, track_set)
    assert tracks.read(path) == track_set
    content = json.loads(path.read_text())
    assert (content["total_tracks"], content["total_frames"]) == (2, 12)
    first = content["tracks"][0]
    assert {"track_id", "class_id", "class_name", "start_frame", "end_frame", "trajectory", "avg_confidence"} <= set(first)
    assert (first["start_frame"], first["end_frame"], first["avg_confidence"], len(first["trajectory"])) == (0, 4, 0.5, 3)
    assert content["tracks"][1]["avg_confidence"] is None


@pytest.mark.requirement("TRK-04")
def test_a_file_without_tracks_is_valid(tmp_path):
    empty = TrackSet("drive", 3, ())
    tracks.write(tmp_path / "tracks.json", empty)
    assert tracks.read(tmp_path / "tracks.json") == empty


@pytest.mark.parametrize("content", ["{", '{"tracks": []}', "[]"])
def test_other_files_are_refused_with_their_name(tmp_path, content):
    path = tmp_path / "tracks.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"tracks\.json is not a file of tracks"):
        tracks.read(path)
    with pytest.raises(InputError, match="is missing"):
        tracks.read(tmp_path / "none.json")


@pytest.mark.requirement("TRK-03")
def test_inconsistent_tracks_are_noticed(track_set):
    assert tracks.find_inconsistencies(track_set) == []
    again = TrackSet("drive", 12, (*track_set.tracks, track(1, (7,))))
    assert tracks.find_inconsistencies(again) == ["Track id 1 is used by 2 tracks."]
    backwards = TrackSet("drive", 12, (track(1, (3, 3)),))
    assert tracks.find_inconsistencies(backwards) == ["Track 1 goes from frame 3 to frame 3."]
    shared = TrackSet("drive", 12, (track(1, (3,)), track(2, (3,))))
    assert tracks.find_inconsistencies(shared) == ["Detection drive:000003:0 is in the tracks 1 and 2."]
    assert tracks.find_inconsistencies(TrackSet("drive", 1, (Track(4, "car", "Car", ()),))) == ["Track 4 has no points."]
