"""Which masklet is which track."""

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.tracking import identities
from lamm_pipeline.tracking.identities import IdentitySettings, link_identities
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow, MaskletTableWriter
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet

BOX_3D = Box3D(0.0, 1.6, 10.0, 4.0, 1.8, 1.5, 0.0)


def masklet(key, frame, x=0, level=1, candidate=None):
    return MaskletRow(
        "drive", level, key, "car", f"drive:{frame:06d}", frame, frame, 100, 200, "", 100, x, 0, x + 20, 20, None, "forward", candidate
    )


def track(key, frames, x=0):
    points = tuple(
        TrackPoint(
            f"drive:{frame:06d}", frame, frame, f"drive:{frame:06d}:{key}", "car", "Car", 0.9, (x, 0, x + 20, 20), BOX_3D, BOX_3D, None
        )
        for frame in frames
    )
    return Track(key, "car", "Car", points)


def link(folder, rows, tracks, **settings):
    with MaskletTableWriter(folder / "masklets.parquet") as table:
        for row in sorted(rows, key=lambda row: (row.level, row.frame_index, row.masklet_id)):
            table.add(row)
    found = TrackSet("drive", 10, tuple(tracks))
    links = link_identities(folder / "masklets.parquet", found, IdentitySettings(**settings), folder / "identities.parquet")
    return links, list(identities.read(folder / "identities.parquet"))


@pytest.mark.parametrize(("covered", "authority"), [(4, "track"), (5, "masklet"), (10, "masklet")])
def test_a_masklet_counts_where_it_covers_at_least_half_of_the_tracks_frames(tmp_path, covered, authority):
    links, rows = link(tmp_path, [masklet(3, n, x=2) for n in range(covered)], [track(7, range(10))])
    both = [row for row in rows if row.masklet_id is not None]
    assert [(row.masklet_id, row.track_id, row.authoritative) for row in both] == [(3, 7, authority)] * covered
    assert both[0].why.startswith(f"masklet 3 covers {covered} of the 10 frames of track 7: ")
    assert [(row.frame_index, row.authoritative) for row in rows[covered:]] == [(n, "track") for n in range(covered, 10)]
    assert links.tracks_by_masklet == (authority == "masklet")


def test_of_two_masklets_that_cover_half_each_one_counts(tmp_path):
    _, rows = link(tmp_path, [masklet(1 + n // 5, n) for n in range(10)], [track(7, range(10))])
    assert [row.authoritative for row in rows] == ["masklet"] * 5 + ["track"] * 5
    assert rows[-1].why.endswith("another as many")


def test_the_detection_links_before_the_overlap_does(tmp_path):
    rows = [masklet(1, 0, x=2, candidate="drive:000000:8"), masklet(2, 0, x=0)]
    _, found = link(tmp_path, rows, [track(7, [0], x=0), track(8, [0], x=5)])
    assert [(row.masklet_id, row.track_id, row.overlap) for row in found] == [(1, 8, 1.0), (2, 7, 1.0)]


def test_boxes_that_overlap_too_little_are_not_linked(tmp_path):
    _, rows = link(tmp_path, [masklet(1, 0, x=8)], [track(7, [0])])
    assert [(row.masklet_id, row.track_id, row.authoritative, row.why) for row in rows] == [
        (1, None, "masklet", "there is no track here"),
        (None, 7, "track", "there is no masklet here"),
    ]


def test_rows_are_in_the_order_of_frames_and_every_object_is_there_once(tmp_path):
    _, rows = link(tmp_path, [masklet(1, n) for n in (1, 4, 5)], [track(7, [0, 2, 4, 9])])
    assert [(row.frame_index, row.masklet_id, row.track_id) for row in rows] == [
        (0, None, 7),
        (1, 1, None),
        (2, None, 7),
        (4, 1, 7),
        (5, 1, None),
        (9, None, 7),
    ]


def test_one_level_is_linked_the_lowest_unless_another_is_named(tmp_path):
    rows = [masklet(1, 0, level=2), masklet(2, 0, level=4)]
    links, found = link(tmp_path, rows, [track(7, [0])])
    assert ([row.masklet_id for row in found], links.masklets) == ([1], 1)
    _, found = link(tmp_path, rows, [track(7, [0])], level=4)
    assert [row.masklet_id for row in found] == [2]
    with pytest.raises(InputError, match=r"no masklets of level 3 \(there are: 2, 4\)"):
        link(tmp_path, rows, [], level=3)


def test_without_masklets_tracks_count_and_without_both_there_is_nothing(tmp_path):
    links, rows = link(tmp_path, [], [track(7, [0, 1])])
    assert [row.authoritative for row in rows] == ["track", "track"]
    assert (links.rows, links.tracks, links.tracks_by_masklet, links.masklets) == (2, 1, 0, 0)
    assert link(tmp_path, [], [])[1] == []


def test_a_missing_or_foreign_table_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="Run the stage 'identities' first"):
        list(identities.read(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a table of identities"):
        list(identities.read(tmp_path / "text.parquet"))
