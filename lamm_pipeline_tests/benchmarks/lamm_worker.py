"""Runs `lamm` with the arguments behind the first one, which names the file for its peak memory: a process knows its own best."""

import json
import sys
from pathlib import Path

from lamm_pipeline.cli.app import app


def peak_bytes() -> int:
    """Most memory this process ever held; a parent would see that of the process it was forked from, if that was larger."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    status = app(sys.argv[2:], standalone_mode=False)
    Path(sys.argv[1]).write_text(json.dumps({"peak_bytes": peak_bytes()}))
    sys.exit(status)
