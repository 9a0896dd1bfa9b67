"""The sensor struct of an SVO2 file: 360 bytes in base64 in a JSON message, once per IMU sample and once per frame.

The struct is a memory dump of the camera's software: flags are one byte followed by garbage padding. Angular velocity is stored in deg/s
and pressure in pascal; `SensorSample` has rad/s and hPa. Of the two sets of IMU values the calibrated one is read (0x070 and 0x07C).
"""

import base64
import binascii
import json
import math
import struct

from lamm_pipeline.recordings.reader import SensorSample

SIZE = 360
_NAN = math.nan
_UNSET = 0x80FF7FFF
_STATE_SYNCHRONISED = 2
_HEADING_NOT_CALIBRATED = 3
_HEADING_NO_MAGNETOMETER = 4
_ORIENTATION_COVARIANCE = (0.15625, 0.25, 0.15625)
_ANGULAR_VELOCITY_COVARIANCE = (2.6e-06, 2.22e-06, 2.07e-06)
_LINEAR_ACCELERATION_COVARIANCE = (0.00503, 0.00857, 0.01995)


def unpack_message(data: bytes, frame_timestamp_ns: int | None = None) -> SensorSample | None:
    """Read a `sensors` or `integrated_sensors` message.

    Args:
        data: the JSON message.
        frame_timestamp_ns: stamp to give the sample instead of its own.

    Returns:
        None when the message is damaged or says that it holds no IMU data.
    """
    try:
        raw = base64.b64decode(json.loads(data)["data"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None
    return unpack(raw, frame_timestamp_ns)


def unpack(raw: bytes, frame_timestamp_ns: int | None = None) -> SensorSample | None:
    """Read the struct; see `unpack_message`."""
    if len(raw) < SIZE or raw[0] != 1:
        return None
    (timestamp_ns,) = struct.unpack_from("<Q", raw, 0x010)
    (barometer_ns,) = struct.unpack_from("<Q", raw, 0x020)
    gyro = struct.unpack_from("<3f", raw, 0x070)
    acceleration = struct.unpack_from("<3f", raw, 0x07C)
    if not all(map(math.isfinite, (*gyro, *acceleration))):
        return None
    field = struct.unpack_from("<3f", raw, 0x0EC)
    barometer_c, pressure_pa = struct.unpack_from("<2f", raw, 0x110)
    left_c, right_c = struct.unpack_from("<2f", raw, 0x124)
    has_barometer = barometer_ns != 0
    return SensorSample(
        timestamp_ns=timestamp_ns if frame_timestamp_ns is None else frame_timestamp_ns,
        angular_velocity=(math.radians(gyro[0]), math.radians(gyro[1]), math.radians(gyro[2])),
        linear_acceleration=acceleration,
        orientation_xyzw=struct.unpack_from("<4f", raw, 0x03C),
        imu_temperature_c=_finite(struct.unpack_from("<f", raw, 0x0E4)[0]),
        magnetic_field_ut=field if raw[0x0E8] == 1 and all(map(math.isfinite, field)) else None,
        pressure_hpa=pressure_pa / 100 if has_barometer and math.isfinite(pressure_pa) else None,
        barometer_temperature_c=_finite(barometer_c) if has_barometer else None,
        left_temperature_c=_finite(left_c) if raw[0x120] == 1 else None,
        right_temperature_c=_finite(right_c) if raw[0x120] == 1 else None,
    )


def pack_message(sample: SensorSample, title: str = "sensors") -> bytes:
    """The JSON message for one sample."""
    encoded = base64.b64encode(pack(sample)).decode()
    return json.dumps({"__title__": title, "data": encoded}, separators=(",", ":")).encode()


def pack(sample: SensorSample) -> bytes:
    """The 360 bytes for one sample. Hardware clocks are the Unix stamp; uncalibrated values equal the calibrated ones."""
    raw = bytearray(SIZE)
    stamp = sample.timestamp_ns
    barometer = stamp if sample.pressure_hpa is not None else 0
    magnetometer = stamp if sample.magnetic_field_ut is not None else 0
    gyro = tuple(math.degrees(rate) for rate in sample.angular_velocity)
    field = sample.magnetic_field_ut or (_NAN, _NAN, _NAN)
    onboard = sample.left_temperature_c is not None or sample.right_temperature_c is not None
    struct.pack_into("<B", raw, 0x000, 1)
    struct.pack_into("<6Q", raw, 0x008, stamp, stamp, barometer, barometer, magnetometer, magnetometer)
    struct.pack_into("<I", raw, 0x038, _STATE_SYNCHRONISED)
    struct.pack_into("<4f", raw, 0x03C, *sample.orientation_xyzw)
    struct.pack_into("<3f", raw, 0x04C, *_ORIENTATION_COVARIANCE)
    struct.pack_into("<6f", raw, 0x058, *gyro, *sample.linear_acceleration)
    struct.pack_into("<6f", raw, 0x070, *gyro, *sample.linear_acceleration)
    struct.pack_into("<6f", raw, 0x088, *_ANGULAR_VELOCITY_COVARIANCE, *_LINEAR_ACCELERATION_COVARIANCE)
    struct.pack_into("<f", raw, 0x0E4, _or_nan(sample.imu_temperature_c))
    struct.pack_into("<B", raw, 0x0E8, int(sample.magnetic_field_ut is not None))
    struct.pack_into("<6f", raw, 0x0EC, *field, *field)
    heading = _HEADING_NO_MAGNETOMETER if sample.magnetic_field_ut is None else _HEADING_NOT_CALIBRATED
    struct.pack_into("<I2f", raw, 0x104, heading, _NAN, _NAN)
    pressure_pa = _NAN if sample.pressure_hpa is None else sample.pressure_hpa * 100
    struct.pack_into("<2f", raw, 0x110, _or_nan(sample.barometer_temperature_c), pressure_pa)
    struct.pack_into("<B", raw, 0x120, int(onboard))
    struct.pack_into("<2f", raw, 0x124, _or_nan(sample.left_temperature_c), _or_nan(sample.right_temperature_c))
    struct.pack_into("<6I", raw, 0x12C, *([_UNSET] * 6))
    struct.pack_into("<B", raw, 0x158, 1)
    struct.pack_into("<f", raw, 0x15C, 1.0)
    return bytes(raw)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value
