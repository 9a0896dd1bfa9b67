"""Where a recording begins and ends. SVO2 files say nothing of it that can be relied on, so a small file beside the recording does.

`drive.gps.json` beside `drive.svo2`, degrees, latitude first; `end` may be missing:

    {"start": [48.1372, 11.5755], "end": [48.1401, 11.5833]}
"""

import json
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError

SUFFIX = ".gps.json"
MAX_BYTES = 64 * 1024
_LIMITS = (90.0, 180.0)
Place = tuple[float, float]


def read_gps(recording: Path) -> tuple[Place | None, Place | None]:
    """Latitude and longitude of the start and the end of a recording; None where nobody knows.

    Args:
        recording: the SVO2 file; it need not be there itself.

    Raises:
        InputError: there is such a file, and it says something else.
    """
    path = recording.with_suffix(SUFFIX)
    if not path.is_file():
        return None, None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too long")
        content = json.loads(path.read_bytes())
        start, end = _place(content["start"]), _place(content["end"]) if content.get("end") is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f'{path.name} is no GPS file: it has {{"start": [latitude, longitude], "end": [latitude, longitude]}} in degrees.'
        ) from None
    return start, end


def _place(given: Any) -> Place:
    latitude, longitude = given
    for value, limit in zip((latitude, longitude), _LIMITS, strict=True):
        if type(value) not in (int, float) or not -limit <= value <= limit:
            raise ValueError("no degrees")
    return float(latitude), float(longitude)
