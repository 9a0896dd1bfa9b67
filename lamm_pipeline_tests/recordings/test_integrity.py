import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lamm_pipeline.recordings.integrity import IntegrityReport, check
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline_tests.recordings.svo2_files import (
    FIRST_NS,
    PERIOD_NS,
    VIDEO,
    Item,
    cut,
    rewrite,
    with_frame,
    with_frames,
    without,
    without_frames,
    write_recording,
)


def report(path: Path) -> IntegrityReport:
    with open_svo2(path) as reader:
        found = check(reader)
    json.dumps(asdict(found), allow_nan=False)
    return found


@pytest.mark.requirement("ING-04", "API-04")
def test_real_recording_is_sound(shared_data: Path) -> None:
    found = report(shared_data / "svo2/zed_12frames.svo2")
    assert found == IntegrityReport(
        readable=True,
        first_decodable_frame=0,
        complete=True,
        damaged_chunks=0,
        footer="agrees",
        gap_count=0,
        dropped_frames_estimate=0,
        backward_stamps=0,
        repeated_stamps=0,
        bad_frame_count=0,
        bad_frames=(),
        problems=(),
    )


@pytest.mark.requirement("ING-04", "API-04")
def test_cut_recording_is_readable_and_said_to_be_cut(tmp_path: Path) -> None:
    source = rewrite(write_recording(tmp_path / "a.svo2"), tmp_path / "b.svo2", lambda content: content, chunk_size=16 * 1024)
    found = report(cut(source, tmp_path / "c.svo2", source.stat().st_size // 2))
    assert found.readable
    assert (found.complete, found.footer) == (False, "missing")
    assert any("cut off" in problem for problem in found.problems)


def test_missing_and_wrong_footer_are_told_apart(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2")
    missing = report(rewrite(source, tmp_path / "b.svo2", without("svo_footer")))
    assert (missing.footer, missing.complete, len(missing.problems)) == ("missing", True, 1)
    wrong = report(rewrite(source, tmp_path / "c.svo2", without_frames(3)))
    assert wrong.footer == "disagrees"
    assert any("names 12 frames and does not agree with the 11 found" in problem for problem in wrong.problems)


def test_recording_without_any_decodable_frame_is_unreadable(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2", 6, gop=100)
    found = report(rewrite(source, tmp_path / "b.svo2", without_frames(0)))
    assert (found.readable, found.first_decodable_frame, found.bad_frame_count) == (False, None, 5)
    assert found.problems[0].startswith("None of its 5 frames can be decoded")


def test_damaged_jpeg_frames_are_not_taken_for_readable(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2", 3, codec="jpeg")
    found = report(rewrite(source, tmp_path / "b.svo2", with_frame(0, lambda data: data[:40] + b"\xff\xd8\xff\xd9" + data[44:])))
    assert found.first_decodable_frame == 1
    assert [note.index for note in found.bad_frames] == [0]


def test_late_start_and_malformed_messages_are_named(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2")
    found = report(rewrite(source, tmp_path / "b.svo2", with_frames(lambda n, data: data[:20] if n in (0, 9) else data)))
    assert (found.readable, found.first_decodable_frame) == (True, 4)
    assert [note.index for note in found.bad_frames] == [0, 1, 2, 3, 9]
    assert "The first 4 frames cannot be decoded; frame 4 is the first good one." in found.problems
    assert "1 frames further on have no whole picture." in found.problems


def test_gaps_and_stamps_out_of_order_are_named(tmp_path: Path) -> None:
    stamps = [FIRST_NS + n * PERIOD_NS for n in (0, 1, 2, 3, 7, 8, 8, 9)]
    found = report(write_recording(tmp_path / "a.svo2", stamps=stamps))
    assert (found.gap_count, found.dropped_frames_estimate, found.repeated_stamps, found.backward_stamps) == (1, 3, 1, 0)
    assert len(found.problems) == 2

    def swap(content: list[Item]) -> list[Item]:
        places = [n for n, item in enumerate(content) if item.topic == VIDEO]
        content[places[1]], content[places[2]] = content[places[2]], content[places[1]]
        return content

    assert report(rewrite(write_recording(tmp_path / "b.svo2"), tmp_path / "c.svo2", swap)).backward_stamps == 1
