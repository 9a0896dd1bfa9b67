import hashlib
import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from mcap.writer import CompressionType

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.color import ColorConversion
from lamm_pipeline.recordings.reader import BadFrame, RecordingReader
from lamm_pipeline.recordings.svo2_reader import RawMessage, open_svo2
from lamm_pipeline_tests.recordings.svo2_files import (
    FIRST_NS,
    FRAME_SENSORS,
    HEIGHT,
    PERIOD_NS,
    SENSORS,
    SERIAL,
    VIDEO,
    WIDTH,
    Item,
    items,
    noisy_padding,
    payload,
    rewrite,
    with_frame,
    with_frames,
    with_header,
    with_header_field,
    without,
    write_recording,
)

REAL = "svo2/zed_12frames.svo2"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of H.264, a key frame every 4."""
    return write_recording(tmp_path_factory.mktemp("svo2") / "recording.svo2")


def digests(reader: RecordingReader, *args: int) -> list[tuple[int, str]]:
    found = []
    for frame in reader.frames(*args):
        assert not isinstance(frame, BadFrame), frame
        found.append((frame.index, hashlib.sha256(b"".join(image.tobytes() for image in frame.images())).hexdigest()))
    return found


@pytest.mark.requirement("EXT-01", "ING-10", "NFR-08")
def test_real_recording_reads_whole(shared_data: Path) -> None:
    with open_svo2(shared_data / REAL) as reader:
        info = reader.info
        assert (info.serial, info.model, info.camera_firmware, info.sensors_firmware) == (33234316, "ZED 2i", 1523, 777)
        assert (info.width, info.height, info.nominal_fps, info.codec, info.key_frames) == (1280, 720, 30.0, "h264", (0,))
        assert info.header["version"] == "2.0.3"
        assert not info.synthetic
        assert info.source_names == ()
        video = [item.log_time for item in items(shared_data / REAL) if item.topic.endswith("side_by_side")]
        assert list(info.frame_timestamps_ns) == video
        frames = list(reader.frames())
        assert [(frame.index, frame.timestamp_ns) for frame in frames] == list(enumerate(video))
        images = [frame.images() for frame in frames]
        assert all(image.shape == (720, 1280, 3) for pair in images for image in pair)
        assert all(not np.array_equal(a[0], b[0]) for a, b in itertools.pairwise(images))


@pytest.mark.requirement("ING-10")
def test_real_recording_has_its_imu_data(shared_data: Path) -> None:
    with open_svo2(shared_data / REAL) as reader:
        samples = list(reader.sensors())
        assert len(samples) == 1433
        stamps = [sample.timestamp_ns for sample in samples]
        assert stamps == sorted(stamps)
        norms = np.linalg.norm([sample.linear_acceleration for sample in samples], axis=1)
        assert norms.mean() == pytest.approx(9.795, abs=0.01)
        assert np.abs([sample.angular_velocity for sample in samples]).max() < 0.05
        assert samples[0].pressure_hpa == pytest.approx(1051.05, abs=0.1)
        per_frame = list(reader.frame_sensors())
        assert [sample.timestamp_ns for sample in per_frame] == list(reader.info.frame_timestamps_ns)
        assert np.linalg.norm([sample.orientation_xyzw for sample in per_frame], axis=1) == pytest.approx(1, abs=1e-4)
        assert reader.skipped_sensor_messages == 0


def test_pictures_of_the_real_recording_are_full_range(shared_data: Path) -> None:
    content = [item for item in items(shared_data / REAL) if item.topic.endswith("side_by_side")]
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    luma = context.decode(av.Packet(payload(content[0].data)))[0].to_ndarray()[:720]
    with open_svo2(shared_data / REAL) as reader:
        left, right = next(reader.frames()).images()
    grey = np.hstack([left, right]).astype(float) @ [0.114, 0.587, 0.299]
    inner = (luma > 20) & (luma < 235) & (np.hstack([left, right]).max(axis=2) < 255) & (np.hstack([left, right]).min(axis=2) > 0)
    assert np.abs(grey - luma)[inner].max() < 2.5
    with open_svo2(shared_data / REAL, color=ColorConversion(range="limited")) as reader:
        assert next(reader.frames()).images()[0].std() > left.std()


@pytest.mark.requirement("EXT-02")
@pytest.mark.parametrize("codec", ["h264", "hevc", "jpeg"])
def test_random_access_gives_the_same_pictures_as_reading_through(tmp_path: Path, codec) -> None:
    with open_svo2(write_recording(tmp_path / "a.svo2", 11, codec=codec)) as reader:
        through = digests(reader)
        assert [index for index, _ in through] == list(range(11))
        for start, stop, step in [(0, 11, 3), (5, 6, 1), (3, 9, 5), (10, 11, 1), (1, 100, 7), (4, 4, 1)]:
            assert digests(reader, start, stop, step) == through[start:stop:step]
        keys = [frame.index for frame in reader.key_frames()]
        assert keys == (list(range(11)) if codec == "jpeg" else [0, 4, 8])
        with pytest.raises(ValueError, match="step >= 1"):
            reader.frames(0, 5, 0)


def test_passes_may_run_side_by_side(recording: Path) -> None:
    with open_svo2(recording) as reader:
        through = digests(reader)
        mixed = [
            (a.index, b.timestamp_ns, c.timestamp_ns > 0)
            for a, b, c in zip(reader.frames(), reader.frame_sensors(), reader.sensors(), strict=False)
        ]
        assert mixed == [(n, FIRST_NS + n * PERIOD_NS, True) for n in range(12)]
        assert digests(reader) == through


def test_reader_may_be_left_in_the_middle_of_a_pass(recording: Path) -> None:
    with open_svo2(recording) as reader:
        assert next(reader.frames()).index == 0
        frames = reader.frames(2)
        assert [next(frames).index, next(frames).index] == [2, 3]


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE])
@pytest.mark.parametrize("options", [{}, {"summary": False}, {"chunked": False}, {"chunk_size": 1}])
def test_every_container_layout_reads_the_same(recording: Path, tmp_path: Path, compression, options) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", lambda content: content, compression=compression, **options)
    with open_svo2(recording) as reader, open_svo2(other) as again:
        assert digests(again) == digests(reader)
        assert list(again.sensors()) == list(reader.sensors())
        assert replace(again.info, synthetic=True) == reader.info
        assert again.index.complete


def test_file_without_footer_message_has_all_frames(recording: Path, tmp_path: Path) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", without("svo_footer"))
    with open_svo2(other) as reader:
        assert reader.index.footer_frames is None
        assert len(digests(reader)) == 12


def test_footer_that_disagrees_is_not_believed(recording: Path, tmp_path: Path) -> None:
    def shorten(content: list[Item]) -> list[Item]:
        return [replace(item, data=b'{"x/side_by_side":[1,2,3]}') if item.topic == "svo_footer" else item for item in content]

    with open_svo2(rewrite(recording, tmp_path / "b.svo2", shorten)) as reader:
        assert (reader.index.footer_frames, reader.index.footer_agrees) == (3, False)
        assert reader.info.frame_count == 12


def test_header_without_optional_keys_is_enough(recording: Path, tmp_path: Path) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", with_header(lambda header: {"Header": header["header"]}))
    with open_svo2(other) as reader:
        assert reader.info.serial == SERIAL


def test_header_width_of_both_eyes_is_only_a_hint(recording: Path, tmp_path: Path) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", with_header_field(0x00, 2 * WIDTH))
    with open_svo2(other) as reader:
        assert (reader.info.width, reader.info.height) == (WIDTH, HEIGHT)
        assert len(digests(reader)) == 12


def test_noise_in_the_padding_changes_nothing(recording: Path, tmp_path: Path) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", with_frames(lambda _, data: noisy_padding(data)))
    with open_svo2(recording) as reader, open_svo2(other) as again:
        assert digests(again) == digests(reader)


def test_unknown_channels_are_kept_as_they_stand(recording: Path, tmp_path: Path) -> None:
    extra = [Item("my/notes", "json", ("note", "jsonschema", b"{}"), FIRST_NS + n, b'{"n": %d}' % n) for n in range(3)]
    with open_svo2(rewrite(recording, tmp_path / "b.svo2", lambda content: [*content[:20], *extra, *content[20:]])) as reader:
        assert reader.index.extra_topics == {"my/notes": 3}
        assert list(reader.raw_messages()) == [RawMessage("my/notes", item.log_time, item.data) for item in extra]
        assert len(list(reader.raw_messages([VIDEO]))) == 12
        assert len(digests(reader)) == 12


def test_sensor_stamps_out_of_order_come_sorted(recording: Path, tmp_path: Path) -> None:
    def shuffle(content: list[Item]) -> list[Item]:
        places = [n for n, item in enumerate(content) if item.topic == SENSORS]
        order = np.random.default_rng(3).permutation(places)
        shuffled = list(content)
        for place, source in zip(places, order, strict=True):
            shuffled[place] = content[source]
        return shuffled

    with open_svo2(recording) as reader, open_svo2(rewrite(recording, tmp_path / "b.svo2", shuffle)) as again:
        assert not again.index.sensors_in_order
        assert list(again.sensors()) == list(reader.sensors())


def test_stamps_of_frames_may_go_back_and_order_stays_that_of_the_file(recording: Path, tmp_path: Path) -> None:
    def swap(content: list[Item]) -> list[Item]:
        return [replace(item, log_time=FIRST_NS - item.log_time % 7) if item.topic == VIDEO else item for item in content]

    with open_svo2(recording) as reader, open_svo2(rewrite(recording, tmp_path / "b.svo2", swap)) as again:
        assert digests(again) == digests(reader)


def test_damaged_sensor_messages_are_counted(recording: Path, tmp_path: Path) -> None:
    def damage(content: list[Item]) -> list[Item]:
        return [
            replace(item, data=b"{}") if item.topic in (SENSORS, FRAME_SENSORS) and n % 5 == 0 else item for n, item in enumerate(content)
        ]

    source = items(recording)
    damaged = {topic: sum(1 for n, item in enumerate(source) if item.topic == topic and n % 5 == 0) for topic in (SENSORS, FRAME_SENSORS)}
    with open_svo2(rewrite(recording, tmp_path / "b.svo2", damage)) as reader:
        assert len(list(reader.sensors())) == 12 * 40 - damaged[SENSORS]
        assert len(list(reader.frame_sensors())) == 12 - damaged[FRAME_SENSORS]
        assert reader.skipped_sensor_messages == sum(damaged.values())


def test_path_may_hold_spaces_and_umlauts(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "my récording ü 1.svo2", 2)
    with open_svo2(path) as reader:
        assert reader.info.frame_count == 2


def test_padding_noted_by_the_writer_is_cut_off(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.svo2", 2, image_size=(WIDTH - 1, HEIGHT - 1))
    with open_svo2(path) as reader:
        left, right = next(reader.frames()).images()
        assert (reader.info.width, reader.info.height) == (WIDTH - 1, HEIGHT - 1)
        assert left.shape == right.shape == (HEIGHT - 1, WIDTH - 1, 3)


@pytest.mark.requirement("NFR-11")
def test_memory_does_not_grow_with_the_length_of_the_recording(tmp_path: Path) -> None:
    short = write_recording(tmp_path / "a.svo2", 2, codec="jpeg", jpeg_quality=100, imu_per_frame=0)
    content = items(short)
    picture = next(item for item in content if item.topic == VIDEO)

    def repeat(_: list[Item]) -> list[Item]:
        return [content[0], *(replace(picture, log_time=FIRST_NS + n) for n in range(1500))]

    path = rewrite(short, tmp_path / "long.svo2", repeat, chunk_size=768 * 1024, compression=CompressionType.NONE)
    assert path.stat().st_size > 20e6
    tracemalloc.start()
    try:
        with open_svo2(path) as reader:
            assert sum(1 for _ in reader.frames()) == 1500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.requirement("ING-04", "API-04")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"SVO file version 1 ....", "ZED_SVO_Editor"),
        (b"\x89MCA", "cut off at its very beginning"),
        (b"\x89MCAP0\r\n", "no readable svo_header"),
    ],
)
def test_file_that_is_no_recording_is_refused_with_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.svo2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        open_svo2(path)
    assert str(path) in str(error.value)


def test_missing_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_svo2(tmp_path / "a.svo2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("svo_header"), "no readable svo_header"),
        (without(VIDEO), "no video frame"),
        (with_header(lambda _: {"version": "2"}), "cannot be read"),
        (with_frames(lambda _, data: data[:8] + b"\x89PNG\r\n\x1a\n" + data[16:]), r"LOSSLESS mode.*89 50 4e 47"),
        (with_frames(lambda _, data: data[:8] + b"secret!!" + data[16:]), r"neither H.264, H.265 nor JPEG.*73 65 63 72"),
    ],
)
def test_unusable_content_is_refused_with_a_sentence(recording: Path, tmp_path: Path, change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_svo2(rewrite(recording, tmp_path / "b.svo2", change))


def test_file_of_two_cameras_is_refused(recording: Path, tmp_path: Path) -> None:
    def double(content: list[Item]) -> list[Item]:
        return [*content, *(replace(item, topic="Camera_SN7/side_by_side") for item in content if item.topic == VIDEO)]

    with pytest.raises(InputError, match="2 cameras"):
        open_svo2(rewrite(recording, tmp_path / "b.svo2", double))


def test_without_parameter_sets_the_header_tells_the_codec(recording: Path, tmp_path: Path) -> None:
    pictures = [payload(item.data) for item in items(recording) if item.topic == VIDEO]
    assert pictures[1][4] & 0x1F == 1

    def only_predicted(content: list[Item]) -> list[Item]:
        pictures = [item for item in content if item.topic == VIDEO]
        keys = {id(pictures[n]) for n in (0, 4, 8)}
        return [item for item in content if id(item) not in keys]

    with open_svo2(rewrite(recording, tmp_path / "b.svo2", only_predicted)) as reader:
        assert (reader.info.codec, reader.info.key_frames, reader.info.frame_count) == ("h264", (), 9)
        frames = list(reader.frames())
        assert [frame.index for frame in frames] == list(range(9))
        assert all(isinstance(frame, BadFrame) for frame in frames)


def test_message_without_whole_payload_is_a_bad_frame(recording: Path, tmp_path: Path) -> None:
    other = rewrite(recording, tmp_path / "b.svo2", with_frame(5, lambda data: data[:40]))
    with open_svo2(other) as reader:
        frames = list(reader.frames())
    assert [frame.index for frame in frames if isinstance(frame, BadFrame)] == [5, 6, 7]
    assert "no whole picture" in frames[5].reason
