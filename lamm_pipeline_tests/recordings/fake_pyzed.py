"""A stand-in for `pyzed.sl` as far as its documentation goes: SDK 4.2, 5.1 and 5.4.

Any other name, attribute or signature raises, so that a test passes only with calls that the documentation knows. `install` puts it where
this process and those it starts import `pyzed.sl` from; what it does is said by a JSON value in the environment.
"""

import contextlib
import enum
import functools
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.recordings import zed_probe

ENVIRONMENT = "FAKE_PYZED"
VERSIONS = ("4.2", "5.1", "5.4")
SERIAL = 30001234
WIDTH, HEIGHT = 160, 96
FIRST_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
FOCAL, BASELINE_M = 120.0, 0.12
DEFAULTS: dict[str, Any] = {
    "version": "5.4",
    "frames": 6,
    "open": "SUCCESS",
    "open_failures": 0,  # calls of open that answer FAILURE before it goes on with `open`
    "grab": {},  # frame index -> code that grabbing it answers, instead of SUCCESS
    "grab_failures": {},  # frame index -> calls of grab that answer FAILURE before
    "hang": False,
    "abort": False,
    "imu": True,
    "seeks_wrong": False,
    "log": None,  # file to which every seek, grab and depth mode is written
}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, **behaviour: Any) -> None:
    """Let `import pyzed.sl` find the fake, here and in processes started from here."""
    unknown = set(behaviour) - set(DEFAULTS)
    assert not unknown, unknown
    package = folder / "pyzed"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "sl.py").write_text(f"from {__name__} import members\n\nglobals().update(members())\n")
    forget()
    monkeypatch.setenv(ENVIRONMENT, json.dumps(DEFAULTS | behaviour))
    paths = [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.syspath_prepend(str(folder))


def try_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trial of opening a recording run in this process."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            zed_probe.main(command[3:])
        return subprocess.CompletedProcess(command, 0, said.getvalue(), "")

    monkeypatch.setattr(zed_probe.subprocess, "run", run)


def forget() -> None:
    """Import `pyzed.sl` anew next time."""
    for name in ("pyzed.sl", "pyzed"):
        sys.modules.pop(name, None)


def image(index: int, side: str) -> NDArray[np.uint8]:
    """`(H, W, 4)` BGRA of a frame; `side` is the name of the view, and every view differs."""
    seed = [index, *side.encode()]
    picture = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    picture[..., 3] = 255
    return picture


def depth(index: int) -> NDArray[np.float32]:
    """`(H, W)` metres: row 0 unknown, row 1 too far, row 2 too near."""
    metres = np.full((HEIGHT, WIDTH), 2.0 + index, np.float32)
    metres[0], metres[1], metres[2] = np.nan, np.inf, -np.inf
    return metres


def members() -> dict[str, Any]:
    """Everything that `pyzed.sl` of the version in the environment has."""
    behaviour = json.loads(os.environ[ENVIRONMENT])
    five = not behaviour["version"].startswith("4")
    names: dict[str, Any] = {
        "ERROR_CODE": _error_codes(behaviour["version"]),
        "UNIT": _enum("UNIT", "MILLIMETER CENTIMETER METER INCH FOOT"),
        "COORDINATE_SYSTEM": _enum("COORDINATE_SYSTEM", "IMAGE"),
        "DEPTH_MODE": _enum(
            "DEPTH_MODE", "NONE PERFORMANCE QUALITY ULTRA " + ("NEURAL_LIGHT " if five else "") + "NEURAL NEURAL_PLUS CUSTOM"
        ),
        "VIEW": _enum("VIEW", "LEFT RIGHT LEFT_GRAY RIGHT_GRAY LEFT_UNRECTIFIED RIGHT_UNRECTIFIED SIDE_BY_SIDE"),
        "MEASURE": _enum("MEASURE", "DISPARITY DEPTH CONFIDENCE XYZ XYZRGBA DEPTH_U16_MM"),
        "MEM": _enum("MEM", "CPU GPU"),
        "TIME_REFERENCE": _enum("TIME_REFERENCE", "IMAGE CURRENT"),
    }
    names["InitParameters"] = functools.partial(InitParameters, names, five)
    names["RuntimeParameters"] = RuntimeParameters
    names["Mat"] = Mat
    names["SensorsData"] = SensorsData

    class Camera(_Camera):
        sl = names
        settings = behaviour

    names["Camera"] = Camera
    return names


def _enum(name: str, members: str) -> Any:
    return enum.Enum(name, members)


def _error_codes(version: str) -> Any:
    warnings = ["CONFIGURATION_FALLBACK", "SENSORS_DATA_REQUIRED", "CORRUPTED_FRAME", "CAMERA_REBOOTING"]
    if version != "4.2":
        warnings.insert(0, "POTENTIAL_CALIBRATION_ISSUE")
    if version == "5.4":
        warnings.insert(0, "SENSOR_CONFIGURATION_CHANGED")
    failures = [
        "FAILURE",
        "NO_GPU_COMPATIBLE",
        "NOT_ENOUGH_GPU_MEMORY",
        "CAMERA_NOT_INITIALIZED",
        "INVALID_RESOLUTION",
        "CALIBRATION_FILE_NOT_AVAILABLE",
        "INVALID_SVO_FILE",
        "INVALID_FUNCTION_PARAMETERS",
        "INVALID_FUNCTION_CALL",
        "CORRUPTED_SDK_INSTALLATION",
        "END_OF_SVOFILE_REACHED",
        "SVO_UNSUPPORTED_COMPRESSION",
        "INVALID_CALIBRATION_FILE",
        "NO_GPU_DETECTED",
        "NVIDIA_DRIVER_OUT_OF_DATE",
        "CUDA_ERROR",
    ]
    values = {name: number - len(warnings) for number, name in enumerate([*warnings, "SUCCESS", *failures])}
    base = enum.Enum if version == "4.2" else _Ordered
    return base("ERROR_CODE", values)


class _Ordered(enum.Enum):
    def __lt__(self, other: "_Ordered") -> bool:
        return bool(self.value < other.value)

    def __le__(self, other: "_Ordered") -> bool:
        return bool(self.value <= other.value)


class _Strict:
    """Attributes are those set in `__init__` (before `_closed`), with values of the same kind."""

    _closed = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self._closed and name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        if self._closed and not isinstance(value, type(self.__dict__[name])):
            raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r}")
        object.__setattr__(self, name, value)


