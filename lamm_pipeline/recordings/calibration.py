"""Factory calibration of ZED cameras: finding, reading and writing `SN<serial>.conf`.

A recording does not contain the calibration of its camera, so it is looked up offline, never downloaded. The format, all its variants and
the sign convention are those of the vendor's own writer: `R = Rodrigues([RX, CV, RZ])`, `T = (-Baseline, TY, TZ)` in millimetres,
`X_right = R X_left + T`.
"""

import configparser
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.storage.atomic import write_text

SDK_FOLDERS = (Path("/usr/local/zed/settings"), Path("C:/ProgramData/stereolabs/settings"))

# Eye sizes of both camera families; FHD is shared by USB cameras and the ZED X family.
RESOLUTION_NAMES: Mapping[tuple[int, int], str] = {
    (2208, 1242): "2K",
    (1920, 1080): "FHD",
    (1280, 720): "HD",
    (672, 376): "VGA",
    (1920, 1200): "FHD1200",
    (960, 600): "SVGA",
    (3840, 2160): "4K",
    (3200, 1800): "QHDPLUS",
}

Sections = Mapping[str, Mapping[str, str]]


def find_calibration(
    recording_path: Path,
    serial: int,
    width: int,
    height: int,
    *,
    explicit: Path | None = None,
    folder: Path | None = None,
    sdk_folders: Sequence[Path] = SDK_FOLDERS,
    derive_usb_hd: bool = False,
) -> StereoCalibration | None:
    """Find and read the calibration of a recording's camera.

    Search order: `explicit`; `SN<serial>.conf` beside the recording; in `folder`; in the folders of the ZED SDK.

    Args:
        recording_path: the recording.
        serial: serial number of its camera.
        width: pixels of one eye.
        height: pixels of one eye.
        explicit: a file named by the user; it must exist.
        folder: a folder named in the settings.
        sdk_folders: where the vendor's tools put calibrations.
        derive_usb_hd: see `read_conf`.

    Returns:
        The calibration, or None when no file is there.

    Raises:
        InputError: a file was found but cannot be used, or `explicit` does not exist.
    """
    if explicit is not None and not explicit.is_file():
        raise InputError(
            f"The calibration file {explicit} does not exist; give the path of SN{serial}.conf or leave the setting empty to search for it."
        )
    folders = [recording_path.parent, *([folder] if folder is not None else []), *sdk_folders]
    candidates = [explicit] if explicit is not None else [place / f"SN{serial}.conf" for place in folders]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    calibration = read_conf(path, width, height, derive_usb_hd=derive_usb_hd)
    if calibration.serial not in (0, serial):
        raise InputError(
            f"{path} is the calibration of camera {calibration.serial}, but {recording_path.name} was recorded by camera {serial}: "
            f"every camera has its own; get SN{serial}.conf."
        )
    return replace(calibration, serial=serial)


def read_conf(path: Path, width: int, height: int, *, derive_usb_hd: bool = False) -> StereoCalibration:
    """Read a calibration file for eyes of `width` x `height` pixels.

    A size the file lacks is derived where the sensor makes that exact: 1920x1080 from 1920x1200 (60 rows cut off above and below) and
    960x600 as half of 1920x1200. Sizes outside the vendor's list are read from `[LEFT_CAM_<W>X<H>]`, which `write_conf` writes.

    Args:
        path: the file, `SN<serial>.conf`.
        width: pixels of one eye.
        height: pixels of one eye.
        derive_usb_hd: also derive 1280x720 of a USB camera from its 2K or FHD section (half the focal length, centre kept relative to the
            image centre). An approximation, hence only on request.

    Returns:
        The calibration. `serial` is taken from the file or its name, 0 when neither tells.

    Raises:
        InputError: not a calibration file, or without usable numbers for this size.
    """
    sections = _parse(path)
    res, section_res, adapt = _resolve(sections, path, width, height, derive_usb_hd)
    eyes = [adapt.apply(_eye(sections, path, side, section_res)) for side in ("left", "right")]
    stereo = sections.get("stereo", {})
    baseline_mm = _number(stereo, "baseline", path, "STEREO")
    if baseline_mm <= 0:
        raise InputError(f"{path} has Baseline = {baseline_mm:g} in [STEREO]; it must be a positive number of millimetres.")
    resolutions = (section_res, res)  # the angles that were fitted together with these intrinsics come first
    shift_mm = [_stereo_number(stereo, key, resolutions, path, default=0.0) for key in ("ty", "tz")]
    angles = [_stereo_number(stereo, key, resolutions, path, default=None) for key in ("rx", "cv", "rz")]
    return StereoCalibration(
        serial=_serial(sections, path),
        width=width,
        height=height,
        left=eyes[0],
        right=eyes[1],
        rotation_vector=(angles[0], angles[1], angles[2]),
        translation_m=(-baseline_mm / 1000, shift_mm[0] / 1000, shift_mm[1] / 1000),
        source=str(path) if adapt == _Adaptation() else f"{path} ({width}x{height} derived from {section_res})",
    )


