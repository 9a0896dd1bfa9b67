"""Where the frames of an extraction come from: which reader, with which calibration and which depth, and why.

Settled before any work, because it decides what comes out and so belongs to the artifact's version. A machine without the ZED SDK falls
back to this package's own reader and matcher, and the version is then that of a run that asked for those.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.settings import FrameSettings, MatcherName
from lamm_pipeline.extraction.stereo import FrameMatcher
from lamm_pipeline.extraction.zed_depth import ZedMatcher
from lamm_pipeline.geometry.camera import StereoCalibration
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.open_recording import Backend, open_recording
from lamm_pipeline.recordings.reader import RecordingReader
from lamm_pipeline.recordings.zed_probe import probe
from lamm_pipeline.recordings.zed_reader import CODEC
from lamm_pipeline.recordings.zed_sdk import ZedOptions, ZedUnavailable, load_sdk
from lamm_pipeline.storage.atomic import digest_json, sha256_file


@dataclass(frozen=True)
class FrameSource:
    """What extraction reads.

    Attributes:
        path: the recording.
        settings: those asked for, with the reader and the matcher that are in force.
        calibration: of the images that the reader delivers; None when unknown.
        matcher: depth that comes with the frames; None = `settings.stereo` says how to match.
        digests: of the calibration and the SDK, by role.
        remarks: sentences on what is not as asked for.
    """

    path: Path
    settings: FrameSettings
    calibration: StereoCalibration | None
    matcher: FrameMatcher | None
    digests: Mapping[str, str]
    remarks: tuple[str, ...]
    zed: ZedOptions | None = None

    @property
    def science(self) -> dict[str, Any]:
        """The settings in force that name the version."""
        return {"reader": self.settings.reader.value, "stereo": self.settings.stereo.model_dump(mode="json")}

    def open(self) -> RecordingReader:
        """Open the recording."""
        return open_recording(self.path, self.settings.reader, zed=self.zed)


def frame_source(
    path: Path,
    facts: Mapping[str, Any],
    settings: FrameSettings,
    *,
    calibration_file: Path | None,
    calibration_folder: Path | None,
) -> FrameSource:
    """Settle who reads a recording and who makes its depth.

    Args:
        path: the recording.
        facts: `serial`, `width`, `height` and `codec` of it.
        settings: what was asked for.
        calibration_file: explicit `SN<serial>.conf`.
        calibration_folder: folder to search for it.

    Raises:
        InputError: the calibration or the recording cannot be used.
    """
    matched_by_zed = settings.stereo.matcher is MatcherName.zed
    only_zed = settings.reader is Backend.auto and facts["codec"] == CODEC
    remarks: tuple[str, ...] = ()
    if settings.reader is Backend.zed or matched_by_zed or only_zed:
        options = ZedOptions(
            depth_mode=settings.stereo.zed_depth_mode.value if matched_by_zed else None,
            min_depth_m=settings.stereo.min_depth_m,
            max_depth_m=settings.stereo.max_depth_m,
            calibration_folder=_folder(path, facts["serial"], calibration_file, calibration_folder),
            rectified=matched_by_zed,
        )
        try:
            load_sdk()
            opening = probe(path, options)
        except ZedUnavailable as error:
            if only_zed:
                raise InputError(f"Only the ZED SDK has read {path.name}, and it cannot be used here: {error}") from None
            remarks = (f"{error} The native reader{' and sgbm depth take' if matched_by_zed else ' takes'} over.",)
        else:
            remarks = tuple(f"The ZED SDK warns about {path.name}: {name}." for name in opening.warnings)
            digests = {"zed_sdk": digest_json(opening.sdk_version)}
            if matched_by_zed:
                digests["calibration"] = digest_json(asdict(opening.calibration))
                matcher = ZedMatcher(settings.stereo, opening.sdk_version)
                return FrameSource(path, _in_force(settings, Backend.zed), opening.calibration, matcher, digests, remarks, options)
            calibration, found = _calibration(path, facts, settings, calibration_file, calibration_folder)
            return FrameSource(path, _in_force(settings, Backend.zed), calibration, None, digests | found, remarks, options)
    calibration, found = _calibration(path, facts, settings, calibration_file, calibration_folder)
    return FrameSource(path, _in_force(settings, Backend.native), calibration, None, found, remarks)


def _in_force(settings: FrameSettings, reader: Backend) -> FrameSettings:
    matcher = settings.stereo.matcher if reader is Backend.zed else MatcherName.sgbm
    return settings.model_copy(update={"reader": reader, "stereo": settings.stereo.model_copy(update={"matcher": matcher})})


def _calibration(
    path: Path, facts: Mapping[str, Any], settings: FrameSettings, file: Path | None, folder: Path | None
) -> tuple[StereoCalibration | None, dict[str, str]]:
    """The camera's calibration and the digest of its file."""
    if not settings.rectify:
        return None, {}
    found = find_calibration(path, facts["serial"], facts["width"], facts["height"], explicit=file, folder=folder)
    return (found, {"calibration": sha256_file(Path(found.source))}) if found is not None else (None, {})


def _folder(path: Path, serial: int, file: Path | None, folder: Path | None) -> Path | None:
    """Folder in which the SDK is to look for the calibration; it knows files by their names only."""
    name = f"SN{serial}.conf"
    if file is not None:
        if file.name != name or not file.is_file():
            raise InputError(
                f"The ZED SDK finds a calibration only under the name {name}: {file} is not one; name it so, or leave it empty."
            )
        return file.parent
    places = [path.parent, *([folder] if folder is not None else [])]
    return next((place for place in places if (place / name).is_file()), None)