class InitParameters(_Strict):
    def __init__(self, sl: dict[str, Any], five: bool) -> None:
        self.svo_real_time_mode = False
        self.depth_mode = sl["DEPTH_MODE"].NEURAL if five else sl["DEPTH_MODE"].PERFORMANCE
        self.coordinate_units = sl["UNIT"].MILLIMETER
        self.coordinate_system = sl["COORDINATE_SYSTEM"].IMAGE
        self.depth_minimum_distance = -1.0
        self.depth_maximum_distance = -1.0
        self.camera_disable_self_calib = False
        self.optional_settings_path = ""
        self.optional_opencv_calibration_file = ""
        self.sdk_verbose = 1
        self.sdk_gpu_id = -1
        self.enable_right_side_measure = False
        self.depth_stabilization = 30
        self.sensors_required = False
        self.file: list[str] = []
        self._closed = True

    def set_from_svo_file(self, path: str) -> None:
        assert isinstance(path, str)
        self.file.append(path)


class RuntimeParameters(_Strict):
    def __init__(self) -> None:
        self.enable_depth = True
        self.enable_fill_mode = False
        self.confidence_threshold = 95
        self.texture_confidence_threshold = 100
        self.remove_saturated_areas = True
        self._closed = True


class Mat:
    """Its memory is the SDK's: it holds something else after the next call that fills it, and after the next grab."""

    def __init__(self) -> None:
        self._data: NDArray[Any] | None = None

    def get_data(self, deep_copy: bool = False) -> NDArray[Any]:
        assert self._data is not None
        return self._data.copy() if deep_copy else self._data

    def _fill(self, data: NDArray[Any]) -> None:
        self._spoil()
        self._data = data.copy()

    def _spoil(self) -> None:
        if self._data is not None:
            self._data[:] = 77


class SensorsData:
    def __init__(self) -> None:
        self._imu: Any = None

    def get_imu_data(self) -> Any:
        return self._imu

    def get_barometer_data(self) -> Any:
        return _Record(pressure=1013.5, relative_altitude=0.0)


