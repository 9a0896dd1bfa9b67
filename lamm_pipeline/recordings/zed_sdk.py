"""The vendor's SDK from Python: importing it where it is, what its error codes mean, and opening a recording with it.

The module `pyzed.sl` comes with the ZED SDK's installer only and needs a GPU. Names and signatures used here are those that SDK 4.2 and
5.1 to 5.4 have in common; differences between them are detected, never derived from a version number.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration

Sdk = Any
"""The module `pyzed.sl`; it has no type stubs."""

ATTEMPTS = 2
"""FAILURE says nothing about its cause: what failed so once is tried once more."""

UNAVAILABLE = {
    "SVO_UNSUPPORTED_COMPRESSION": "this machine cannot decode the recording's video (no NVDEC)",
    "NO_GPU_DETECTED": "no NVIDIA GPU was found",
    "NO_GPU_COMPATIBLE": "the GPU is too old for this SDK",
    "NVIDIA_DRIVER_OUT_OF_DATE": "the NVIDIA driver is too old for this SDK",
    "CUDA_ERROR": "CUDA does not work",
    "CORRUPTED_SDK_INSTALLATION": "the SDK is not installed properly",
}
_NO_CALIBRATION = (
    "it found no usable SN{serial}.conf; put the camera's calibration beside the recording, into LAMM_CALIBRATION_DIR or into the folder "
    "of the SDK"
)
_REFUSED = {
    "INVALID_SVO_FILE": "the file is damaged, encrypted or no recording; copy it again from the camera's computer",
    "CALIBRATION_FILE_NOT_AVAILABLE": _NO_CALIBRATION,
    "INVALID_CALIBRATION_FILE": _NO_CALIBRATION,
    "NOT_ENOUGH_GPU_MEMORY": "the GPU's memory is too small; choose a lighter zed_depth_mode (performance, neural_light) or free the GPU",
    "FAILURE": f"it failed {ATTEMPTS} times without a reason; use reader = native, or look into the SDK's own log",
}
_OUR_FAULT = ("INVALID_FUNCTION_PARAMETERS", "INVALID_FUNCTION_CALL", "INVALID_RESOLUTION", "CAMERA_NOT_INITIALIZED")
_WARNINGS = (
    "SENSOR_CONFIGURATION_CHANGED",
    "POTENTIAL_CALIBRATION_ISSUE",
    "CONFIGURATION_FALLBACK",
    "SENSORS_DATA_REQUIRED",
    "CORRUPTED_FRAME",
    "CAMERA_REBOOTING",
)
_END = "END_OF_SVOFILE_REACHED"


class ZedUnavailable(InputError):  # noqa: N818 - reads as what it says: the SDK is not there for this file
    """The SDK cannot be used on this machine or cannot decode this video; another reader may take over."""


@dataclass(frozen=True)
class ZedOptions:
    """How a recording is opened.

    Attributes:
        depth_mode: name of a `sl.DEPTH_MODE` in any case; None = no depth.
        min_depth_m, max_depth_m: range of the depth, metres.
        calibration_folder: folder with the camera's `SN<serial>.conf`; None = the SDK's own.
        rectified: deliver the images that the SDK has rectified, to which its depth belongs; else the raw ones.
        timeout_s: how long the trial in another process may take.
    """

    depth_mode: str | None = None
    min_depth_m: float = 0.3
    max_depth_m: float = 100.0
    calibration_folder: Path | None = None
    rectified: bool = False
    timeout_s: float = 120.0


def load_sdk() -> Sdk:
    """The module `pyzed.sl`.

    Raises:
        ZedUnavailable: it is not installed, its libraries are missing, or a package of the same name that is not the SDK's is there.
    """
    try:
        sdk = importlib.import_module("pyzed.sl")
    except ImportError as error:
        raise ZedUnavailable(f"The ZED SDK is not installed for this Python ({error}); its installer brings pyzed.") from None
    except OSError as error:
        raise ZedUnavailable(f"The ZED SDK cannot be loaded ({error}); its libraries or CUDA are missing.") from None
    if not hasattr(sdk, "Camera"):
        raise ZedUnavailable(
            "The installed package pyzed is not the ZED SDK's: package registries hold another one of that name; uninstall it."
        )
    return sdk


def succeeded(sdk: Sdk, error: Any) -> bool:
    """Whether a call worked. Codes before SUCCESS are warnings; 4.x cannot compare the codes themselves."""
    return bool(error.value <= sdk.ERROR_CODE.SUCCESS.value)


def code_name(sdk: Sdk, error: Any) -> str:
    """Name of an error code this module knows, else the SDK's own text."""
    known = ("SUCCESS", *UNAVAILABLE, *_REFUSED, *_OUR_FAULT, *_WARNINGS, _END)
    return next((name for name in known if getattr(sdk.ERROR_CODE, name, None) == error), str(error))


