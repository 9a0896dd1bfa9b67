"""Runs `lamm` with the arguments behind the first one, which names the file for its peak memory: a process knows its own best."""

import json
import sys
import threading
from pathlib import Path

from lamm_pipeline.cli.app import app

LOOK_EVERY_S = 0.1


class Peak(threading.Thread):
    """Most memory that this process and the processes it has started held together, as far as somebody looked.

    What they share is counted for each of them, so this is an upper bound.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.together = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            children = [pid for path in Path("/proc/self/task").glob("*/children") for pid in _content(path).split()]
            self.together = max(self.together, sum(_bytes(pid, "VmRSS") for pid in ("self", *children)))

    def stop(self) -> int:
        """The peak; of this process alone every moment counts, whether somebody looked or not."""
        self._ended.set()
        self.join()
        return max(self.together, _bytes("self", "VmHWM"))


def _bytes(process: str, what: str) -> int:
    """A figure of a process; 0 when it has ended."""
    lines = _content(Path("/proc") / process / "status").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


if __name__ == "__main__":
    peak = Peak()
    peak.start()
    status = app(sys.argv[2:], standalone_mode=False)
    Path(sys.argv[1]).write_text(json.dumps({"peak_bytes": peak.stop()}))
    sys.exit(status)
