"""Stratified splits against iterative-stratification: how far classes are off, and how long it takes.

The peer splits single frames; ours splits groups of 50 neighbours, which it keeps whole, and single frames as well. Both get the same
frames.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamm_pipeline.datasets.settings import SplitSettings
from lamm_pipeline.datasets.splits.split_frames import SPLITS, Codes, SplitFrames
from lamm_pipeline.datasets.splits.split_plans import plan_splits
from lamm_pipeline_tests.benchmarks import stratified_worker
from lamm_pipeline_tests.benchmarks.harness import Means, Row
from lamm_pipeline_tests.benchmarks.stratified_worker import FREQUENCIES, GROUP, classes_on

FRAMES, MANY = 100_000, 1_000_000
SECONDS = 20.0
RATIOS = np.array([0.7, 0.15, 0.15])


def run(means: Means) -> list[Row]:
    count, many, seeds = (2_000, 4_000, 1) if means.tiny else (FRAMES, MANY, 5)
    rows: list[Row] = []
    ours = {group: [_measured(count, seed, group) for seed in range(seeds)] for group in ("recording", "frame")}
    theirs = _peer(means, count, seeds)
    for group, name in (("recording", "groups kept whole"), ("frame", "single frames")):
        for place, what in enumerate(("largest deviation of a class, 1/10000", "mean deviation, 1/10000", "CPU seconds")):
            mine = float(np.mean([each[place] for each in ours[group]]))
            label = f"{what}, {count} frames, {name}"
            if theirs is None:
                rows.append(Row(label, mine, note="no peer: make bench installs it"))
            else:
                peer = float(np.mean([each[place] for each in theirs]))
                rows.append(Row(label, mine, peer, at_most=1.0, note=f"reference: iterative-stratification; {seeds} seeds"))
    for group, hashed in (("recording", False), ("recording", True), ("frame", False)):
        largest, mean, took = _measured(many, 0, group, hashed=hashed)
        name = {"recording": "groups kept whole", "frame": "single frames"}[group] + (" and near-duplicates too" if hashed else "")
        rows.append(
            Row(f"CPU seconds, {many} frames, {name}", took, SECONDS, at_most=1.0, note=f"off by {largest:.2f}/10000, mean {mean:.2f}")
        )
    return rows


def _measured(count: int, seed: int, group: str, *, hashed: bool = False) -> tuple[float, float, float]:
    """Of our split of some frames: largest and mean deviation, ten-thousandths of a class's frames, and CPU seconds."""
    there = classes_on(count, seed)
    frames = _frames(there, _hashes(count, seed) if hashed else None)
    ratios = {f"{split}_ratio": ratio for split, ratio in zip(SPLITS, RATIOS.tolist(), strict=True)}
    settings = SplitSettings.model_validate({"strategy": "stratified", "group": group, "seed": seed} | ratios)
    began = time.process_time()
    codes = plan_splits(frames, settings, "benchmark").codes
    took = time.process_time() - began
    if group == "recording":
        assert (codes.reshape(-1, GROUP) == codes.reshape(-1, GROUP)[:, :1]).all(), "a group is split"
    return (*_deviations(there, codes), took)


def _deviations(there: NDArray[np.bool_], codes: Codes) -> tuple[float, float]:
    shares = np.stack([there[codes == code].sum(axis=0) for code in range(len(SPLITS))]) / there.sum(axis=0)
    off = np.abs(shares - RATIOS[:, None])
    return float(1e4 * off.max()), float(1e4 * off.mean())


def _peer(means: Means, count: int, seeds: int) -> list[tuple[float, float, float]] | None:
    if means.peers is None:
        return None
    results = means.folder / "results.json"
    command = [str(means.peers), "-m", stratified_worker.__name__, str(means.folder), str(count), str(seeds)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
    took = json.loads(results.read_text())
    return [(*_deviations(classes_on(count, seed), np.load(means.folder / f"{seed}.npy")), seconds) for seed, seconds in enumerate(took)]


def _frames(there: NDArray[np.bool_], hashes: NDArray[np.uint64] | None) -> SplitFrames:
    count = len(there)
    owner, label = np.nonzero(there)
    groups = count // GROUP
    return SplitFrames(
        frame_ids=pa.chunked_array([pa.array(np.arange(count)).cast(pa.string())]),
        recordings=tuple(f"{number:06d}" for number in range(groups)),
        recording=np.repeat(np.arange(groups), GROUP),
        frame_index=np.tile(np.arange(GROUP), groups),
        place=np.tile(np.arange(GROUP), groups),
        first_stamps=(None,) * groups,
        image_hash=np.zeros(count, np.uint64) if hashes is None else hashes,
        hashed=np.full(count, hashes is not None),
        classes=tuple(f"{number:02d}" for number in range(len(FREQUENCIES))),
        owner=owner,
        label=label,
    )


def _hashes(count: int, seed: int) -> NDArray[np.uint64]:
    """Hashes that go along in each group: up to six bits turn from one frame to the next."""
    draw = np.random.default_rng(seed)
    turned = (np.uint64(1) << draw.integers(0, 64, (count, 6)).astype(np.uint64)) * (draw.random((count, 6)) < 0.5)
    steps = np.bitwise_xor.reduce(turned.astype(np.uint64), axis=1).reshape(-1, GROUP)
    steps[:, 0] = draw.integers(0, 2**64, count // GROUP, np.uint64)
    return np.bitwise_xor.accumulate(steps, axis=1).ravel()
