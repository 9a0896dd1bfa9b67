"""Tries to open a recording with the ZED SDK in another process: old versions hang or abort on damaged files, and take the process along.

Run as a module it is that other process; `probe` starts it.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.recordings.zed_sdk import ZedOptions, ZedUnavailable, depth_mode, load_sdk, opened, rectified_calibration

ANSWER = "lamm-zed-probe "
"""Begins the one line of the process that counts; the SDK writes lines of its own."""

_KINDS: dict[str, type[Exception]] = {"unavailable": ZedUnavailable, "input": InputError, "bug": RuntimeError}


@dataclass(frozen=True)
class ZedOpening:
    """What the trial found.

    Attributes:
        sdk_version: of the SDK.
        frame_count: frames of the recording.
        warnings: names of the SDK's warnings at opening.
        calibration: of the images that the SDK rectifies.
    """

    sdk_version: str
    frame_count: int
    warnings: tuple[str, ...]
    calibration: StereoCalibration


def probe(path: Path, options: ZedOptions) -> ZedOpening:
    """Open a recording and take its first frame in another process.

    Without depth, so that the first use of a neural mode, which takes minutes, does not count against the time.

    Raises:
        ZedUnavailable: the SDK cannot be used here.
        InputError: it refuses the file, hangs or crashes on it.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: give the path of a recording.")
    folder = "" if options.calibration_folder is None else str(options.calibration_folder)
    command = [sys.executable, "-m", __name__, str(path.resolve()), folder, options.depth_mode or ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=options.timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise InputError(
            f"The ZED SDK did not open {path} within {options.timeout_s:g} s: it hangs on some damaged files. "
            "Use reader = native, or copy the recording again."
        ) from None
    answers = [line.removeprefix(ANSWER) for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    if not answers:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise InputError(
            f"The ZED SDK ended its process ({how}) while it opened {path}: it aborts on some damaged files. "
            "Use reader = native, or copy the recording again."
        )
    answer = json.loads(answers[-1])
    if answer["kind"] != "opened":
        raise _KINDS[answer["kind"]](answer["sentence"])
    found = answer["calibration"]
    eyes = {side: CameraModel(**found[side] | {"distortion": tuple(found[side]["distortion"])}) for side in ("left", "right")}
    vectors = {name: tuple(found[name]) for name in ("rotation_vector", "translation_m")}
    return ZedOpening(answer["sdk_version"], answer["frame_count"], tuple(answer["warnings"]), StereoCalibration(**found | eyes | vectors))


def main(arguments: Sequence[str]) -> None:
    """Open a recording and print the answer.

    Args:
        arguments: path, folder of the calibration or nothing, depth mode or nothing.
    """
    path, folder, mode = Path(arguments[0]), arguments[1], arguments[2]
    options = ZedOptions(calibration_folder=Path(folder) if folder else None)
    try:
        sdk = load_sdk()
        depth_mode(sdk, mode or None)
        with opened(sdk, path, options) as (camera, warnings):
            calibration = rectified_calibration(sdk, camera)
            camera.grab(sdk.RuntimeParameters())  # whatever it says: the passes that follow meet it again and name the frame
            opening = ZedOpening(str(sdk.Camera.get_sdk_version()), int(camera.get_svo_number_of_frames()), warnings, calibration)
        answer = {"kind": "opened"} | asdict(opening)
    except ZedUnavailable as error:
        answer = {"kind": "unavailable", "sentence": str(error)}
    except InputError as error:
        answer = {"kind": "input", "sentence": str(error)}
    except RuntimeError as error:
        answer = {"kind": "bug", "sentence": str(error)}
    sys.stdout.write(f"\n{ANSWER}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
