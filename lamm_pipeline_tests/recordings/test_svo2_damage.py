"""Files that are cut off, overwritten or begin in the middle: whole frames come out, the others are named, nothing crashes."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.integrity import check
from lamm_pipeline.recordings.reader import BadFrame
from lamm_pipeline.recordings.svo2_reader import Svo2Reader, open_svo2
from lamm_pipeline.recordings.svo2_video import StoredFrame, decode
from lamm_pipeline_tests.recordings.svo2_files import (
    VIDEO,
    Item,
    cut,
    items,
    noisy_payload,
    payload,
    rewrite,
    with_frame,
    without_frames,
    write_recording,
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of H.264, a key frame every 4, in many small chunks."""
    folder = tmp_path_factory.mktemp("svo2")
    return rewrite(write_recording(folder / "source.svo2"), folder / "recording.svo2", lambda content: content, chunk_size=16 * 1024)


def outcome(reader: Svo2Reader, *args: int) -> dict[int, str]:
    """For each frame a digest of its images, or `bad`."""
    found = {}
    for frame in reader.frames(*args):
        if isinstance(frame, BadFrame):
            assert frame.reason
            found[frame.index] = "bad"
        else:
            found[frame.index] = hashlib.sha256(b"".join(image.tobytes() for image in frame.images())).hexdigest()
    return found


@pytest.fixture(scope="module")
def sound(recording: Path) -> dict[int, str]:
    with open_svo2(recording) as reader:
        return outcome(reader)


def bad(found: dict[int, str]) -> list[int]:
    return [index for index, result in found.items() if result == "bad"]


def assert_good_frames_are_right(found: dict[int, str], sound: dict[int, str], shift: int = 0) -> None:
    assert {index: result for index, result in found.items() if result != "bad"} == {
        index: sound[index + shift] for index, result in found.items() if result != "bad"
    }


@pytest.mark.requirement("ING-04")
@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE])
def test_file_cut_anywhere_gives_its_whole_frames_or_a_sentence(
    recording: Path, sound: dict[int, str], tmp_path: Path, compression: CompressionType
) -> None:
    source = rewrite(recording, tmp_path / "source.svo2", lambda content: content, chunk_size=16 * 1024, compression=compression)
    size = source.stat().st_size
    before = 0
    sentences: list[str] = []
    for length in sorted(np.random.default_rng(0).integers(0, size, 40)):
        try:
            with open_svo2(cut(source, tmp_path / "cut.svo2", int(length))) as reader:
                found = outcome(reader)
                assert not reader.index.complete
                assert len(found) == reader.info.frame_count
                assert not bad(found)
                assert_good_frames_are_right(found, sound)
                assert check(reader).problems
        except InputError as error:
            sentences.append(str(error))
            found = {}
        assert len(found) >= before
        before = len(found)
    assert before == 12
    assert all("cut.svo2" in sentence for sentence in sentences)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_offset_of_a_cut_gives_the_first_frames_or_a_sentence(
    recording: Path, sound: dict[int, str], tmp_path: Path, share: float
) -> None:
    path = cut(recording, tmp_path / "cut.svo2", int(share * recording.stat().st_size))
    try:
        reader = open_svo2(path)
    except InputError as error:
        sentence = str(error)
    else:
        sentence = ""
    if sentence:
        assert str(path) in sentence
        return
    with reader:
        found = outcome(reader)
        assert list(found) == list(range(len(found)))
        assert_good_frames_are_right(found, sound)
        assert not bad(found)
        assert len(list(reader.frame_sensors())) <= 12


