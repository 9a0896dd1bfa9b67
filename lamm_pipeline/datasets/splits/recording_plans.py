"""Whole recordings and blocks of them by their numbers of frames: dealing, cutting a row of them, and cutting one into blocks.

Orders depend on names and the seed alone.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lamm_pipeline.datasets.splits.split_frames import Places

SWAPS_UP_TO = 400


@dataclass(frozen=True)
class Block:
    """Selected frames `start` to `stop - 1` of a recording, counted from 0, go into `split`."""

    start: int
    stop: int
    split: str

    @property
    def frames(self) -> int:
        """Length of the block."""
        return self.stop - self.start


def deal_recordings(sizes: Mapping[str, int], lacking: Mapping[str, float], without: Sequence[str], seed: int) -> dict[str, str]:
    """Deal whole recordings to splits.

    Args:
        sizes: of the recordings.
        lacking: what each split lacks of its share.
        without: the splits that have nothing yet; none of them stays so where there are enough recordings.
        seed: decides the order.

    Returns:
        The split of each recording.
    """
    placed = _deal(sizes, lacking, without, seed)
    _improve(placed, sizes, lacking, Counter(split for split in lacking if split not in without), seed)
    return placed


def cut_row(ends: Places, ratios: Sequence[float]) -> list[int]:
    """Where to cut a row of recordings, so that the cuts are nearest to where the ratios have them and no part is empty.

    Args:
        ends: `(R,)` frames up to and with each recording.
        ratios: of the parts, all above 0.

    Returns:
        The first recording of each part but the first.
    """
    count, parts = len(ends), len(ratios)
    wanted = np.cumsum(ratios)[:-1] / sum(ratios) * ends[-1]
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * (count + 1)  # of the cuts from a recording on
    for part in range(parts - 1, 0, -1):
        following, best = best, [(np.inf, ())] * (count + 1)
        for place in range(count - parts + part, part - 1, -1):
            off, later = following[place + 1]
            here = (abs(float(ends[place - 1] - wanted[part - 1])) + off, (place, *later))
            best[place] = min(here, best[place + 1])
    return list(best[1][1]) if parts > 1 else []


def cut_recording(places: Places, shares: Mapping[str, float], guard: int) -> tuple[Block, ...]:
    """Cut a recording into blocks in time order, one a split, with a gap between them.

    Of the frames within a gap none is in a block; where the selected frames are farther apart than that anyway, a gap takes none of them.

    Args:
        places: `(N,)` places of the selected frames in the recording, ascending.
        shares: of the splits, summing to 1.
        guard: frames of the recording that lie between two blocks at least.

    Returns:
        The blocks, with as many frames as fit beside the gaps; none when there is not a frame for every block.
    """
    totals = range(len(shares), len(places) + 1)
    fitting = bisect_left(totals, True, key=lambda total: not _blocks(places, _sizes(total, shares), guard))
    return _blocks(places, _sizes(totals[fitting - 1], shares), guard) if fitting else ()


def widest_cut(places: Places, shares: Mapping[str, float], guard: int) -> tuple[tuple[Block, ...], int]:
    """Cut a recording with gaps that leave out no more than half of its selected frames.

    Args:
        places: `(N,)` places of the selected frames in the recording, ascending.
        shares: of the splits, summing to 1.
        guard: of the widest gap that is wanted.

    Returns:
        The blocks as `cut_recording` makes them, and the gap; a gap of one frame may leave out more.
    """

    def loses_more_than_half(gap: int) -> bool:
        return 2 * sum(block.frames for block in cut_recording(places, shares, gap)) < len(places)

    width = max(1, bisect_left(range(1, guard + 1), True, key=loses_more_than_half))
    return cut_recording(places, shares, width), width


def shuffled(recordings: Mapping[str, int], seed: int) -> list[str]:
    """An order that depends on names and seed alone: not on the order given, the process, or the version of a random generator."""
    return sorted(recordings, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def _sizes(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers of frames with a sum, in shares, at least 1 each."""
    targets = {split: share * total for split, share in shares.items()}
    sizes = {split: max(1, int(target)) for split, target in targets.items()}
    while (rest := total - sum(sizes.values())) != 0:
        step = 1 if rest > 0 else -1
        candidates = [split for split in shares if step > 0 or sizes[split] > 1]
        sizes[max(candidates, key=lambda name: step * (targets[name] - sizes[name]))] += step
    return sizes


def _blocks(places: Places, sizes: Mapping[str, int], guard: int) -> tuple[Block, ...]:
    """Blocks of these sizes from the start on, the last with all that is left; none where something does not fit."""
    blocks: list[Block] = []
    start, count = 0, len(places)
    for number, (split, size) in enumerate(sizes.items(), start=1):
        if start + size > count:
            return ()
        following = int(np.searchsorted(places, places[start + size - 1] + guard, side="right"))
        ends = number == len(sizes) or following == count
        stop = count if ends else int(np.searchsorted(places, places[following] - guard))  # all that are far enough from the next block
        blocks.append(Block(start, stop, split))
        start = following
    return tuple(blocks)


def _deal(sizes: Mapping[str, int], lacking: Mapping[str, float], without: Sequence[str], seed: int) -> dict[str, str]:
    """Deal recordings out one by one, each to the split that lacks most; in the end no split is left without."""
    lacking = dict(lacking)
    placed: dict[str, str] = {}
    for number, recording in enumerate(shuffled(sizes, seed)):
        choices = without if len(sizes) - number <= len(without) else list(lacking)
        split = max(choices, key=lambda name: lacking[name])
        placed[recording] = split
        lacking[split] -= sizes[recording]
        without = [name for name in without if name != split]
    return placed


def _improve(placed: dict[str, str], sizes: Mapping[str, int], targets: Mapping[str, float], held: Counter[str], seed: int) -> None:
    """Move and swap recordings as long as that brings the splits closer to their targets; long recordings need it when they are few."""
    lacking = {split: targets[split] - sum(sizes[each] for each, where in placed.items() if where == split) for split in targets}
    members = Counter(placed.values()) + held
    order = shuffled(sizes, seed)
    pairs = list(combinations(order, 2)) if len(order) <= SWAPS_UP_TO else []

    def shift(source: str, target: str, amount: int) -> bool:
        before = abs(lacking[source]) + abs(lacking[target])
        after = abs(lacking[source] + amount) + abs(lacking[target] - amount)
        if after >= before - 1e-9:
            return False
        lacking[source] += amount
        lacking[target] -= amount
        return True

    improved = True
    while improved:
        improved = False
        for recording in order:
            source = placed[recording]
            if members[source] == 1:
                continue
            for target in targets:
                if target != source and shift(source, target, sizes[recording]):
                    placed[recording] = target
                    members.update({source: -1, target: 1})
                    improved = True
                    break
        for one, other in pairs:
            source, target = placed[one], placed[other]
            if source != target and shift(source, target, sizes[one] - sizes[other]):
                placed[one], placed[other] = target, source
                improved = True
