import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader

from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.recordings.svo2_writer import Svo2Writer
from lamm_pipeline_tests.recordings.svo2_files import (
    FIRST_NS,
    HEIGHT,
    SERIAL,
    VIDEO,
    WIDTH,
    items,
    payload,
    sample,
    stereo_pair,
    write_recording,
)

REAL = "svo2/zed_12frames.svo2"


def layout(path: Path) -> dict[str, object]:
    """What an MCAP reader says about a file's structure, the serial number replaced."""
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        header = reader.get_header()
    assert summary is not None

    def plain(value: str) -> str:
        return value.replace("33234316", "SN").replace(str(SERIAL), "SN")

    def body(data: bytes) -> object:
        return json.loads(plain(data.decode())) if data else None

    return {
        "header": (header.profile, header.library),
        "channels": [
            (number, plain(c.topic), c.message_encoding, c.schema_id, c.metadata) for number, c in sorted(summary.channels.items())
        ],
        "schemas": [(number, plain(s.name), s.encoding, body(s.data)) for number, s in sorted(summary.schemas.items())],
        "compression": {index.compression for index in summary.chunk_indexes},
        "statistics": summary.statistics is not None,
    }


@pytest.mark.requirement("NFR-08")
def test_written_file_has_the_channels_schemas_and_layout_of_a_real_one(shared_data: Path, tmp_path: Path) -> None:
    assert layout(write_recording(tmp_path / "a.svo2")) == layout(shared_data / REAL)


def test_messages_stand_in_the_order_of_a_real_file(shared_data: Path, tmp_path: Path) -> None:
    for content in (items(shared_data / REAL), items(write_recording(tmp_path / "a.svo2"))):
        topics = [item.topic.split("/")[-1] for item in content]
        assert topics[0] == "svo_header"
        assert topics[-1] == "svo_footer"
        pictures = [n for n, topic in enumerate(topics) if topic == "side_by_side"]
        assert all(topics[n - 1] == "integrated_sensors" and content[n - 1].log_time == content[n].log_time for n in pictures)
        assert all(len(item.data) == 513 for item in content if item.topic.endswith("sensors"))
        header = json.loads(content[0].data)
        assert list(header) == ["Calib_acc", "Calib_gyro", "header", "version"]
        footer = json.loads(content[-1].data)
        stamps = {topic: [item.log_time for item in content if item.topic == topic] for topic in footer}
        assert footer == stamps
        assert content[-1].log_time == content[pictures[0]].log_time


def test_sequence_counts_from_one_per_channel_and_publish_time_is_log_time(tmp_path: Path) -> None:
    with write_recording(tmp_path / "a.svo2").open("rb") as file:
        found: dict[str, list[int]] = {}
        for _, channel, message in make_reader(file).iter_messages(log_time_order=False):
            found.setdefault(channel.topic, []).append(message.sequence)
            assert message.publish_time == message.log_time
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in found.values())


