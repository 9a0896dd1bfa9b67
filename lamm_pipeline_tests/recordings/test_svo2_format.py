import json
import math
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.recordings import svo2_format as fmt
from lamm_pipeline.recordings import svo2_sensors
from lamm_pipeline_tests.recordings.svo2_files import sample

U32 = st.integers(0, 2**32 - 1)
F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(numbers=st.lists(U32, min_size=9, max_size=9), matrix=st.lists(F32, min_size=16, max_size=16))
def test_header_struct_survives_packing(numbers: list[int], matrix: list[float]) -> None:
    header = fmt.CameraHeader(*numbers[:8], tuple(matrix), numbers[8])
    packed = header.pack()
    assert len(packed) == 128
    assert fmt.CameraHeader.unpack(packed) == header


def test_header_struct_has_its_fields_where_the_specification_says() -> None:
    packed = fmt.CameraHeader(1280, 720, 33234316, 30, 4, 5, 777, 1523, fmt.IDENTITY_4X4, 4).pack()
    offsets = {0x00: 1280, 0x04: 720, 0x08: 33234316, 0x0C: 30, 0x14: 4, 0x18: 5, 0x1C: 777, 0x20: 1523, 0x64: 4, 0x78: 1}
    assert {offset: struct.unpack_from("<I", packed, offset)[0] for offset in offsets} == offsets
    assert struct.unpack_from("<f", packed, 0x24) == (1.0,)


def test_header_message_is_found_in_any_case_and_needs_nothing_but_the_struct() -> None:
    raw = fmt.CameraHeader(1280, 720, 7, 30, 4, 4, 1, 2, fmt.IDENTITY_4X4, 5).pack()
    import base64

    value, header = fmt.parse_header_message(json.dumps({"HEADER": base64.b64encode(raw).decode()}).encode())
    assert (header.serial, header.model) == (7, "ZED X")
    assert fmt.header_value(value, "header") == value["HEADER"]


@pytest.mark.parametrize("message", [b"", b"[]", b"{}", b"nonsense", b'{"header": 5}', b'{"header": "AAAA"}'])
def test_unusable_header_message_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        fmt.parse_header_message(message)


def test_unknown_model_id_is_called_unknown() -> None:
    assert fmt.CameraHeader(1, 1, 1, 1, 1, 1, 1, 1, fmt.IDENTITY_4X4, 4711).model == "unknown"


@given(payload=st.binary(min_size=1, max_size=300), stamp=st.integers(0, 2**63 - 1), index=U32, is_key=st.booleans(), hevc=st.booleans())
def test_video_message_survives_packing(payload: bytes, stamp: int, index: int, is_key: bool, hevc: bool) -> None:
    trailer = fmt.FrameTrailer(2560, 720, hevc, stamp, len(payload), is_key, 3, index, stamp // 2)
    message = b"xx" + fmt.pack_video_message(payload, trailer) + b"yy"
    split = fmt.split_video_message(message, 2, len(message) - 2)
    assert split is not None
    assert (message[split[0] : split[1]], split[2]) == (payload, trailer)
    assert struct.unpack_from("<II", message, 2) == (4 + len(payload) + 56, len(payload))


@given(st.binary(max_size=80))
def test_any_bytes_as_a_video_message_are_refused_or_lie_inside_it(data: bytes) -> None:
    split = fmt.split_video_message(data, 0, len(data))
    assert split is None or 8 <= split[0] < split[1] <= len(data)


H264_KEY = b"\0\0\0\1\x67sps\0\0\0\1\x68pps\0\0\0\1\x65slice"
H264_PREDICTED = b"\0\0\0\1\x41slice"
HEVC_KEY = b"\0\0\0\1\x40\x01vps\0\0\0\1\x42\x01sps\0\0\0\1\x44\x01pps\0\0\0\1\x26\x01slice"
HEVC_PREDICTED = b"\0\0\0\1\x02\x01slice"


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (H264_KEY, "h264"),
        (H264_PREDICTED, None),
        (b"\0\0\0\1\x09\x10" + H264_KEY, "h264"),
        (HEVC_KEY, "hevc"),
        (HEVC_PREDICTED, None),
        (struct.pack("<4Q", 4, 4, 4, 4) + b"\xff\xd8\xff\xe0" * 4, "jpeg"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (struct.pack("<Q", 99) + b"\x89PNG\r\n", "lossless"),
        (b"\x28\xb5\x2f\xfd....", "lossless"),
        (b"whatever", None),
    ],
)
def test_codec_is_told_from_the_payload(payload: bytes, codec: str | None) -> None:
    assert fmt.sniff_codec(b"pad" + payload, 3, 3 + len(payload)) == codec


