"""Finds pairs in turns; started by `near_duplicates.py` with the Python of the peers' environment, or with ours where there is no such."""

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.curation.near_duplicates import near_pairs

Hashes = NDArray[np.uint64]
TABLES = {"faiss, 3 tables of 21 bits, one turned": (3, 21), "faiss, 4 tables of 16 bits, one turned": (4, 16)}
"""Exact up to 5 and 7 bits: of so many tables one differs in at most one bit. The first is the fastest of those that are exact at 5."""


def hashes(count: int) -> Hashes:
    """Half of them at random, the other half their twins with up to six bits turned."""
    draw = np.random.default_rng(0)
    found = draw.integers(0, 2**64, count // 2, np.uint64)
    twins = found.copy()
    for _ in range(6):
        turned = draw.random(len(twins)) < 0.6
        twins[turned] ^= np.uint64(1) << draw.integers(0, 64, int(turned.sum())).astype(np.uint64)
    return np.concatenate([found, twins])


def peer(tables: int, bits: int, values: Hashes, radius: int) -> int:
    """Number of pairs by faiss."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryMultiHash(64, tables, bits)
    index.nflip = 1
    rows = values.view(np.uint8).reshape(-1, 8)
    index.add(rows)
    _, _, found = index.range_search(rows, radius + 1)  # what it finds is nearer than that
    return (len(found) - len(values)) // 2


def main(results: Path, count: int, radius: int, rounds: int) -> None:
    values = hashes(count)
    variants: dict[str, Callable[[], int]] = {"ours": lambda: len(near_pairs(values, radius)[0])}
    if find_spec("faiss") is not None:
        for name, (tables, bits) in TABLES.items():
            variants[name] = lambda tables=tables, bits=bits: peer(tables, bits, values, radius)  # type: ignore[misc]
    took: dict[str, Any] = {name: {"rounds": []} for name in variants}
    for number in range(rounds):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            took[name]["pairs"] = variants[name]()
            took[name]["rounds"].append([time.perf_counter() - wall, time.process_time() - cpu])
    results.write_text(json.dumps(took))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