class _Record:
    """Only what it was given."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class _Camera:
    sl: dict[str, Any]
    settings: dict[str, Any]

    def __init__(self) -> None:
        self._init: InitParameters | None = None
        self._next = 0
        self._current = -1
        self._measures = False
        self._failed_opens = 0
        self._failed_grabs: dict[int, int] = {}
        self._mats: list[Mat] = []

    @staticmethod
    def get_sdk_version() -> str:
        return f"{json.loads(os.environ[ENVIRONMENT])['version']}.0"

    def open(self, py_init: InitParameters) -> Any:
        assert isinstance(py_init, InitParameters)
        assert len(py_init.file) == 1
        if self.settings["hang"]:
            time.sleep(600)
        if self.settings["abort"]:
            os.abort()
        self._log(f"open {py_init.depth_mode.name} {py_init.optional_settings_path}")
        if self._failed_opens < self.settings["open_failures"]:
            self._failed_opens += 1
            return self._code("FAILURE")
        # what a reader that counts on metres, image axes, every frame and independent frames must have said
        assert py_init.coordinate_units is self.sl["UNIT"].METER
        assert py_init.coordinate_system is self.sl["COORDINATE_SYSTEM"].IMAGE
        assert (py_init.svo_real_time_mode, py_init.depth_stabilization, py_init.camera_disable_self_calib) == (False, 0, True)
        code = self._code(self.settings["open"])
        if code.value <= self._code("SUCCESS").value:
            self._init = py_init
        return code

    def close(self) -> None:
        self._init = None

    def get_svo_number_of_frames(self) -> int:
        return -1 if self._init is None else int(self.settings["frames"])

    def get_svo_position(self) -> int:
        return self._next

    def set_svo_position(self, frame_number: int) -> Any:
        self._log(f"seek {frame_number}")
        self._next = frame_number + 1 if self.settings["seeks_wrong"] and frame_number else frame_number
        return self._code("SUCCESS") if self.settings["version"] == "5.4" else None

    def grab(self, py_runtime: RuntimeParameters) -> Any:
        assert isinstance(py_runtime, RuntimeParameters)
        if self._init is None:
            return self._code("CAMERA_NOT_INITIALIZED")
        if self._next >= self.settings["frames"]:
            return self._code("END_OF_SVOFILE_REACHED")
        planned = self.settings["grab_failures"].get(str(self._next), 0)
        if self._failed_grabs.get(self._next, 0) < planned:
            self._failed_grabs[self._next] = self._failed_grabs.get(self._next, 0) + 1
            return self._code("FAILURE")
        for mat in self._mats:
            mat._spoil()
        self._current, self._next = self._next, self._next + 1
        self._measures = py_runtime.enable_depth and self._init.depth_mode is not self.sl["DEPTH_MODE"].NONE
        self._log(f"grab {self._current}{' with depth' if self._measures else ''}")
        return self._code(self.settings["grab"].get(str(self._current), "SUCCESS"))

    def retrieve_image(self, py_mat: Mat, view: Any, memory_type: Any = None) -> Any:
        assert memory_type in (None, self.sl["MEM"].CPU)
        self._mats.append(py_mat)
        py_mat._fill(image(self._current, view.name))
        return self._code("SUCCESS")

    def retrieve_measure(self, py_mat: Mat, measure: Any) -> Any:
        if not self._measures:
            return self._code("INVALID_FUNCTION_PARAMETERS")
        assert measure is self.sl["MEASURE"].DEPTH
        self._mats.append(py_mat)
        py_mat._fill(depth(self._current))
        return self._code("SUCCESS")

    def get_timestamp(self, time_reference: Any) -> Any:
        assert time_reference is self.sl["TIME_REFERENCE"].IMAGE
        stamp = FIRST_NS + self._current * PERIOD_NS
        return _Record(get_nanoseconds=lambda: stamp, data_ns=stamp)

    def get_sensors_data(self, py_sensors_data: SensorsData, time_reference: Any) -> Any:
        if time_reference is not self.sl["TIME_REFERENCE"].IMAGE:
            return self._code("INVALID_FUNCTION_PARAMETERS")
        there = bool(self.settings["imu"])
        rates = [180.0 / math.pi, 0.0, 0.0] if there else [0.0] * 3
        pose = _Record(get_orientation=lambda: _Record(get=lambda: np.array([0.0, 0.0, 0.0, 1.0])))
        py_sensors_data._imu = _Record(
            is_available=True,
            get_angular_velocity=lambda: rates,
            get_linear_acceleration=lambda: [0.0, -9.81, 0.0] if there else [0.0] * 3,
            get_pose=lambda: pose,
        )
        return self._code("SUCCESS")

    def get_camera_information(self) -> Any:
        assert self._init is not None
        eye = _Record(fx=FOCAL, fy=FOCAL, cx=WIDTH / 2, cy=HEIGHT / 2, disto=[0.0] * 12)
        calibration = _Record(left_cam=eye, right_cam=eye, get_camera_baseline=lambda: BASELINE_M)
        configuration = _Record(
            resolution=_Record(width=WIDTH, height=HEIGHT), fps=10.0, firmware_version=1523, calibration_parameters=calibration
        )
        return _Record(
            serial_number=SERIAL,
            camera_model="ZED 2i",
            input_type="SVO",
            camera_configuration=configuration,
            sensors_configuration=_Record(firmware_version=777),
        )

    def _code(self, name: str) -> Any:
        return getattr(self.sl["ERROR_CODE"], name)

    def _log(self, line: str) -> None:
        if self.settings["log"]:
            with Path(self.settings["log"]).open("a") as file:
                file.write(f"{line}\n")


Behave = Callable[..., None]
"""Type of the fixture that installs the fake."""