def test_cut_chunk_gives_the_frames_in_its_whole_part(recording: Path, sound: dict[int, str], tmp_path: Path) -> None:
    source = rewrite(recording, tmp_path / "one.svo2", lambda content: content, chunk_size=64 * 1024 * 1024)
    with source.open("rb") as file:
        chunks = [record for record in StreamReader(file, emit_chunks=True).records if isinstance(record, Chunk)]
    assert len(chunks) == 1
    with open_svo2(cut(source, tmp_path / "cut.svo2", source.stat().st_size * 2 // 3)) as reader:
        found = outcome(reader)
        assert 2 <= len(found) < 12
        assert_good_frames_are_right(found, sound)
        assert reader.index.damaged_blocks == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_overwritten_bytes_never_crash_the_reader(recording: Path, tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(recording.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(8, len(raw) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=40))
        raw[start : start + len(junk)] = junk[: len(raw) - start]
    path = tmp_path / "damaged.svo2"
    path.write_bytes(raw)
    try:
        reader = open_svo2(path)
    except InputError:
        return
    with reader:
        found = outcome(reader)
        assert list(found) == list(range(reader.info.frame_count))
        list(reader.sensors())
        list(reader.frame_sensors())
        check(reader)


def test_frames_behind_a_damaged_picture_are_bad_up_to_the_next_key_frame(recording: Path, sound: dict[int, str], tmp_path: Path) -> None:
    with open_svo2(rewrite(recording, tmp_path / "b.svo2", with_frame(5, noisy_payload))) as reader:
        found = outcome(reader)
        assert bad(found) == [5, 6, 7]
        assert_good_frames_are_right(found, sound)
        assert outcome(reader, 6, 12, 3) == {6: "bad", 9: sound[9]}
        assert outcome(reader, 0, 12, 6) == {0: sound[0], 6: "bad"}


def test_damaged_last_pictures_are_bad_and_those_before_come_out(recording: Path, sound: dict[int, str], tmp_path: Path) -> None:
    """Pictures still in the decoder's threads when the error comes must not be lost."""
    with open_svo2(rewrite(recording, tmp_path / "b.svo2", with_frame(11, lambda data: data[:8] + bytes(len(data) - 8)))) as reader:
        found = outcome(reader)
    assert bad(found) == [11]
    assert_good_frames_are_right(found, sound)


def test_recording_that_begins_between_key_frames_reads_from_the_first_one_on(
    recording: Path, sound: dict[int, str], tmp_path: Path
) -> None:
    with open_svo2(rewrite(recording, tmp_path / "b.svo2", without_frames(0))) as reader:
        assert reader.info.key_frames == (3, 7)
        found = outcome(reader)
        assert bad(found) == [0, 1, 2]
        assert_good_frames_are_right(found, sound, shift=1)
        assert outcome(reader, 1, 11, 4) == {1: "bad", 5: sound[6], 9: sound[10]}
        assert check(reader).first_decodable_frame == 3


def test_without_a_further_key_frame_later_pictures_are_delivered(tmp_path: Path) -> None:
    """Recordings with intra refresh have no key frames; giving up everything behind one bad picture would give up the file."""
    source = write_recording(tmp_path / "source.svo2", 8, gop=100)
    with open_svo2(rewrite(source, tmp_path / "b.svo2", with_frame(3, noisy_payload))) as reader:
        assert bad(outcome(reader)) == [3]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_empty_and_junk_pictures_are_bad_and_do_not_stop_the_decoder(tmp_path: Path, codec) -> None:
    source = write_recording(tmp_path / "source.svo2", 9, gop=3, codec=codec)
    for name, edit in {"empty": lambda data: data[:4] + bytes(4) + data[8:], "junk": lambda data: data[:8] + bytes(len(data) - 8)}.items():
        with open_svo2(source) as reader, open_svo2(rewrite(source, tmp_path / f"{name}.svo2", with_frame(4, edit))) as damaged:
            found = outcome(damaged)
            assert bad(found) == [4, 5]
            assert_good_frames_are_right(found, outcome(reader))


def test_damaged_jpeg_is_bad_alone(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "source.svo2", 4, codec="jpeg")
    with open_svo2(rewrite(source, tmp_path / "b.svo2", with_frame(2, lambda data: data[:8] + b"\xff" * 60 + data[68:]))) as reader:
        assert bad(outcome(reader)) == [2]


def test_wrong_size_table_of_jpeg_strips_is_overcome(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "source.svo2", 3, codec="jpeg")
    with (
        open_svo2(source) as reader,
        open_svo2(rewrite(source, tmp_path / "b.svo2", with_frame(1, lambda d: d[:8] + b"\7" + d[9:]))) as other,
    ):
        assert outcome(other) == outcome(reader)


def test_frames_behind_a_lost_chunk_are_bad_up_to_the_next_key_frame(recording: Path, sound: dict[int, str], tmp_path: Path) -> None:
    """The decoder would conceal missing frames without a word."""

    def only_frames(content: list[Item]) -> list[Item]:
        return [item for item in content if item.topic in (VIDEO, "svo_header")]

    source = rewrite(recording, tmp_path / "a.svo2", only_frames, chunk_size=1)
    with source.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    chunks = summary.chunk_indexes
    assert len(chunks) == 13
    raw = bytearray(source.read_bytes())
    start = chunks[6].chunk_start_offset
    raw[start : start + 60] = bytes(60)
    path = tmp_path / "b.svo2"
    path.write_bytes(raw)
    with open_svo2(path) as reader:
        found = outcome(reader)
        assert reader.index.damaged_blocks == 1
    assert bad(found) == [5, 6]
    assert [found[n] for n in (0, 1, 2, 3, 4, 7, 8, 9, 10)] == [sound[n] for n in (0, 1, 2, 3, 4, 8, 9, 10, 11)]


@pytest.mark.requirement("EXT-02")
@pytest.mark.parametrize(
    ("wanted", "fed"),
    [
        (range(12), list(range(12))),
        (range(5, 6), [4, 5]),
        (range(0, 12, 4), [0, 4, 8]),
        (range(1, 12, 5), [0, 1, 4, 5, 6, 8, 9, 10, 11]),
        (range(2, 12, 9), [0, 1, 2, 8, 9, 10, 11]),
        ((0, 4, 8), [0, 4, 8]),
    ],
)
def test_only_pictures_that_are_needed_are_decoded(recording: Path, wanted, fed: list[int]) -> None:
    pictures = [payload(item.data) for item in items(recording) if item.topic == VIDEO]
    asked: list[int] = []

    def packet(number: int) -> StoredFrame:
        asked.append(number)
        return StoredFrame(number, pictures[number], after_loss=False)

    assert [index for index, _ in decode("h264", wanted, (0, 4, 8), packet)] == list(wanted)
    assert asked == fed


def test_trailer_that_lies_about_its_payload_is_overlooked(recording: Path, sound: dict[int, str], tmp_path: Path) -> None:
    def lie(content: list[Item]) -> list[Item]:
        def edit(data: bytes) -> bytes:
            return data[: len(data) - 56] + struct.pack("<II", 9999, 8888) + data[len(data) - 48 : len(data) - 24] + bytes(24)

        first = next(n for n, item in enumerate(content) if item.topic == VIDEO)
        return [replace(item, data=edit(item.data)) if n == first else item for n, item in enumerate(content)]

    with open_svo2(rewrite(recording, tmp_path / "b.svo2", lie)) as reader:
        assert outcome(reader) == sound


def test_wrong_checksum_counts_only_in_files_whose_checksums_hold(recording: Path, tmp_path: Path) -> None:
    """Cameras fill the field with something else than the CRC-32 of the specification."""
    raw = bytearray(recording.read_bytes())
    with recording.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    checksums = [index.chunk_start_offset + 9 + 24 for index in summary.chunk_indexes]
    path = tmp_path / "b.svo2"
    for wrong, damaged in [(checksums[-1:], 1), (checksums, 0)]:
        for at in wrong:
            raw[at] ^= 0xFF
        path.write_bytes(raw)
        for at in wrong:
            raw[at] ^= 0xFF
        with open_svo2(path) as reader:
            assert reader.index.damaged_blocks == damaged


def test_real_recording_cut_anywhere_gives_its_first_frames(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "svo2/zed_12frames.svo2"
    with open_svo2(source) as reader:
        whole = outcome(reader)
    with pytest.raises(InputError, match="cut off before the end of the first"):
        open_svo2(cut(source, tmp_path / "cut.svo2", 100_000))
    counts = []
    for length in (210_000, 300_000, 431_000, 500_000, 700_000, 833_251):
        with open_svo2(cut(source, tmp_path / "cut.svo2", length)) as reader:
            found = outcome(reader)
            assert not reader.index.complete
            assert found == {index: whole[index] for index in found}
            counts.append(len(found))
    assert counts == [1, 4, 6, 7, 10, 12]