def test_chunks_are_lz4_of_about_768_kib(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.svo2", 60, codec="jpeg", jpeg_quality=100)
    with path.open("rb") as file:
        chunks = [record for record in StreamReader(file, emit_chunks=True).records if isinstance(record, Chunk)]
    assert len(chunks) > 2
    assert all(chunk.compression == "lz4" and chunk.uncompressed_crc for chunk in chunks)
    assert all(768 * 1024 < chunk.uncompressed_size < 1024 * 1024 for chunk in chunks[:-1])


@pytest.mark.parametrize(("codec", "decoder"), [("h264", "h264"), ("hevc", "hevc")])
def test_each_message_is_one_annex_b_picture_that_a_plain_decoder_reads(tmp_path: Path, codec, decoder: str) -> None:
    path = write_recording(tmp_path / "a.svo2", 6, codec=codec, gop=3)
    context = av.CodecContext.create(decoder, "r")
    context.thread_count = 1
    for number, item in enumerate(i for i in items(path) if i.topic == VIDEO):
        data = payload(item.data)
        assert data.startswith(b"\0\0\0\1")
        assert data[4] == ({"h264": 0x67, "hevc": 0x40}[codec] if number % 3 == 0 else data[4])
        pictures = context.decode(av.Packet(data))
        assert [(picture.width, picture.height, picture.format.name) for picture in pictures] == [(2 * WIDTH, HEIGHT, "yuv420p")]
        assert b"x264" not in data


@pytest.mark.parametrize("codec", ["h264", "hevc", "jpeg"])
def test_images_and_sensors_come_back(tmp_path: Path, codec) -> None:
    with open_svo2(write_recording(tmp_path / "a.svo2", 6, codec=codec)) as reader:
        assert reader.info.codec == codec
        assert (reader.info.serial, reader.info.width, reader.info.height, reader.info.model) == (SERIAL, WIDTH, HEIGHT, "ZED 2i")
        for number, frame in enumerate(reader.frames()):
            for image, original in zip(frame.images(), stereo_pair(number), strict=True):
                assert image.shape == original.shape
                assert np.abs(image.astype(int) - original).mean() < 4
        assert [s.timestamp_ns for s in reader.frame_sensors()] == list(reader.info.frame_timestamps_ns)
        assert next(iter(reader.sensors())).linear_acceleration == pytest.approx(sample(FIRST_NS).linear_acceleration, abs=0.01)


@pytest.mark.parametrize("codec", ["h264", "hevc", "jpeg"])
def test_equal_input_gives_equal_bytes(tmp_path: Path, codec) -> None:
    digests = {hashlib.sha256(write_recording(tmp_path / name, 8, codec=codec).read_bytes()).hexdigest() for name in ("a", "b")}
    assert len(digests) == 1


def test_grey_images_are_taken(tmp_path: Path) -> None:
    left, right = (np.ascontiguousarray(image[:, :, 1]) for image in stereo_pair(0))
    with Svo2Writer(tmp_path / "a.svo2", serial=1, width=WIDTH, height=HEIGHT, fps=10) as writer:
        writer.add_frame(left, right, 5)
    with open_svo2(tmp_path / "a.svo2") as reader:
        image = next(reader.frames()).images()[0]
    assert np.abs(image.astype(int) - left[:, :, None]).mean() < 3


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with Svo2Writer(tmp_path / "a.svo2", serial=1, width=WIDTH, height=HEIGHT, fps=10) as writer:
        writer.add_frame(*stereo_pair(0), 5)
        assert not (tmp_path / "a.svo2").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.svo2"]


def test_aborted_block_leaves_nothing_and_keeps_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "a.svo2").write_bytes(b"old")
    writer = Svo2Writer(tmp_path / "a.svo2", serial=1, width=WIDTH, height=HEIGHT, fps=10)
    with pytest.raises(ValueError, match="shape"), writer:
        [writer.add_frame(*stereo_pair(n, WIDTH if n < 3 else 2), n) for n in range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.svo2"]
    assert (tmp_path / "a.svo2").read_bytes() == b"old"


def test_wrong_sizes_and_unsorted_sensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even sizes"):
        Svo2Writer(tmp_path / "a.svo2", serial=1, width=3, height=4, fps=1)
    with Svo2Writer(tmp_path / "a.svo2", serial=1, width=WIDTH, height=HEIGHT, fps=10) as writer:
        with pytest.raises(ValueError, match="instead of"):
            writer.add_frame(*stereo_pair(0, WIDTH + 2), 5)
        writer.add_sensors([sample(10)])
        with pytest.raises(ValueError, match="time order"):
            writer.add_sensors([sample(9)])


def test_files_are_marked_as_not_from_a_camera(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.svo2", 2, source_names=["left 1", "ähnlich"], metadata={"generator": "test"})
    with path.open("rb") as file:
        notes = [(record.name, record.metadata) for record in make_reader(file).iter_metadata()]
    assert notes == [
        ("lamm_pipeline", {"synthetic": "true", "generator": "test", "source_names": '["left 1", "ähnlich"]'}),
    ]
    with open_svo2(path) as reader:
        assert reader.info.synthetic
        assert reader.info.source_names == ("left 1", "ähnlich")
