import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings import svo2_index
from lamm_pipeline.recordings.frame_timing import Gap, measure
from lamm_pipeline.recordings.metadata import describe, filename_timestamp_ns, frame_count
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline_tests.recordings.svo2_files import (
    FIRST_NS,
    HEIGHT,
    PERIOD_NS,
    SERIAL,
    VIDEO,
    WIDTH,
    Item,
    cut,
    items,
    payload,
    rewrite,
    write_recording,
)

REAL = "svo2/zed_12frames.svo2"


@pytest.mark.requirement("ING-03", "ING-07", "API-03")
def test_facts_of_the_real_recording(shared_data: Path) -> None:
    path = shared_data / REAL
    with open_svo2(path) as reader:
        facts = describe(reader, path)
    assert (facts.serial, facts.model, facts.camera_firmware, facts.sensors_firmware) == (33234316, "ZED 2i", 1523, 777)
    assert (facts.width, facts.height, facts.codec, facts.format_version, facts.sdk_version) == (1280, 720, "h264", "2.0.3", None)
    assert (facts.frame_count, facts.key_frame_count, facts.imu_sample_count) == (12, 1, 1433)
    assert facts.nominal_fps == 30
    assert facts.measured_fps == pytest.approx(1 / 0.3, rel=0.001)
    assert facts.duration_s == pytest.approx(3.300002, abs=1e-6)
    assert facts.imu_rate_hz == pytest.approx(398, abs=1)
    bits = 8 * sum(len(payload(item.data)) for item in items(path) if item.topic.endswith("side_by_side"))
    assert facts.bitrate_bits_s == pytest.approx(bits / 3.6, rel=0.001)
    assert (facts.gap_count, facts.gaps, facts.dropped_frames_estimate) == (0, (), 0)
    assert facts.recorded_at_ns == 1729872812677319000
    assert (facts.gps, facts.extra_topics, facts.complete, facts.synthetic) == (None, {}, True, False)
    assert facts.size_bytes == 833252
    assert facts.digest == "155fb12da63a51854e66095e0ea3abb988af29396b5fa60e3177ab259e316143"
    assert set(facts.header) == {"version", "header", "Calib_acc", "Calib_gyro"}
    json.dumps(asdict(facts), allow_nan=False)


def test_facts_of_a_written_recording(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "drive_1700000000123.svo2", 5)
    with open_svo2(path) as reader:
        facts = describe(reader, path)
        assert describe(reader, path, digest="known").digest == "known"
    assert (facts.serial, facts.width, facts.height, facts.synthetic) == (SERIAL, WIDTH, HEIGHT, True)
    assert facts.filename_timestamp_ns == 1_700_000_000_123_000_000
    assert facts.measured_fps == pytest.approx(10)
    assert facts.imu_rate_hz == pytest.approx(400)
    assert facts.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_frame_has_no_rate(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.svo2", 1, imu_per_frame=0)
    with open_svo2(path) as reader:
        facts = describe(reader, path)
    assert (facts.measured_fps, facts.bitrate_bits_s, facts.imu_rate_hz, facts.duration_s) == (None, None, None, 0)


def test_sdk_version_is_read_in_any_case(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2", 1)

    def newer(content: list[Item]) -> list[Item]:
        header = json.loads(content[0].data) | {"zed_sdk_version": "5.1.2", "IMU_frequency": 400.0}
        return [replace(content[0], data=json.dumps(header).encode()), *content[1:]]

    path = rewrite(source, tmp_path / "b.svo2", newer)
    with open_svo2(path) as reader:
        facts = describe(reader, path)
    assert (facts.sdk_version, facts.header["IMU_frequency"]) == ("5.1.2", 400.0)


def test_gnss_channel_is_kept_as_it_stands(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "a.svo2", 2)
    fixes = [
        Item("Camera_SN1/GNSS_fix", "json", ("gnss", "jsonschema", b"{}"), FIRST_NS, b'{"lat": 48.1}'),
        Item("Camera_SN1/GNSS_fix", "json", ("gnss", "jsonschema", b"{}"), FIRST_NS + 1, b'{"lat": 48.2}'),
        Item("gps_raw", "bytes", ("raw", "", b""), FIRST_NS, b"\xff\x00"),
        Item("note", "json", ("note", "jsonschema", b"{}"), FIRST_NS, b"{}"),
    ]
    path = rewrite(source, tmp_path / "b.svo2", lambda content: [*content, *fixes])
    with open_svo2(path) as reader:
        facts = describe(reader, path)
    assert facts.gps is not None
    assert [(channel.topic, channel.message_count, channel.first) for channel in facts.gps] == [
        ("Camera_SN1/GNSS_fix", 2, '{"lat": 48.1}'),
        ("gps_raw", 1, "/wA="),
    ]
    assert facts.extra_topics == {"Camera_SN1/GNSS_fix": 2, "gps_raw": 1, "note": 1}


@pytest.mark.requirement("ING-14")
@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("1700000000.svo2", 1_700_000_000 * 10**9),
        ("HD720_SN33234316_1700000000123.svo2", 1_700_000_000_123 * 10**6),
        ("cam-1700000000-left.svo2", 1_700_000_000 * 10**9),
        ("17000000001.svo2", 17_000_000_001 * 10**9),
        ("2024-10-25.svo2", None),
        ("17000000001234.svo2", None),
        ("drive.svo2", None),
    ],
)
def test_unix_time_is_read_from_the_file_name(name: str, stamp: int | None) -> None:
    assert filename_timestamp_ns(Path("/data/1600000000") / name) == stamp


@pytest.mark.requirement("ING-02", "API-02")
def test_frame_count_needs_no_pass_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_recording(tmp_path / "a.svo2", 7)

    def refuse(*_: object) -> None:
        raise AssertionError("the file was walked")

    monkeypatch.setattr(svo2_index, "read_index", refuse)
    assert frame_count(path) == 7


@pytest.mark.requirement("ING-02")
def test_frames_of_a_cut_file_are_counted(tmp_path: Path) -> None:
    source = rewrite(write_recording(tmp_path / "a.svo2"), tmp_path / "b.svo2", lambda content: content, chunk_size=1)
    content = items(source)
    path = cut(source, tmp_path / "c.svo2", source.stat().st_size // 2)
    assert 0 < frame_count(path) < sum(1 for item in content if item.topic == VIDEO)
    path.write_bytes(b"not a recording")
    with pytest.raises(InputError, match="not an SVO2 recording"):
        frame_count(path)


def test_gaps_are_waits_of_more_than_one_and_a_half_periods() -> None:
    stamps = [0, 100, 200, 349, 450, 601, 700, 1100]
    timing = measure([stamp * 10**6 for stamp in stamps])
    assert timing.fps == pytest.approx(9.9, abs=0.2)
    assert timing.gaps == (Gap(6, 0.4),)
    assert timing.dropped_frames_estimate == 3
    assert timing.span_s == pytest.approx(1.1)


def test_stamps_that_go_back_or_repeat_are_counted() -> None:
    timing = measure([0, 100, 100, 50, 200, 300])
    assert (timing.backward, timing.repeated) == (1, 1)
    assert measure([5, 5]).fps is None
    assert measure([]).span_s == 0


def test_period_of_the_files_is_the_one_measured(tmp_path: Path) -> None:
    with open_svo2(write_recording(tmp_path / "a.svo2", 4, imu_per_frame=0)) as reader:
        assert measure(reader.info.frame_timestamps_ns).period_s == PERIOD_NS / 1e9
