"""Pairs of near-duplicates among 64-bit hashes against faiss, whose index of several hash tables is exact as well when it turns bits.

Both take turns in one process of the peers' environment, on one thread.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from lamm_pipeline_tests.benchmarks import near_duplicates_worker
from lamm_pipeline_tests.benchmarks.harness import Means, Row

HASHES, RADIUS = 100_000, 5
RATIO = 0.2


def run(means: Means) -> list[Row]:
    count, rounds = (2_000, 1) if means.tiny else (HASHES, 7)
    results = means.folder / "results.json"
    command = [
        str(means.peers or sys.executable),
        "-m",
        near_duplicates_worker.__name__,
        str(results),
        str(count),
        str(RADIUS),
        str(rounds),
    ]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"})
    found = json.loads(results.read_text())
    assert len({each["pairs"] for each in found.values()}) == 1, "they find different pairs"
    rounds_cpu = {name: [cpu for _, cpu in each["rounds"]] for name, each in found.items()}
    mine = rounds_cpu.pop("ours")
    what = f"CPU seconds, {count} hashes within {RADIUS} bits"
    if not rounds_cpu:
        return [Row(what, statistics.median(mine), note="no peers: make bench installs them")]
    rows = []
    for name, theirs in rounds_cpu.items():
        ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
        note = f"reference: {name}; {found['ours']['pairs']} pairs"
        rows.append(Row(what, statistics.median(mine), statistics.median(theirs), at_most=RATIO, paired=ratio, note=note))
    return rows
