"""Rerun's web viewer out of the installed wheel, so that scenes are shown without a network.

The viewer is inside the program that the wheel brings. It is taken out once for each version, by starting that program as a web server
of the loopback for a moment, and kept compressed in a folder. Of its files only the script and the WebAssembly are used: its own page asks
other servers for fonts.
"""

import gzip
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_bytes

FILES = {"re_viewer.js": "text/javascript", "re_viewer_bg.wasm": "application/wasm"}
"""What there is, with its type."""

START_SECONDS = 30.0
_COMPRESSION = 1  # an eighth larger than the default, four times as fast
_PAUSE_SECONDS = 0.05


def viewer_file(folder: Path, version: str, name: str) -> Path:
    """One of `FILES`, compressed with gzip; all of them are taken out of the wheel where they are not there yet.

    Args:
        folder: where they are kept.
        version: of the Rerun SDK that is installed.
        name: of the file.

    Raises:
        InputError: the viewer does not start.
    """
    path = _path(folder, version, name)
    if not path.is_file():
        with _served() as url:
            for each in FILES:
                write_bytes(_path(folder, version, each), gzip.compress(_fetched(f"{url}/{each}"), _COMPRESSION, mtime=0))
    return path


def _path(folder: Path, version: str, name: str) -> Path:
    return folder / version / f"{name}.gz"


@contextmanager
def _served() -> Iterator[str]:
    """Rerun's own web server on a port of the loopback; it has ended when this ends."""
    port, data_port = _free_ports()
    ports = ["--bind", "127.0.0.1", "--web-viewer-port", str(port), "--port", str(data_port)]
    with tempfile.TemporaryDirectory() as home:
        # it would count its starts and send the count away; its settings live where these variables say
        environment = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
        with _started(["analytics", "disable"], environment) as process:
            process.wait(START_SECONDS)
        with _started(["--serve-web", *ports], environment) as process:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process)
            yield url


@contextmanager
def _started(arguments: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Rerun's program, in a group of its own that has ended when this ends: the module is a wrapper that would leave the program behind."""
    null = subprocess.DEVNULL
    command = [sys.executable, "-m", "rerun_cli", *arguments]
    process = subprocess.Popen(command, env=environment, stdin=null, stdout=null, stderr=null, start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _fetched(f"{url}/re_viewer.js")
        except urllib.error.URLError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    raise InputError("Rerun's viewer does not start. Try `rerun --serve-web`; `pip install --force-reinstall rerun-sdk` brings it anew.")


def _fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=START_SECONDS) as answer:  # noqa: S310 - of the loopback
        content: bytes = answer.read()
        return content


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
