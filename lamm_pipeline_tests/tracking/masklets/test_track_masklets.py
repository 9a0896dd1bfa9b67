"""The stage on rectangles whose motion is known: every expectation is computed by hand."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.tracking.masklets import masklets
from lamm_pipeline.tracking.masklets.archives import read_object_archive, read_video_archive
from lamm_pipeline_tests.tracking.masklets.moving_masks import (
    HEIGHT,
    WIDTH,
    Frames,
    Shifts,
    candidate,
    follow,
    listed,
    places,
    rectangle,
)


def origins(rows, masklet_id):
    return [row.origin for row in rows if row.masklet_id == masklet_id]


def warned(summary):
    return [warning.code for level in summary.levels for warning in level.warnings]


@pytest.mark.requirement("VOS-07", "VOS-08", "VOS-09")
def test_an_object_found_in_the_middle_is_followed_to_both_ends(tmp_path):
    summary, rows = follow(tmp_path, 6, [listed(2, rectangle(20, 5))])
    assert places(rows) == {1: {0: 16, 1: 18, 2: 20, 3: 22, 4: 24, 5: 26}}
    assert origins(rows, 1) == ["backward", "backward", "prompt", "forward", "forward", "forward"]
    assert [(row.candidate_id, row.score) for row in rows if row.origin == "prompt"] == [("drive:000002:0", 0.5)]
    assert all(row.candidate_id is None and row.score is None for row in rows if row.origin != "prompt")
    assert (summary.frames, summary.masklets, summary.masks) == (6, 1, 6)
    assert np.array_equal(rle.decode(rows[3].mask_rle), rectangle(22, 5))


@pytest.mark.requirement("VOS-07")
@pytest.mark.parametrize(("reach", "frames"), [(0, [5]), (1, [4, 5, 6]), (3, [2, 3, 4, 5, 6, 7, 8])])
@pytest.mark.parametrize("window", [None, 4])
def test_propagation_ends_after_max_propagate_frames_in_each_direction_also_across_windows(tmp_path, reach, frames, window):
    _, rows = follow(tmp_path, 12, [listed(5, rectangle(20, 5))], max_propagate=reach, window=window)
    found = list(places(rows)[1])
    assert [frame for frame in found if frame >= 5] == [frame for frame in frames if frame >= 5]
    assert set(found) <= set(frames)
    assert window is not None or found == frames


@pytest.mark.requirement("VOS-05")
def test_a_candidate_on_what_is_followed_is_not_a_new_object(tmp_path):
    summary, rows = follow(tmp_path, 6, [listed(0, rectangle(10, 5)), listed(3, rectangle(17, 5), rectangle(40, 25))])
    assert places(rows)[1] == {n: 10 + 2 * n for n in range(6)}  # 17 against 16 is an IoU of 9 / 11
    assert places(rows)[2] == {n: 40 + 2 * (n - 3) for n in range(6)}
    assert summary.levels[0].statistics.dedup == {"prompted": 2, "on what is followed already": 1}
    [first, _] = masklets.read(tmp_path / masklets.FILE_NAME)
    assert (first.prompts, first.supports) == (1, 1)


@pytest.mark.requirement("VOS-05")
def test_candidates_of_one_frame_are_compared_with_each_other_best_first(tmp_path):
    best, same, other = rectangle(10, 5), rectangle(11, 5), rectangle(40, 5)
    _, rows = follow(tmp_path, 1, [listed(0, best, same, other)])
    assert places(rows) == {1: {0: 10}, 2: {0: 40}}
    assert [row.candidate_id for row in rows] == ["drive:000000:0", "drive:000000:2"]


@pytest.mark.requirement("VOS-05")
def test_what_was_propagated_backward_covers_candidates_too(tmp_path):
    """The object of frame 4 is propagated to frame 2, which a later window looks at again."""
    _, rows = follow(tmp_path, 8, [listed(4, rectangle(20, 5)), listed(6, rectangle(24, 5))], window=8, overlap=4)
    assert list(places(rows)) == [1]


@pytest.mark.requirement("VOS-08")
def test_an_object_found_again_after_it_left_has_a_new_id(tmp_path):
    _, rows = follow(tmp_path, 12, [listed(0, rectangle(50, 5)), listed(8, rectangle(50, 5))], Shifts(dx=5), max_propagate=3)
    assert places(rows) == {1: {0: 50, 1: 55}, 2: {5: 35, 6: 40, 7: 45, 8: 50, 9: 55}}


@pytest.mark.requirement("VOS-08")
@pytest.mark.parametrize(("window", "overlap"), [(2, 1), (3, 1), (3, 2), (5, 1), (5, 2), (64, 1), (64, 2)])
def test_an_object_keeps_its_id_over_all_windows(tmp_path, window, overlap):
    back_end = Shifts(dx=1)
    _, rows = follow(tmp_path, 20, [listed(0, rectangle(5, 5)), listed(1, rectangle(30, 20))], back_end, window=window, overlap=overlap)
    assert places(rows) == {1: {n: 5 + n for n in range(20)}, 2: {n: 29 + n for n in range(20)}}
    assert all(end - first <= window for first, end in back_end.opened)
    assert origins(rows, 1)[0] == "prompt"
    assert origins(rows, 1).count("carried") == len(back_end.opened) - 1


class Forgets(Shifts):
    """Loses in each window what was carried into it, as a model may that does not recognise it."""

    def session(self, video, first, end):
        opened = super().session(video, first, end)
        if first == 0:
            return opened
        with opened as session:
            propagate = session.propagate

            def without_carried(start, prompts, *, reverse=False, limit=None):
                for frame, masks in propagate(start, prompts, reverse=reverse, limit=limit):
                    yield frame, {} if start == first and frame > first else masks

            session.propagate = without_carried
        return opened


@pytest.mark.requirement("VOS-08")
def test_an_object_that_is_found_again_in_the_overlap_goes_on_under_its_id(tmp_path):
    """It appears in frame 4, inside the overlap (4, 5) of the windows 0 to 5 and 3 to 8, and is not in the first frame of the second."""
    frames = [listed(4, rectangle(20, 5)), listed(5, rectangle(22, 5))]
    _, rows = follow(tmp_path, 9, frames, Shifts(), window=6, overlap=3, max_propagate=4)
    assert list(places(rows)) == [1]
    frames = [listed(0, rectangle(40, 25)), listed(4, rectangle(20, 5))]
    _, rows = follow(tmp_path / "forgets", 9, frames, Forgets(dx=0), window=6, overlap=3)
    assert list(places(rows)) == [1, 2]
    assert set(places(rows)[2]) >= {0, 1, 2, 3, 4, 5, 6, 7, 8}


@pytest.mark.requirement("VOS-29")
def test_levels_run_in_sequence_and_share_no_id(tmp_path):
    levels = {4: [listed(0, rectangle(5, 5)), listed(2, rectangle(40, 20))], 2: [listed(1, rectangle(7, 5))], 6: [listed(0)]}
    summary, rows = follow(tmp_path, 3, levels)
    assert [(row.level, row.masklet_id) for row in rows if row.origin == "prompt"] == [(2, 1), (4, 2), (4, 3)]
    assert [level.level for level in summary.levels] == [2, 4, 6]
    assert sorted(path.name for path in tmp_path.glob("level_*")) == ["level_2", "level_4", "level_6"]
    _, rows = follow(tmp_path / "two", 3, levels, levels=[4])
    assert {(row.level, row.masklet_id) for row in rows} == {(4, 1), (4, 2)}


@pytest.mark.requirement("VOS-29")
def test_a_level_without_candidates_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no mask candidates of level 3 \(there are: 1, 2\)"):
        follow(tmp_path, 3, {1: [], 2: []}, levels=[2, 3])
    with pytest.raises(InputError, match=r"of any level \(there are: none\)"):
        follow(tmp_path / "none", 3, {})


def test_a_corrected_object_follows_its_candidates_under_its_own_id(tmp_path):
    frames = [listed(n, rectangle(10 + 4 * n, 5)) for n in range(8)]
    summary, rows = follow(tmp_path, 8, frames, Shifts(dx=2, corrects=True))
    assert places(rows) == {1: {n: 10 + 4 * n for n in range(8)}}
    assert set(origins(rows, 1)) == {"prompt"}
    assert summary.levels[0].statistics.dedup == {"prompted": 8}


def test_an_uncorrected_object_bridges_frames_without_a_candidate(tmp_path):
    shown = [listed(n, *([rectangle(10 + 2 * n, 5)] if n not in (3, 4) else [])) for n in range(8)]
    _, rows = follow(tmp_path, 8, shown, Shifts(corrects=True))
    assert places(rows) == {1: {n: 10 + 2 * n for n in range(8)}}
    assert origins(rows, 1) == ["prompt", "prompt", "prompt", "carried", "carried", "prompt", "prompt", "prompt"]


def test_an_object_without_candidates_for_too_long_ends_and_is_cut_back(tmp_path):
    shown = [listed(n, *([rectangle(10, 5)] if n < 3 or n > 9 else [])) for n in range(13)]
    _, rows = follow(tmp_path, 13, shown, Shifts(dx=0, corrects=True), max_unsupported=4)
    assert {key: sorted(found) for key, found in places(rows).items()} == {1: [0, 1, 2], 2: [9, 10, 11, 12]}


def test_an_object_that_too_few_candidates_show_is_left_out_and_counted(tmp_path):
    once, always = rectangle(40, 25), rectangle(10, 5)
    shown = [listed(n, *([always, once] if n == 2 else [always])) for n in range(8)]
    _, rows = follow(tmp_path, 8, shown, Shifts(dx=0, corrects=True), min_support=None)
    assert list(places(rows)) == [1]
    assert masklets.read_head(tmp_path / masklets.FILE_NAME)["coverage"]["1"]["unconfirmed_masklets"] == 1


def test_an_object_that_could_not_be_shown_more_often_stays(tmp_path):
    shown = [listed(0), listed(5, rectangle(10, 5)), listed(6, rectangle(10, 5))]
    _, rows = follow(tmp_path, 7, shown, Shifts(dx=0, corrects=True), min_support=4)
    assert list(places(rows)) == [1]


def test_frames_nobody_looked_at_do_not_end_an_object(tmp_path):
    _, rows = follow(tmp_path, 30, [listed(0, rectangle(10, 5))], Shifts(dx=0, corrects=True), max_unsupported=1)
    assert len(places(rows)[1]) == 30


def test_each_candidate_corrects_one_object_and_each_object_has_one_candidate(tmp_path):
    frames = [listed(0, rectangle(10, 5), rectangle(17, 5)), listed(1, rectangle(17, 5), rectangle(10, 5))]
    _, rows = follow(tmp_path, 2, frames, Shifts(dx=0, corrects=True))
    assert places(rows) == {1: {0: 10, 1: 10}, 2: {0: 17, 1: 17}}


def test_the_class_is_what_the_scores_of_the_candidates_say_and_flips_are_counted(tmp_path):
    said = [("car", 0.4), ("van", 0.9), ("car", 0.4), ("car", 0.3)]
    frames = [listed(n, rectangle(10 + 2 * n, 5), class_id=name, score=score) for n, (name, score) in enumerate(said)]
    _, rows = follow(tmp_path, 4, frames)
    [found] = masklets.read(tmp_path / masklets.FILE_NAME)
    assert (found.class_id, dict(found.class_votes), found.class_flips) == ("car", {"car": 1.1, "van": 0.9}, 2)
    assert {row.class_id for row in rows} == {"car"}


def test_candidates_without_class_and_score_are_followed_without(tmp_path):
    _, rows = follow(tmp_path, 2, [listed(0, rectangle(10, 5), class_id=None, score=None)])
    assert [(row.class_id, row.score) for row in rows] == [(None, None), (None, None)]
    with_class = [listed(0, rectangle(10, 5), score=None), listed(1, rectangle(12, 5), score=None)]
    follow(tmp_path / "class", 2, with_class)
    [found] = masklets.read(tmp_path / "class" / masklets.FILE_NAME)
    assert dict(found.class_votes) == {"car": 2.0}


@pytest.mark.requirement("VOS-13", "VOS-14", "VOS-15", "VOS-03")
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_archives_have_what_the_table_has(tmp_path, ratio):
    _, rows = follow(tmp_path, 5, [listed(0, rectangle(10, 4), rectangle(40, 20))], mask_scale_ratio=ratio)
    suffix = "" if ratio == 1.0 else "_scale0.5x"
    folder = tmp_path / "level_1" / "tracking"
    frames = {index: objects for index, _, objects in read_video_archive(folder / f"video_segments{suffix}.npz")}
    assert {(row.frame_index, row.masklet_id) for row in rows} == {(index, key) for index, each in frames.items() for key in each}
    for row in rows:
        packed = frames[row.frame_index][row.masklet_id]
        assert packed_mask.full_shape(packed) == (HEIGHT, WIDTH)
        assert np.array_equal(packed_mask.unpack(packed), rle.decode(row.mask_rle)[:: round(1 / ratio), :: round(1 / ratio)])
    by_object = read_object_archive(folder / f"object_segments{suffix}.npz")
    assert by_object.frames == {key: sorted(found) for key, found in places(rows).items()}
    assert by_object.meta["linked_video"] == f"video_segments{suffix}.npz"


@pytest.mark.requirement("VOS-20", "VOS-21", "VOS-22", "VOS-23", "AV-23")
def test_previews_manifest_and_statistics_belong_to_the_level(tmp_path):
    frames = [listed(n, rectangle(10, 5)) for n in range(100)]
    summary, _ = follow(tmp_path, 100, frames, Shifts(dx=0), render_previews=True)
    names = [path.name for path in sorted((tmp_path / "level_1" / "previews").glob("*.png"))]
    assert len(names) == 12
    assert (names[0], names[-1]) == ("L01_000000.png", "L01_000099.png")
    manifest = json.loads((tmp_path / "tracking_manifest.json").read_text())
    assert manifest["levels"]["1"]["previews"] == [f"level_1/previews/{name}" for name in names]
    statistics = summary.levels[0].statistics
    assert (statistics.objects, statistics.masks, statistics.longest, statistics.broken) == (1, 100, 100, 0)
    assert statistics.mean_duration_s == pytest.approx(9.9)


def test_the_table_is_read_by_others(tmp_path):
    _, rows = follow(tmp_path, 4, [listed(0, rectangle(10, 5))])
    table = pq.read_table(tmp_path / "masklets.parquet").to_pylist()
    assert [(each["frame_id"], each["x1"], each["y1"], each["x2"], each["y2"], each["area"]) for each in table] == [
        (f"drive:{n:06d}", 10 + 2 * n, 5, 20 + 2 * n, 15, 100) for n in range(4)
    ]
    assert len(rows) == 4


# Bad and odd input


@pytest.mark.parametrize("frames", [[], [listed(0), listed(1)]])
def test_empty_candidate_sets_give_an_empty_result_that_says_so(tmp_path, frames):
    summary, rows = follow(tmp_path, 3, frames)
    assert rows == []
    assert summary.masklets == 0
    assert "masklets.no_candidates" in warned(summary)
    assert list(masklets.read(tmp_path / masklets.FILE_NAME)) == []
    [*archived] = read_video_archive(tmp_path / "level_1" / "tracking" / "video_segments.npz")
    assert [objects for _, _, objects in archived] == [{}, {}, {}]


def test_masks_of_another_size_are_brought_to_the_frame_and_counted(tmp_path):
    half = candidate(rectangle(20, 10, 20, 16)[::2, ::2], "drive:000000:0")
    summary, rows = follow(tmp_path, 2, [listed(0, half)])
    assert places(rows) == {1: {0: 20, 1: 22}}
    assert warned(summary) == ["masklets.resized_masks"]


@pytest.mark.parametrize("corrects", [False, True])
def test_frames_that_cannot_be_read_are_named(tmp_path, corrects):
    video = Frames(8, missing=frozenset({3, 4}))
    summary, rows = follow(tmp_path, video, [listed(0, rectangle(10, 5))], Shifts(corrects=corrects))
    [warning] = [each for each in summary.levels[0].warnings if each.code == "masklets.unreadable_frames"]
    assert warning.frames == (3, 4)
    assert set(places(rows)[1]) >= {5, 6, 7}


def test_candidates_of_frames_that_were_not_extracted_are_counted(tmp_path):
    summary, rows = follow(tmp_path, 3, [listed(0, rectangle(10, 5)), listed(7, rectangle(10, 5))])
    assert list(places(rows)) == [1]
    assert warned(summary) == ["masklets.unknown_frames"]


@pytest.mark.parametrize("corrects", [False, True])
def test_a_video_of_one_frame(tmp_path, corrects):
    _, rows = follow(tmp_path, 1, [listed(0, rectangle(10, 5))], Shifts(corrects=corrects))
    assert places(rows) == {1: {0: 10}}


def test_a_video_without_frames(tmp_path):
    summary, rows = follow(tmp_path, 0, [])
    assert (summary.frames, rows) == (0, [])


@pytest.mark.parametrize("corrects", [False, True])
def test_when_all_objects_leave_nothing_is_followed_on(tmp_path, corrects):
    back_end = Shifts(dx=20, corrects=corrects)
    summary, rows = follow(tmp_path, 30, [listed(0, rectangle(30, 5), rectangle(50, 25))], back_end, window=5)
    assert places(rows) == {1: {0: 30, 1: 50}, 2: {0: 50}}
    assert [call[0] for call in back_end.calls] == [0]
    assert warned(summary) == []


def test_a_window_larger_than_the_video_is_the_video(tmp_path):
    back_end = Shifts()
    follow(tmp_path, 3, [listed(0, rectangle(10, 5))], back_end, window=64, overlap=8)
    assert back_end.opened == [(0, 3)]


def test_candidates_that_cannot_be_followed_are_counted_by_reason(tmp_path):
    outside = MaskCandidate("drive:000000:0", "car", 0.5, None, (100.0, 5.0, 120.0, 9.0), None, 80, "detections")
    empty = candidate(np.zeros((HEIGHT, WIDTH), np.bool_), "drive:000000:1")
    summary, rows = follow(tmp_path, 2, [listed(0, outside, empty, rectangle(10, 5))])
    assert list(places(rows)) == [1]
    assert summary.levels[0].statistics.dedup == {
        "its box lies outside the frame or has no area": 1,
        "its mask is empty": 1,
        "prompted": 1,
    }


def test_candidates_out_of_order_are_refused(tmp_path):
    with pytest.raises(InputError, match="level 1 are not in the order of the recording: frame 1"):
        follow(tmp_path, 3, [listed(2, rectangle(10, 5)), listed(1, rectangle(10, 5))])


def test_a_damaged_mask_is_a_sentence(tmp_path):
    damaged = MaskCandidate("a", "car", 0.5, None, (1.0, 1.0, 5.0, 5.0), {"size": [HEIGHT, WIDTH], "counts": "44"}, 8, "external")
    with pytest.raises(InputError, match="run lengths of a mask"):
        follow(tmp_path, 3, [listed(0, damaged)])


def test_objects_go_on_though_a_window_begins_with_a_frame_that_shows_nothing(tmp_path):
    back_end = Shifts(blind=True)
    _, rows = follow(tmp_path, Frames(8, missing=frozenset({2})), [listed(0, rectangle(4, 4))], back_end, window=4, overlap=2)
    assert (2, 6) in back_end.opened
    assert places(rows) == {1: {frame: 4 + 2 * frame for frame in range(8) if frame != 2}}


# Properties

scenes = st.lists(
    st.tuples(st.integers(0, 24), st.integers(0, WIDTH - 12), st.integers(0, HEIGHT - 12)), min_size=0, max_size=8, unique_by=lambda t: t[0]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scenes, st.integers(2, 12), st.booleans(), st.one_of(st.none(), st.integers(0, 9)), st.data())
def test_whatever_comes_ids_ascend_and_every_mask_is_where_its_object_went(tmp_path_factory, scene, window, corrects, reach, data):
    """Objects never cross here, so that a masklet is right exactly when all of its masks lie on one line of motion."""
    overlap = data.draw(st.integers(1, window - 1))
    frames = [listed(index, rectangle(x, y)) for index, x, y in sorted(scene)]
    back_end = Shifts(dx=1, corrects=corrects)
    _, rows = follow(tmp_path_factory.mktemp("any"), 25, frames, back_end, window=window, overlap=overlap, max_propagate=reach)
    keys = [(row.frame_index, row.masklet_id) for row in rows]
    assert keys == sorted(set(keys))
    found = places([row for row in rows if row.area == 100])
    if not corrects:
        assert all(len({x - frame for frame, x in each.items()}) == 1 for each in found.values())
    prompted = {row.candidate_id for row in rows if row.candidate_id}
    assert len(prompted) == sum(row.candidate_id is not None for row in rows)
    if reach is not None and not corrects:
        assert all(max(each) - min(each) <= 2 * reach for each in found.values())
    assert all(end - first <= window for first, end in back_end.opened)
