"""Which stretch of which recording goes into which split: pure functions of counts, ratios and a seed.

Neighbouring frames of a recording look alike, so a split never cuts between neighbours: either whole recordings are dealt out, or a
recording is cut into contiguous blocks with a gap between them that belongs to no split.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lamm_pipeline.datasets.settings import BalanceBy, SplitSettings, SplitStrategy
from lamm_pipeline.errors import InputError

SPLITS = ("train", "val", "test")
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


@dataclass(frozen=True)
class SplitPlan:
    """Where the selected frames of every recording go.

    Attributes:
        strategy: `recording` or `blocks`, whichever was used.
        blocks: by recording, in frame order; frames in no block belong to no split.
        guard_frames: for each recording that was cut, the frames left out between its blocks.
        notes: sentences for people.
    """

    strategy: SplitStrategy
    blocks: Mapping[str, tuple[Block, ...]]
    guard_frames: Mapping[str, int]
    notes: tuple[str, ...]


def plan_splits(frames: Mapping[str, int], settings: SplitSettings, dataset: str) -> SplitPlan:
    """Plan a split. The same counts, settings and seed give the same plan, whatever the order of the recordings.

    Args:
        frames: number of selected frames by recording; recordings without any take no part.
        settings: strategy, ratios, seed, guard.
        dataset: named in messages.

    Raises:
        InputError: there are too few recordings, or too few frames in them.
    """
    counts = {recording: count for recording, count in sorted(frames.items()) if count > 0}
    wanted = [split for split in SPLITS if settings.ratios[split] > 0]
    enough = len(counts) >= len(wanted)
    if settings.strategy is SplitStrategy.recording and not enough:
        raise InputError(
            f"Dataset {dataset!r} has {len(counts)} recordings with selected frames, too few to give each of {', '.join(wanted)} one of "
            "its own. Add recordings, set the split's strategy to blocks or auto, or set a ratio to 0."
        )
    if settings.strategy is SplitStrategy.recording or (settings.strategy is SplitStrategy.auto and enough):
        return _deal_recordings(counts, wanted, settings)
    return _cut_blocks(counts, wanted, settings, dataset)


def _deal_recordings(counts: Mapping[str, int], wanted: Sequence[str], settings: SplitSettings) -> SplitPlan:
    sizes = dict.fromkeys(counts, 1) if settings.balance_by is BalanceBy.recordings else dict(counts)
    targets = _targets(settings, wanted, sum(sizes.values()))
    placed = _deal(sizes, targets, settings.seed)
    _improve(placed, sizes, targets, settings.seed)
    blocks = {recording: (Block(0, counts[recording], placed[recording]),) for recording in counts}
    return SplitPlan(SplitStrategy.recording, blocks, {}, ())


def _deal(sizes: Mapping[str, int], targets: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal recordings out one by one, each to the split that lacks most; in the end no split is left without."""
    lacking = dict(targets)
    without = list(targets)
    placed: dict[str, str] = {}
    for number, recording in enumerate(_shuffled(sizes, seed)):
        choices = without if len(sizes) - number <= len(without) else list(targets)
        split = max(choices, key=lambda name: lacking[name])
        placed[recording] = split
        lacking[split] -= sizes[recording]
        without = [name for name in without if name != split]
    return placed


def _improve(placed: dict[str, str], sizes: Mapping[str, int], targets: Mapping[str, float], seed: int) -> None:
    """Move and swap recordings as long as that brings the splits closer to their targets; long recordings need it when they are few."""
    lacking = {split: targets[split] - sum(sizes[each] for each, where in placed.items() if where == split) for split in targets}
    members = Counter(placed.values())
    order = _shuffled(sizes, seed)
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


def _cut_blocks(counts: Mapping[str, int], wanted: Sequence[str], settings: SplitSettings, dataset: str) -> SplitPlan:
    gaps = len(wanted) - 1
    blocks: dict[str, tuple[Block, ...]] = {}
    guards: dict[str, int] = {}
    notes: list[str] = []
    for recording, count in counts.items():
        guard = settings.guard_frames
        if settings.strategy is SplitStrategy.auto and gaps:
            guard = min(guard, max(1, count // (2 * gaps)))
        cut = _cut(count, wanted, settings, guard)
        if not cut:
            continue
        blocks[recording] = cut
        guards[recording] = guard
        if guard < settings.guard_frames:
            notes.append(
                f"Recording {recording!r} has only {count} selected frames, so the gap between its blocks is {guard} frames instead of "
                f"{settings.guard_frames}: its splits are less independent."
            )
    if not blocks:
        raise InputError(
            f"No recording of dataset {dataset!r} can be cut into blocks for {', '.join(wanted)} with gaps of {settings.guard_frames} "
            f"frames: the longest has {max(counts.values(), default=0)} selected frames. Add recordings, lower guard_frames, or set a "
            "ratio to 0."
        )
    _place_short_recordings(counts, blocks, wanted, settings, notes)
    return SplitPlan(SplitStrategy.blocks, dict(sorted(blocks.items())), guards, tuple(notes))


def _place_short_recordings(
    counts: Mapping[str, int],
    blocks: dict[str, tuple[Block, ...]],
    wanted: Sequence[str],
    settings: SplitSettings,
    notes: list[str],
) -> None:
    """Recordings too short to be cut go as a whole to the split that lacks most."""
    short = {recording: count for recording, count in counts.items() if recording not in blocks}
    lacking = _targets(settings, wanted, sum(block.frames for cut in blocks.values() for block in cut) + sum(short.values()))
    for cut in blocks.values():
        for block in cut:
            lacking[block.split] -= block.frames
    for recording in _shuffled(short, settings.seed):
        split = max(wanted, key=lambda name: lacking[name])
        lacking[split] -= short[recording]
        blocks[recording] = (Block(0, short[recording], split),)
        notes.append(f"Recording {recording!r} is too short to be cut ({short[recording]} selected frames); all of it is in {split}.")


def _cut(count: int, wanted: Sequence[str], settings: SplitSettings, guard: int) -> tuple[Block, ...]:
    """Blocks in time order with `guard` frames between them; none when there is not a frame for every block."""
    free = count - guard * (len(wanted) - 1)
    if free < len(wanted):
        return ()
    shares = _targets(settings, wanted, free)
    sizes = {split: max(1, int(share)) for split, share in shares.items()}
    while (rest := free - sum(sizes.values())) != 0:
        step = 1 if rest > 0 else -1
        candidates = [split for split in wanted if step > 0 or sizes[split] > 1]
        sizes[max(candidates, key=lambda name: step * (shares[name] - sizes[name]))] += step
    blocks = []
    start = 0
    for split in wanted:
        blocks.append(Block(start, start + sizes[split], split))
        start += sizes[split] + guard
    return tuple(blocks)


def _targets(settings: SplitSettings, wanted: Sequence[str], total: int) -> dict[str, float]:
    return {split: settings.ratios[split] * total for split in wanted}


def _shuffled(recordings: Mapping[str, int], seed: int) -> list[str]:
    """An order that depends on names and seed alone: not on the order given, the process, or the version of a random generator."""
    return sorted(recordings, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
