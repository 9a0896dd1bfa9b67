"""Packs folders of stereo images and a calibration into an SVO2 recording, so that any stereo dataset can go through the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import StereoCalibration
from lamm_pipeline.recordings.calibration import write_conf
from lamm_pipeline.recordings.color import Image
from lamm_pipeline.recordings.image_times import read_times
from lamm_pipeline.recordings.reader import SensorSample
from lamm_pipeline.recordings.svo2_format import Codec
from lamm_pipeline.recordings.svo2_writer import Svo2Writer
from lamm_pipeline.streaming import Progress, no_progress

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp"})
_NS = 10**9


@dataclass(frozen=True)
class PackResult:
    """What was written.

    Attributes:
        recording: the SVO2 file.
        calibration_file: the `SN<serial>.conf` beside it.
        frames: number of stereo pairs.
        width, height: pixels of one image.
        padded: pixels added at the right and at the bottom because video needs even sizes; readers cut them off again.
        source_names: file stem of each frame's images.
    """

    recording: Path
    calibration_file: Path
    frames: int
    width: int
    height: int
    padded: tuple[int, int]
    source_names: tuple[str, ...]


def pack(
    left_folder: Path,
    right_folder: Path,
    calibration: StereoCalibration,
    out: Path,
    *,
    fps: float | None = None,
    times: Path | Sequence[int] | None = None,
    start_ns: int = 0,
    sensors: Sequence[SensorSample] = (),
    codec: Codec = "h264",
    crf: float = 10,
    gop: int = 30,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> PackResult:
    """Write `out` and, beside it, the calibration.

    Args:
        left_folder: images of the left eye, grey or colour, raw or rectified as the calibration says.
        right_folder: images of the right eye, with the same file stems.
        calibration: of images of this size.
        out: the SVO2 file to write.
        fps: rate of the images; not used with `times`, whose median counts.
        times: file with the images' times (see `read_times`), or Unix stamps in nanoseconds, one an image; None: evenly by `fps`.
        start_ns: Unix time of the first image when there are no `times`.
        sensors: IMU samples in time order; without any the recording has no IMU data, none is made up.
        codec: of the video.
        crf: quality of H.264 and H.265, lower is better.
        gop: frames from one key frame to the next.
        overwrite: replace an existing `out`, and another calibration beside it.
        progress: told after each pair.

    Raises:
        InputError: images without a partner, of different sizes or unreadable, times that do not fit, or an existing file in the way.
    """
    stems = _pairs(left_folder, right_folder)
    stamps = _timestamps(times, fps, start_ns, list(stems))
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already: choose another name, or say that it may be overwritten.")
    width, height = calibration.width, calibration.height
    padded = (width % 2, height % 2)
    conf = out.with_name(f"SN{calibration.serial}.conf")
    if not overwrite:
        _refuse_other_calibration(conf, calibration)
    waiting = iter(sorted(sensors, key=lambda sample: sample.timestamp_ns))
    with Svo2Writer(
        out,
        serial=calibration.serial,
        width=width + padded[0],
        height=height + padded[1],
        fps=_rate(stamps),
        codec=codec,
        crf=crf,
        gop=gop,
        model="unknown",
        camera_firmware=0,
        sensors_firmware=0,
        synthetic=False,
        source_names=tuple(stems),
        image_size=(width, height),
        metadata={"origin": "packed"},
    ) as writer:
        ahead = next(waiting, None)
        for number, ((left, right), stamp) in enumerate(zip(stems.values(), stamps, strict=True), start=1):
            sample: SensorSample | None = None
            while ahead is not None and ahead.timestamp_ns <= stamp:
                sample = ahead
                writer.add_sensors([ahead])
                ahead = next(waiting, None)
            writer.add_frame(_read(left, calibration, padded), _read(right, calibration, padded), stamp, sample)
            progress(number, len(stems))
        writer.add_sensors(_rest(ahead, waiting))
        write_conf(conf, calibration)
    return PackResult(out, conf, len(stems), width, height, padded, tuple(stems))


def _pairs(left_folder: Path, right_folder: Path) -> dict[str, tuple[Path, Path]]:
    left, right = _images(left_folder), _images(right_folder)
    lonely = sorted(left.keys() ^ right.keys())
    if lonely:
        side = left_folder if lonely[0] in left else right_folder
        other = right_folder if lonely[0] in left else left_folder
        raise InputError(
            f"{len(lonely)} images have no partner, the first being {lonely[0]!r} of {side}, which {other} lacks: "
            "both folders must hold images with the same names."
        )
    if not left:
        raise InputError(f"{left_folder} and {right_folder} hold no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return {stem: (left[stem], right[stem]) for stem in sorted(left)}


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder with the images of one eye.")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            if path.stem in images:
                raise InputError(f"{folder} holds two images named {path.stem!r} ({images[path.stem].name}, {path.name}): remove one.")
            images[path.stem] = path
    return images


def _timestamps(times: Path | Sequence[int] | None, fps: float | None, start_ns: int, stems: Sequence[str]) -> tuple[int, ...]:
    if times is None:
        if fps is None or fps <= 0:
            raise InputError("Neither the times of the images nor their frame rate is given: give one of them.")
        return tuple(start_ns + round(number * _NS / fps) for number in range(len(stems)))
    stamps = read_times(times, stems) if isinstance(times, Path) else tuple(times)
    if len(stamps) != len(stems):
        raise InputError(f"{len(stamps)} times are given for {len(stems)} images: give one for each.")
    backward = next((n for n in range(1, len(stamps)) if stamps[n] <= stamps[n - 1]), None)
    if backward is not None or stamps[0] < 0:
        at = stems[backward or 0]
        raise InputError(f"The times of the images do not increase at {at!r}: images are taken in the order of their names.")
    return stamps


def _rate(stamps: Sequence[int]) -> float:
    return float(_NS / np.median(np.diff(stamps))) if len(stamps) > 1 else 1.0


def _read(path: Path, calibration: StereoCalibration, padded: tuple[int, int]) -> Image:
    """An image as BGR, its last column and row repeated as far as video needs."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise InputError(f"{path} cannot be read as an image: replace it.")
    height, width = image.shape[:2]
    if (width, height) != (calibration.width, calibration.height):
        raise InputError(
            f"{path} has {width}x{height} pixels but the calibration is for {calibration.width}x{calibration.height}: "
            "give the calibration of these images."
        )
    if any(padded):
        image = cv2.copyMakeBorder(image, 0, padded[1], 0, padded[0], cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8)


def _rest(ahead: SensorSample | None, waiting: Iterator[SensorSample]) -> Iterator[SensorSample]:
    if ahead is not None:
        yield ahead
        yield from waiting


def _refuse_other_calibration(conf: Path, calibration: StereoCalibration) -> None:
    """Recordings of one folder share the calibration of their camera: never put another one in its place."""
    if not conf.exists():
        return
    fresh = conf.with_name(f".{conf.name}.new")
    try:
        write_conf(fresh, calibration)
        same = fresh.read_bytes() == conf.read_bytes()
    finally:
        fresh.unlink(missing_ok=True)
    if not same:
        raise InputError(f"{conf} exists and holds another calibration: pack into another folder, or give another serial number.")