def write_conf(path: Path, calibration: StereoCalibration) -> None:
    """Write a calibration so that `read_conf` and the vendor's tools read it.

    Sizes of the vendor's list get its name (`[LEFT_CAM_HD]`); any other size gets `<W>X<H>` (`[LEFT_CAM_1242X375]`), which only
    `read_conf` knows. Five pinhole coefficients stand with the intrinsics, eight or fisheye ones in `[LEFT_DISTO]`.

    Raises:
        InputError: the calibration cannot be expressed: right eye not to the right, or an unusual number of coefficients.
    """
    if calibration.translation_m[0] >= 0:
        raise InputError(
            f"{path} cannot be written: the x translation is {calibration.translation_m[0]:g} m, but the right eye lies to the right of "
            "the left one (negative x); swap the eyes or the sign."
        )
    size = (calibration.width, calibration.height)
    res = RESOLUTION_NAMES.get(size, _size_name(*size))
    lines: list[str] = []
    for side, eye in (("LEFT", calibration.left), ("RIGHT", calibration.right)):
        names = _coefficient_names(eye, path)
        coefficients = dict(zip(names, eye.distortion, strict=True))
        intrinsics = {"fx": eye.fx, "fy": eye.fy, "cx": eye.cx, "cy": eye.cy}
        beside = eye.lens == "pinhole" and len(names) <= 5
        lines += _section(f"{side}_CAM_{res}", intrinsics | coefficients if beside else intrinsics)
        lines += [] if beside else _section(f"{side}_DISTO", coefficients)
    x, y, z = (value * 1000 for value in calibration.translation_m)
    rx, cv, rz = calibration.rotation_vector
    lines += _section("STEREO", {"Baseline": -x, "TY": y, "TZ": z, f"CV_{res}": cv, f"RX_{res}": rx, f"RZ_{res}": rz})
    lines += ["[MISC]", f"Serial_Number = {calibration.serial}", ""]
    write_text(path, "\n".join(lines))


PINHOLE_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE_NAMES = ("k1", "k2", "k3", "k4")


@dataclass(frozen=True)
class _Adaptation:
    """How the intrinsics of one resolution follow from another's: `c' = (c - offset) * scale + centre`."""

    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)
    centre: tuple[float, float] = (0.0, 0.0)

    def apply(self, eye: CameraModel) -> CameraModel:
        cx = (eye.cx - self.offset[0]) * self.scale + self.centre[0]
        cy = (eye.cy - self.offset[1]) * self.scale + self.centre[1]
        return replace(eye, fx=eye.fx * self.scale, fy=eye.fy * self.scale, cx=cx, cy=cy)


