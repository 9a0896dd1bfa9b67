"""Scores of an ensemble's points against reading the same bytes once, and memory of scoring a recording by its number of frames."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from lamm_pipeline.uncertainty.predictions import read_frame
from lamm_pipeline.uncertainty.scores import score_points
from lamm_pipeline_tests.benchmarks import uncertainty_worker
from lamm_pipeline_tests.benchmarks.harness import Means, Row, take_turns
from lamm_pipeline_tests.benchmarks.uncertainty_worker import EVALUATION, MEMBERS, write_frames

POINTS = 100_000
FLOORS, LOGARITHMS = 60.0, 6.0
"""How many times as long as its reference scoring may take: as reading the bytes once, and as taking their logarithms."""


def run(means: Means) -> list[Row]:
    points, rounds, few, many = (1_000, 1, 3, 6) if means.tiny else (POINTS, 15, 100, 1_000)
    [path, *_] = write_frames(means.folder / "speed", 1, points)
    frame = read_frame(path, EVALUATION, points)
    assert frame.probabilities is not None
    given = np.array(frame.probabilities)
    took = take_turns({"ours": lambda: score_points(given), "floor": given.sum, "log": lambda: np.log(given + 1e-6)}, rounds)
    what = f"CPU ms a frame of {points} points, {MEMBERS} members, {len(EVALUATION.classes)} classes"
    mine = 1e3 * took["ours"].median.cpu
    rows = []
    for name, limit, note in (("floor", FLOORS, "reading the bytes once (sum)"), ("log", LOGARITHMS, "one logarithm of each number")):
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(took["ours"].rounds, took[name].rounds, strict=True))
        rows.append(Row(what, mine, 1e3 * took[name].median.cpu, at_most=limit, paired=ratio, note=f"reference: {note}"))
    (short, _), (long, seconds) = (_peak_mb(means.folder / str(frames), frames, points) for frames in (few, many))
    return [
        *rows,
        Row(f"peak MB, {many} frames scored", long, short, at_most=1.05, note=f"reference: {few} frames"),
        Row("frames a second, files to table, two threads", many / seconds),
    ]


def _peak_mb(folder: Path, frames: int, points: int) -> tuple[float, float]:
    """Peak memory of a process that scores so many frames, and the seconds it took."""
    write_frames(folder, frames, points)
    command = [sys.executable, "-m", uncertainty_worker.__name__, str(folder), str(points)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found = json.loads(told.splitlines()[-1])
    return found["peak_mb"], found["seconds"]
