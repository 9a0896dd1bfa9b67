"""Opens a recording with whichever reader can: this package's own, or the ZED SDK's."""

import logging
from enum import StrEnum
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.svo2_index import UnreadableVideo
from lamm_pipeline.recordings.svo2_reader import Svo2Reader, open_svo2
from lamm_pipeline.recordings.zed_probe import probe
from lamm_pipeline.recordings.zed_reader import ZedReader, open_zed
from lamm_pipeline.recordings.zed_sdk import ZedOptions, ZedUnavailable, load_sdk

_LOG = logging.getLogger(__name__)


class Backend(StrEnum):
    """What reads a recording. `auto` is `native`, and `zed` only for recordings whose video `native` cannot read."""

    auto = "auto"
    native = "native"
    zed = "zed"


def backend_in_force(path: Path, backend: Backend) -> tuple[Backend, str]:
    """Who reads a recording when `backend` is asked for, and a sentence where the SDK is asked for and cannot be used.

    Raises:
        InputError: the SDK refuses the file.
    """
    if backend is Backend.zed:
        try:
            load_sdk()
            probe(path, ZedOptions())
        except ZedUnavailable as error:
            return Backend.native, f"{error} The native reader takes over."
    return backend, ""


def open_recording(path: Path, backend: Backend = Backend.auto, *, zed: ZedOptions | None = None) -> Svo2Reader | ZedReader:
    """Open a recording; use the result in a `with` block.

    `auto` prefers the native reader because it needs no GPU and gives the same bytes on every machine. `zed` falls back to it, with a
    logged sentence, where the SDK cannot be used at all; a file that the SDK refuses is refused.

    Args:
        path: the recording.
        backend: who reads it.
        zed: how the SDK opens it.

    Raises:
        InputError: no reader that was asked for can read it; the sentence says why.
    """
    if backend is Backend.zed:
        try:
            return open_zed(path, zed)
        except ZedUnavailable as error:
            _LOG.warning("%s The native reader takes over.", error)
            return open_svo2(path)
    try:
        return open_svo2(path)
    except UnreadableVideo as error:
        if backend is Backend.native:
            raise
        unreadable = error
    try:
        reader = open_zed(path, zed)
    except ZedUnavailable as error:
        raise InputError(f"{unreadable} Nor can the ZED SDK read it here: {error}") from None
    _LOG.warning("%s The ZED SDK reads it instead.", unreadable)
    return reader
