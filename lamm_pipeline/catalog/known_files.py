"""What a sensor has to know of files that were taken in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFile:
    """What is known of a file that was taken in: the recording or annotation export `key`."""

    key: str
    size: int | None
    mtime_ns: int | None
    missing: bool
