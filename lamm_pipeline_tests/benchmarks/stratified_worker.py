"""Makes frames and splits them with iterative-stratification; started by `stratified.py` with the Python of the peers' environment."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FREQUENCIES = np.array([0.5, 0.3, 0.2, 0.1, 0.08, 0.05, 0.03, 0.02, 0.01, 0.006, 0.004, 0.002])
GROUP = 50


def classes_on(count: int, seed: int) -> NDArray[np.bool_]:
    """`(count, 12)` which class is on which frame; frames of a group have much the same ones."""
    draw = np.random.default_rng(seed)
    chance = draw.beta(2 * FREQUENCIES, 2 * (1 - FREQUENCIES), (count // GROUP, len(FREQUENCIES)))
    return np.asarray(draw.random((count, len(FREQUENCIES))) < np.repeat(chance, GROUP, axis=0))


def main(folder: Path, count: int, seeds: int) -> None:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    took = []
    for seed in range(seeds):
        there = classes_on(count, seed).astype(np.int64)
        began = time.process_time()
        codes = np.zeros(count, np.int8)
        _, held = next(MultilabelStratifiedShuffleSplit(1, test_size=0.3, random_state=seed).split(there, there))
        val, test = next(MultilabelStratifiedShuffleSplit(1, test_size=0.5, random_state=seed).split(there[held], there[held]))
        codes[held[val]], codes[held[test]] = 1, 2
        took.append(time.process_time() - began)
        np.save(folder / f"{seed}.npy", codes)
    (folder / "results.json").write_text(json.dumps(took))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