def is_end(sdk: Sdk, error: Any) -> bool:
    """Whether there is no further frame."""
    return code_name(sdk, error) == _END


def is_corrupted(sdk: Sdk, error: Any) -> bool:
    """Whether the call worked but the frame's image is damaged."""
    return code_name(sdk, error) == "CORRUPTED_FRAME"


def refusal(sdk: Sdk, error: Any, path: Path, serial: int | None = None) -> Exception:
    """What to raise for a failure.

    Returns:
        `ZedUnavailable` where another reader may do better, `InputError` where a person can help, `RuntimeError` for calls that this
        package should not have made.
    """
    name = code_name(sdk, error)
    if name in UNAVAILABLE:
        return ZedUnavailable(f"The ZED SDK cannot read {path}: {UNAVAILABLE[name]} ({name}).")
    if name in _OUR_FAULT:
        return RuntimeError(f"the ZED SDK refuses a call on {path}: {name} ({error})")
    reason = _REFUSED.get(name, str(error)).format(serial="<serial>" if serial is None else serial)
    return InputError(f"The ZED SDK cannot read {path}: {reason} ({name}).")


@contextmanager
def opened(sdk: Sdk, path: Path, options: ZedOptions, serial: int | None = None) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """An open camera on a recording, with the names of the warnings that opening gave; closed at the end.

    Lengths are metres, axes x right, y down, z forward. Frames are independent of each other and the geometry is that of the calibration
    file: depth stabilisation and self-calibration are off.

    Raises:
        InputError: the SDK refuses the file or does not know the depth mode.
    """
    init = sdk.InitParameters()
    init.set_from_svo_file(str(path))
    init.svo_real_time_mode = False
    init.coordinate_units = sdk.UNIT.METER
    init.coordinate_system = sdk.COORDINATE_SYSTEM.IMAGE
    init.depth_mode = depth_mode(sdk, options.depth_mode)
    init.depth_minimum_distance = options.min_depth_m
    init.depth_maximum_distance = options.max_depth_m
    init.depth_stabilization = 0
    init.camera_disable_self_calib = True
    init.sdk_verbose = 0
    if options.calibration_folder is not None:
        init.optional_settings_path = str(options.calibration_folder)
    camera = sdk.Camera()
    try:
        for _ in range(ATTEMPTS):
            error = camera.open(init)
            if code_name(sdk, error) != "FAILURE":
                break
        if not succeeded(sdk, error):
            raise refusal(sdk, error, path, serial)
        name = code_name(sdk, error)
        yield camera, () if name == "SUCCESS" else (name,)
    finally:
        camera.close()


def depth_mode(sdk: Sdk, name: str | None) -> Any:
    """The SDK's depth mode of a name.

    Raises:
        InputError: this version of the SDK has no such mode.
    """
    mode = getattr(sdk.DEPTH_MODE, (name or "none").upper(), None)
    if mode is None:
        raise InputError(f"The installed ZED SDK has no depth mode {name}; choose another zed_depth_mode, or install SDK 5.")
    return mode


def rectified_calibration(sdk: Sdk, camera: Any) -> StereoCalibration:
    """The calibration of the images that the SDK rectifies: no distortion, no rotation, the same focal length in both eyes."""
    information = camera.get_camera_information()
    configuration = information.camera_configuration
    parameters = configuration.calibration_parameters
    left = parameters.left_cam
    eye = CameraModel(float(left.fx), float(left.fy), float(left.cx), float(left.cy))
    baseline_m = float(parameters.get_camera_baseline())
    size = configuration.resolution
    source = f"ZED SDK {sdk.Camera.get_sdk_version()}"
    return StereoCalibration(
        int(information.serial_number), int(size.width), int(size.height), eye, eye, (0.0, 0.0, 0.0), (-baseline_m, 0.0, 0.0), source
    )
