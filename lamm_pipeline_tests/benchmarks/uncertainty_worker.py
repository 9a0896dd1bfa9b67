"""Scores an evaluation of many frames in a process of its own and prints how much memory and time it took."""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import no_progress
from lamm_pipeline.uncertainty.evaluation_files import Evaluation, frame_files
from lamm_pipeline.uncertainty.predictions import PredictionWriter
from lamm_pipeline.uncertainty.score_frame import FrameScorer
from lamm_pipeline.uncertainty.score_recording import EvaluationInput, score_recording
from lamm_pipeline_tests.extraction.frame_records import frame_record

KEY = "drive"
MEMBERS = 5
DISTINCT = 8
EVALUATION = Evaluation("night", "night-v3", ("ground", "car", "person", "other"), MEMBERS, ("car",), "2026-05-01T12:00:00+00:00")


def write_frames(folder: Path, frames: int, points: int) -> list[Path]:
    """Predictions with labels for so many frames; a few files under many names, so that the disk is not filled."""
    rng = np.random.default_rng(0)
    with PredictionWriter(folder, EVALUATION, KEY) as writer:
        for n in range(min(frames, DISTINCT)):
            weights = rng.gamma(0.5, size=(MEMBERS, points, 4)).astype(np.float32) + np.float32(1e-6)
            probabilities = weights / weights.sum(axis=-1, keepdims=True)
            writer.add(f"{KEY}:{n:06d}", probabilities, labels=rng.integers(-1, 4, points))
    written = frame_files(folder / KEY)
    for n in range(len(written), frames):
        os.link(written[n % DISTINCT][1], folder / KEY / f"{n:06d}.npz")
    return [path for _, path in frame_files(folder / KEY)]


def main() -> None:
    folder, points = Path(sys.argv[1]), int(sys.argv[2])
    records = {index: frame_record(KEY, index, index, point_cloud=f"velodyne/{index:06d}.bin") for index, _ in frame_files(folder / KEY)}
    sizes = {f"velodyne/{index:06d}.bin": 16 * points for index in records}
    scorer = FrameScorer(EVALUATION, KEY, records, sizes, None, keep_points=False)
    given = EvaluationInput(EVALUATION, folder / KEY, {}, None, None, scorer, None)
    began = time.perf_counter()
    counts = score_recording([given], len(records), 0.0, Draft.open(folder / "out"), workers=2, progress=no_progress)
    seconds = time.perf_counter() - began
    assert counts["rows"] == len(records)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sys.stdout.write(json.dumps({"peak_mb": peak, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