def _parse(path: Path) -> Sections:
    """Sections and keys in lower case."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise InputError(f"The calibration file {path} does not exist.") from None
    if re.match(r"\s*<(!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        raise InputError(
            f"{path} holds a web page, not a calibration: the download failed; get the file again from the vendor's calibration page."
        )
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, inline_comment_prefixes=("#", ";"), default_section="\0"
    )
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise InputError(f"{path} is not a calibration file (INI text with a section LEFT_CAM_...): {_first_line(error)}.") from None
    sections: dict[str, dict[str, str]] = {}
    for name in parser.sections():
        pairs = {key: value for key, value in parser[name].items() if value is not None}
        sections.setdefault(name.strip().lower(), {}).update(pairs)
    if not any(name.startswith("left_cam_") for name in sections):
        raise InputError(
            f"{path} is not a stereo calibration: it has no section LEFT_CAM_<resolution>; get the SN<serial>.conf of the camera."
        )
    return sections


def _resolve(sections: Sections, path: Path, width: int, height: int, derive_usb_hd: bool) -> tuple[str, str, _Adaptation]:
    """Name of the wanted size, name of the size whose sections to read, and how to get from one to the other."""
    res = RESOLUTION_NAMES.get((width, height), _size_name(width, height))
    for source, adapt in _sources(res, width, height, derive_usb_hd):
        if f"left_cam_{source.lower()}" in sections:
            return res, source, adapt
    present = ", ".join(sorted(name.removeprefix("left_cam_").upper() for name in sections if name.startswith("left_cam_")))
    hint = " (or allow deriving 1280x720 from 2K or FHD)" if res == "HD" and not derive_usb_hd else ""
    raise InputError(
        f"{path} has no calibration for {width}x{height} (section LEFT_CAM_{res}); it has {present}. Get a file that holds it{hint}."
    )


def _sources(res: str, width: int, height: int, derive_usb_hd: bool) -> Iterator[tuple[str, _Adaptation]]:
    """Sections that can serve a size, best first."""
    yield res, _Adaptation()
    yield _size_name(width, height), _Adaptation()
    if res == "FHD":
        yield "FHD1200", _Adaptation(offset=(0.0, 60.0))
    if res == "SVGA":
        yield "FHD1200", _Adaptation(scale=0.5)
    if res == "HD" and derive_usb_hd:
        yield "2K", _Adaptation(0.5, (1104.0, 621.0), (640.0, 360.0))
        yield "FHD", _Adaptation(0.5, (960.0, 540.0), (640.0, 360.0))


def _eye(sections: Sections, path: Path, side: str, res: str) -> CameraModel:
    """Intrinsics and lens of one eye from `[<side>_CAM_<res>]` and, where there is one, `[<side>_DISTO]`."""
    name = f"{side}_cam_{res}".upper()
    section = sections.get(name.lower())
    if section is None:
        raise InputError(f"{path} has no section {name}; the file is incomplete, get it again.")
    fx, fy, cx, cy = (_number(section, key, path, name) for key in ("fx", "fy", "cx", "cy"))
    if fx <= 0 or fy <= 0:
        raise InputError(f"{path} has fx = {fx:g}, fy = {fy:g} in [{name}]; focal lengths must be positive pixels.")
    disto_name = f"{side}_DISTO".upper()
    disto = sections.get(disto_name.lower())
    # Only the separate section tells a fisheye lens apart: some pinhole cameras list k1 k2 k3 k4 without p1 p2 beside their intrinsics.
    if disto is not None and {key for key in disto if key in PINHOLE_NAMES} == set(FISHEYE_NAMES):
        fisheye = tuple(_number(disto, key, path, disto_name) for key in FISHEYE_NAMES)
        return CameraModel(fx, fy, cx, cy, fisheye, "fisheye")
    coefficients, origin = (disto, disto_name) if disto is not None else (section, name)
    names = PINHOLE_NAMES if any(key in coefficients for key in PINHOLE_NAMES[5:]) else PINHOLE_NAMES[:5]
    pinhole = tuple(_number(coefficients, key, path, origin) if key in coefficients else 0.0 for key in names)
    return CameraModel(fx, fy, cx, cy, pinhole, "pinhole")


def _stereo_number(stereo: Mapping[str, str], key: str, resolutions: tuple[str, str], path: Path, *, default: float | None) -> float:
    """`<key>_<RES>` or plain `<key>` of `[STEREO]`; files of the first cameras have no TY and TZ."""
    for name in (*(f"{key}_{res.lower()}" for res in resolutions), key):
        if name in stereo:
            return _number(stereo, name, path, "STEREO")
    if default is not None:
        return default
    return _number(stereo, f"{key}_{resolutions[-1].lower()}", path, "STEREO")


def _number(section: Mapping[str, str], key: str, path: Path, section_name: str) -> float:
    text = section.get(key)
    if text is None:
        raise InputError(f"{path} has no {key} in [{section_name}]; the file is incomplete, get it again.")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path} has {key} = {text!r} in [{section_name}], which is not a finite number; correct it or get the file again."
        )
    return value


def _serial(sections: Sections, path: Path) -> int:
    stored = sections.get("misc", {}).get("serial_number", "")
    named = re.fullmatch(r"SN(\d+)", path.stem, re.IGNORECASE)
    return int(stored) if stored.isdecimal() else int(named[1]) if named else 0


def _size_name(width: int, height: int) -> str:
    return f"{width}X{height}"


def _coefficient_names(eye: CameraModel, path: Path) -> tuple[str, ...]:
    names = FISHEYE_NAMES if eye.lens == "fisheye" else PINHOLE_NAMES
    allowed = (4,) if eye.lens == "fisheye" else (4, 5, 8)
    if len(eye.distortion) not in allowed:
        raise InputError(
            f"{path} cannot be written: {len(eye.distortion)} distortion coefficients of a {eye.lens} lens; "
            f"the format holds {' or '.join(map(str, allowed))}."
        )
    return names[: len(eye.distortion)]


def _section(name: str, values: Mapping[str, float]) -> list[str]:
    # repr gives the shortest text that reads back as the same number.
    return [f"[{name}]", *(f"{key} = {float(value)!r}" for key, value in values.items()), ""]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".:")