def test_decoding_starts_at_idr_and_random_access_pictures_only() -> None:
    def starts(codec: fmt.Codec, payload: bytes) -> bool:
        return fmt.starts_decoding(codec, payload, 0, len(payload))

    assert starts("h264", H264_KEY)
    assert starts("hevc", HEVC_KEY)
    assert not starts("h264", H264_PREDICTED)
    assert not starts("hevc", HEVC_PREDICTED)
    assert not starts("h264", H264_KEY.replace(b"\x65", b"\x41"))
    assert starts("jpeg", b"")


def test_sei_units_are_taken_out_of_h264() -> None:
    with_sei = b"\0\0\0\1\x67sps\0\0\1\x06\x05info\0\0\0\1\x65slice"
    assert fmt.without_h264_sei(with_sei) == b"\0\0\0\1\x67sps\0\0\0\1\x65slice"
    assert fmt.without_h264_sei(H264_KEY) == H264_KEY


def jpeg(width: int, height: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((height, width), 90, np.uint8))[1].tobytes())


@pytest.mark.parametrize("count", [1, 3, 4])
def test_strips_are_split_by_their_size_table(count: int) -> None:
    strips = [jpeg(64, 8 + 8 * number) for number in range(count)]
    assert fmt.split_strips(fmt.pack_strips(strips)) == strips
    assert [fmt.jpeg_size(strip) for strip in strips] == [(64, 8 + 8 * number) for number in range(count)]


def test_strips_are_found_by_their_markers_when_the_size_table_is_wrong() -> None:
    strips = [jpeg(64, 8)] * 4
    payload = bytearray(fmt.pack_strips(strips))
    payload[0] ^= 0x55
    assert fmt.split_strips(bytes(payload)) == strips


def test_payload_without_jpeg_and_cut_jpeg_are_value_errors() -> None:
    with pytest.raises(ValueError, match="no JPEG"):
        fmt.split_strips(b"nothing here")
    with pytest.raises(ValueError, match="no end"):
        fmt.jpeg_size(jpeg(64, 8)[:-30])
    with pytest.raises(ValueError, match="no frame header"):
        fmt.jpeg_size(b"\xff\xd8\xff")


def test_sensor_struct_has_its_fields_where_the_specification_says() -> None:
    raw = svo2_sensors.pack(sample(1_700_000_000_000_000_000))
    assert len(raw) == 360
    assert struct.unpack_from("<Q", raw, 0x010)[0] == 1_700_000_000_000_000_000
    assert struct.unpack_from("<3f", raw, 0x070) == pytest.approx([math.degrees(v) for v in sample(0).angular_velocity], abs=0.5)
    assert struct.unpack_from("<3f", raw, 0x07C) == pytest.approx(sample(0).linear_acceleration, abs=0.01)
    assert struct.unpack_from("<f", raw, 0x114)[0] == pytest.approx(105100)


finite = st.floats(-1000, 1000, width=32)
vector = st.tuples(finite, finite, finite)
maybe = st.none() | finite


@given(
    stamp=st.integers(1, 2**63 - 1),
    rates=vector,
    acceleration=vector,
    quaternion=st.tuples(finite, finite, finite, finite),
    field=st.none() | vector,
    pressure=st.none() | st.floats(300, 1200),
    temperatures=st.tuples(maybe, maybe, maybe),
)
def test_sensor_sample_survives_packing(stamp, rates, acceleration, quaternion, field, pressure, temperatures) -> None:
    before = sample(
        stamp,
        angular_velocity=rates,
        linear_acceleration=acceleration,
        orientation_xyzw=quaternion,
        magnetic_field_ut=field,
        pressure_hpa=pressure,
        imu_temperature_c=temperatures[0],
        left_temperature_c=temperatures[1],
        right_temperature_c=temperatures[2],
        barometer_temperature_c=None if pressure is None else 20.0,
    )
    after = svo2_sensors.unpack_message(svo2_sensors.pack_message(before))
    assert after is not None
    assert after.timestamp_ns == stamp
    assert after.angular_velocity == pytest.approx(rates, rel=1e-5, abs=1e-5)
    assert after.linear_acceleration == acceleration
    assert after.orientation_xyzw == quaternion
    assert after.magnetic_field_ut == field
    assert after.pressure_hpa == (None if pressure is None else pytest.approx(pressure, rel=1e-5))
    assert (after.imu_temperature_c, after.left_temperature_c, after.right_temperature_c) == temperatures


@pytest.mark.parametrize("message", [b"", b"[]", b"{}", b'{"data": "AAAA"}', b'{"data": 5}', b'{"data": "x"}'])
def test_damaged_sensor_message_is_none(message: bytes) -> None:
    assert svo2_sensors.unpack_message(message) is None


def test_sensor_struct_without_imu_data_is_none() -> None:
    raw = bytearray(svo2_sensors.pack(sample(1)))
    raw[0] = 0
    assert svo2_sensors.unpack(bytes(raw)) is None
    assert svo2_sensors.unpack(svo2_sensors.pack(sample(1, linear_acceleration=(math.nan, 0.0, 0.0)))) is None
