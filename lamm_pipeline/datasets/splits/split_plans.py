"""Which frame goes into which split: pure functions of the frames' recordings, classes and hashes, of ratios and a seed.

Neighbouring frames of a recording look alike, so a split never cuts between neighbours unless it is asked to (`random`, or `stratified` by
frames): whole recordings are dealt out, or a recording is cut into contiguous blocks with a gap between them that belongs to no split. A
gap is so many of the frames that were extracted, whether they were kept or not: kept frames that are farther apart need none left out.

Given a previous split, every frame of it stays where it is, and frames that it put nowhere stay there. New frames of a recording that it
knows go where the nearest known frame of that recording is, unless that was left out for its looks, or nowhere where a gap is to be; the
others are placed by what the splits then lack of their shares of all. No split with a share is left empty.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.datasets.settings import BalanceBy, SplitSettings, SplitStrategy, StratifiedGroup
from lamm_pipeline.datasets.splits.balance import deal_frames
from lamm_pipeline.datasets.splits.recording_plans import Block, cut_recording, cut_row, deal_recordings, shuffled, widest_cut
from lamm_pipeline.datasets.splits.split_frames import LOOK_ALIKE, NEWCOMER, NOWHERE, SPLITS, Codes, Places, SplitFrames
from lamm_pipeline.datasets.splits.stratified import stratify
from lamm_pipeline.errors import InputError


@dataclass(frozen=True)
class SplitPlan:
    """Where every frame goes.

    Attributes:
        strategy: the one that was used, never `auto`.
        codes: `(N,)` place of each frame's split in `SPLITS`; `NOWHERE` or `LOOK_ALIKE` for those in none.
        group: what a stratified split kept together, None for other strategies.
        guard_frames: for each recording that was cut, the frames of it that lie at least between two splits.
        notes: sentences for people.
        kept: frames that are where the previous split had them.
        placed: frames that the previous split does not know; all of them where there is none.
    """

    strategy: SplitStrategy
    codes: Codes
    group: StratifiedGroup | None = None
    guard_frames: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kept: int = 0
    placed: int = 0


def plan_splits(frames: SplitFrames, settings: SplitSettings, dataset: str, previous: Codes | None = None) -> SplitPlan:
    """Plan a split. The same frames, settings and seed give the same plan, whatever the order of the frames.

    Args:
        frames: the selected frames.
        settings: strategy, ratios, seed, guard.
        dataset: named in messages.
        previous: `(N,)` places in the previous split, `NEWCOMER` for frames that it does not know; None where there is no such split.

    Raises:
        InputError: there are too few recordings, or too few frames in them.
    """
    codes = np.full(len(frames), NEWCOMER, np.int8) if previous is None else previous
    new = codes == NEWCOMER
    strategy = _strategy(frames, settings, dataset, codes)
    if strategy is SplitStrategy.random:
        ratios = np.array([settings.ratios[split] for split in SPLITS]) / sum(settings.ratios.values())
        nothing = np.zeros(len(frames), np.int64)
        plan = SplitPlan(strategy, deal_frames(nothing, np.ones((1, 1), np.int64), ratios, frames.draws(settings.seed), codes))
    elif strategy is SplitStrategy.stratified and settings.group is StratifiedGroup.frame:
        plan = SplitPlan(strategy, stratify(frames, settings, dataset, codes, new).codes, settings.group)
    else:
        codes = _with_their_neighbours(frames, codes, settings.guard_frames)
        plan = _WHOLE[strategy](frames, settings, dataset, codes, new)
        planned = plan.guard_frames
        known = {name: gap for name, gap in _gaps(frames, plan.codes, settings.guard_frames).items() if name not in planned}
        plan = replace(plan, guard_frames=dict(sorted((known | dict(planned)).items())))
    left_out = [split for split in _wanted(settings) if not (plan.codes == SPLITS.index(split)).any()]
    if left_out:
        raise InputError(
            f"Of the {np.count_nonzero(new)} frames that dataset {dataset!r} has to divide, none is left for {' and '.join(left_out)}. "
            f"Add recordings, {'' if new.all() else _ANEW}lower guard_frames or near_duplicate_radius, or set a ratio to 0."
        )
    return replace(plan, kept=int(np.count_nonzero(~new)), placed=int(np.count_nonzero(new)))


def _strategy(frames: SplitFrames, settings: SplitSettings, dataset: str, codes: Codes) -> SplitStrategy:
    """The strategy to use; `InputError` where it is one of whole recordings and there are too few."""
    wanted = _wanted(settings)
    without = [split for split in wanted if not (codes == SPLITS.index(split)).any()]
    fresh = len(np.unique(frames.recording)) - len(np.unique(frames.recording[codes != NEWCOMER]))
    enough = fresh >= len(without)
    if settings.strategy is SplitStrategy.auto:
        return SplitStrategy.recording if enough and len(frames.recordings) >= len(wanted) else SplitStrategy.blocks
    if settings.strategy in {SplitStrategy.recording, SplitStrategy.temporal} and not enough:
        if len(without) < len(wanted):
            raise InputError(
                f"Frames of dataset {dataset!r} keep the places that they had in the version before, which leaves {' and '.join(without)} "
                f"without any, and it has only {fresh} new recordings. Add recordings, {_ANEW}or set a ratio to 0."
            )
        raise InputError(
            f"Dataset {dataset!r} has {len(frames.recordings)} recordings with selected frames, too few to give each of "
            f"{', '.join(wanted)} one of its own. Add recordings, set the split's strategy to blocks or auto, or set a ratio to 0."
        )
    return settings.strategy


def _deal_recordings(frames: SplitFrames, settings: SplitSettings, _: str, codes: Codes, __: NDArray[np.bool_]) -> SplitPlan:
    sizes, lacking, without = _to_be_placed(frames, settings, codes)
    return SplitPlan(SplitStrategy.recording, _whole(frames, codes, deal_recordings(sizes, lacking, without, settings.seed)))


def _in_time(frames: SplitFrames, settings: SplitSettings, _: str, codes: Codes, new: NDArray[np.bool_]) -> SplitPlan:
    """Recordings in the order of their first stamps, then of their names; those without any come last."""
    sizes, lacking, without = _to_be_placed(frames, settings, codes)
    stamps = dict(zip(frames.recordings, frames.first_stamps, strict=True))
    order = sorted(frames.recordings, key=lambda name: (stamps[name] is None, stamps[name] or 0, name))
    wanted = _wanted(settings)
    notes = []
    undated = [name for name in order if stamps[name] is None]
    if undated:
        notes.append(f"{len(undated)} recordings have no stamps; they count as the latest, in the order of their names.")
    if new.all():
        cuts = cut_row(np.cumsum([sizes[name] for name in order]), [settings.ratios[split] for split in wanted])
        placed = {name: wanted[int(np.searchsorted(cuts, place, side="right"))] for place, name in enumerate(order)}
        return SplitPlan(SplitStrategy.temporal, _whole(frames, codes, placed), notes=tuple(notes))
    inside, number = codes >= 0, len(SPLITS)
    cells = np.bincount(frames.recording[inside] * number + codes[inside], minlength=len(frames.recordings) * number).reshape(-1, number)
    known = {name: {SPLITS[code] for code in np.flatnonzero(row)} for name, row in zip(frames.recordings, cells, strict=True)}
    placed = {}
    for number, name in enumerate(order):
        if name not in sizes:
            continue
        earliest = max((wanted.index(split) for each in order[:number] for split in known[each] if split in wanted), default=0)
        latest = min((wanted.index(split) for each in order[number:] for split in known[each] if split in wanted), default=len(wanted) - 1)
        choices = wanted[earliest : latest + 1] or wanted
        choices = [split for split in choices if split in without] or choices
        placed[name] = split = max(choices, key=lambda each: lacking[each])
        known[name] = {split}
        lacking[split] -= sizes[name]
        without = [each for each in without if each != split]
    if placed:
        notes.append(
            "New recordings are placed where no split gets older than one before it, which can move the ratios; a split anew has them."
        )
    return SplitPlan(SplitStrategy.temporal, _whole(frames, codes, placed), notes=tuple(notes))


def _stratify(frames: SplitFrames, settings: SplitSettings, dataset: str, codes: Codes, new: NDArray[np.bool_]) -> SplitPlan:
    found = stratify(frames, settings, dataset, codes, new)
    notes = []
    guards = {}
    if found.guard_frames:
        dealt = {frames.recordings[number] for number in np.unique(frames.recording[codes == NEWCOMER])}
        guards = {name: found.guard_frames for name in _gaps(frames, found.codes, found.guard_frames) if name in dealt}
        if found.guard_frames < settings.guard_frames:
            notes.append(
                f"The recordings are short, so the gaps between blocks are {found.guard_frames} frames instead of "
                f"{settings.guard_frames}: the splits are less independent."
            )
    return SplitPlan(SplitStrategy.stratified, found.codes, found.group, guards, tuple(notes))


def _to_be_placed(frames: SplitFrames, settings: SplitSettings, codes: Codes) -> tuple[dict[str, int], dict[str, float], list[str]]:
    """Sizes of the recordings that have no place, what each wanted split lacks, and the splits that have nothing yet."""
    held: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    one_each = settings.balance_by is BalanceBy.recordings
    columns = np.where(codes == NEWCOMER, len(SPLITS), codes)
    number = len(SPLITS) + 1
    cells = (frames.recording * number + columns)[columns >= 0]
    counts = np.bincount(cells, minlength=len(frames.recordings) * number).reshape(-1, number).tolist()
    for name, (*there, fresh) in zip(frames.recordings, counts, strict=True):
        if fresh:
            sizes[name] = 1 if one_each else fresh
        elif one_each:
            held[SPLITS[there.index(max(there))]] += any(there)
        else:
            held.update(dict(zip(SPLITS, there, strict=True)))
    wanted = _wanted(settings)
    targets = _targets(settings, wanted, sum(sizes.values()) + sum(held.values()))
    return sizes, {split: targets[split] - held[split] for split in wanted}, [split for split in wanted if not held[split]]


def _cut_blocks(frames: SplitFrames, settings: SplitSettings, dataset: str, codes: Codes, new: NDArray[np.bool_]) -> SplitPlan:
    wanted = _wanted(settings)
    shares = {split: settings.ratios[split] for split in wanted}
    fresh = frames.order[codes[frames.order] == NEWCOMER]
    numbers, starts = np.unique(frames.recording[fresh], return_index=True)
    dealt = dict(zip([frames.recordings[number] for number in numbers], np.split(fresh, starts[1:]), strict=True)) if len(fresh) else {}
    counts = {recording: len(rows) for recording, rows in dealt.items()}
    held = Counter({split: int(np.count_nonzero(codes == SPLITS.index(split))) for split in wanted})
    blocks: dict[str, tuple[Block, ...]] = {}
    guards: dict[str, int] = {}
    notes: list[str] = []
    for recording, rows in dealt.items():
        guard, places = settings.guard_frames, frames.place[rows]
        if settings.strategy is SplitStrategy.auto:
            cut, guard = widest_cut(places, shares, guard)
        else:
            cut = cut_recording(places, shares, guard)
        if not cut:
            continue
        blocks[recording] = cut
        guards[recording] = guard
        if guard < settings.guard_frames:
            notes.append(
                f"Recording {recording!r} has only {len(rows)} selected frames, so the gap between its blocks is {guard} frames of it "
                f"instead of {settings.guard_frames}, which would take more than half of them: its splits are less independent."
            )
    if not blocks and not all(held[split] for split in wanted):
        raise InputError(
            f"No recording of dataset {dataset!r} can be cut into blocks for {', '.join(wanted)} with gaps of {settings.guard_frames} "
            f"frames: the longest has {max(counts.values(), default=0)} selected frames. Add recordings, "
            f"{'' if new.all() else _ANEW}lower guard_frames, or set a ratio to 0."
        )
    _place_short_recordings(counts, blocks, held, settings, notes)
    found = np.where(codes == NEWCOMER, np.int8(NOWHERE), codes)
    for recording, cut in blocks.items():
        for block in cut:
            found[dealt[recording][block.start : block.stop]] = SPLITS.index(block.split)
    return SplitPlan(SplitStrategy.blocks, found, guard_frames=guards, notes=tuple(notes))


def _place_short_recordings(
    counts: Mapping[str, int], blocks: dict[str, tuple[Block, ...]], held: Counter[str], settings: SplitSettings, notes: list[str]
) -> None:
    """Recordings too short to be cut go as a whole to the split that lacks most."""
    short = {recording: count for recording, count in counts.items() if recording not in blocks}
    held = held.copy()
    for cut in blocks.values():
        held.update({block.split: block.frames for block in cut})
    wanted = _wanted(settings)
    lacking = _targets(settings, wanted, sum(held.values()) + sum(short.values()))
    for split in wanted:
        lacking[split] -= held[split]
    for recording in shuffled(short, settings.seed):
        split = max(wanted, key=lambda name: lacking[name])
        lacking[split] -= short[recording]
        blocks[recording] = (Block(0, short[recording], split),)
        notes.append(f"Recording {recording!r} is too short to be cut ({short[recording]} selected frames); all of it is in {split}.")


def _with_their_neighbours(frames: SplitFrames, codes: Codes, guard: int) -> Codes:
    """New frames of a recording that has known ones go where the nearest of these is, the one before of two that are as near.

    Those that would narrow the gap to another split go nowhere, where the known frames keep a gap. What a known frame looks like says
    nothing of its neighbours.
    """
    order, row = frames.order, np.arange(len(frames))
    known = codes[order] != NEWCOMER
    guiding = known & (codes[order] != LOOK_ALIKE)
    before = np.maximum.accumulate(np.where(guiding, row, -1))
    after = np.minimum.accumulate(np.where(guiding, row, len(row))[::-1])[::-1]
    recording, index = np.append(frames.recording[order], -1), np.append(frames.frame_index[order], 0)
    far = np.iinfo(np.int64).max
    to_before = np.where(recording[before] == recording[:-1], index[:-1] - index[before], far)
    to_after = np.where(recording[after] == recording[:-1], index[after] - index[:-1], far)
    nearest = np.where(to_before <= to_after, before, after)
    placed = np.where(np.minimum(to_before, to_after) < far, np.append(codes[order], NEWCOMER)[nearest], NEWCOMER)
    placed = np.where(known, codes[order], placed)
    gaps = _gaps(frames, codes, guard)
    required = np.array([gaps.get(name, 0) for name in frames.recordings], np.int64)[frames.recording[order]]
    found = codes.copy()
    found[order] = np.where(_in_a_gap(frames, placed, known, required) & ~known, NOWHERE, placed)
    return found


def _in_a_gap(frames: SplitFrames, placed: Codes, known: NDArray[np.bool_], required: Places) -> NDArray[np.bool_]:
    """Which frames are so near to another split that they would narrow the gap: to any frame ahead of them, or to a known one behind.

    Of two new frames that are too near to each other the earlier one is meant. All is in the order of `frames.order`.
    """
    recording, index = frames.recording[frames.order], frames.place[frames.order]
    inside = np.flatnonzero(placed >= 0)
    begins = inside[np.flatnonzero((np.diff(placed[inside]) != 0) | (np.diff(recording[inside]) != 0)) + 1]
    ahead = np.append(begins, -1)[np.searchsorted(begins, np.arange(len(placed)), side="right")]
    behind = np.maximum.accumulate(np.where(known & (placed >= 0), np.arange(len(placed)), -1))
    too_near = np.zeros(len(placed), np.bool_)
    for other in (ahead, behind):
        another = (other >= 0) & (placed >= 0) & (placed[other] != placed) & (recording[other] == recording)
        too_near |= another & (np.abs(index[other] - index) <= required)
    return too_near


def _gaps(frames: SplitFrames, codes: Codes, guard: int) -> dict[str, int]:
    """The smallest number of frames of the recording between two splits, from 1 to `guard`, of each recording that is in more than one."""
    inside = np.flatnonzero(codes[frames.order] >= 0)
    code, recording, index = (column[frames.order][inside] for column in (codes, frames.recording, frames.place))
    change = np.flatnonzero((np.diff(code) != 0) & (np.diff(recording) == 0))
    smallest = np.full(len(frames.recordings), guard, np.int64)
    np.minimum.at(smallest, recording[change], np.maximum(np.diff(index)[change] - 1, 1))
    return {frames.recordings[number]: int(smallest[number]) for number in np.unique(recording[change]).tolist()}


def _whole(frames: SplitFrames, codes: Codes, placed: Mapping[str, str]) -> Codes:
    """The codes, and those of recordings that go to one split as a whole."""
    there = np.array([SPLITS.index(placed[name]) if name in placed else NOWHERE for name in frames.recordings], np.int8)
    return np.where(codes == NEWCOMER, there[frames.recording], codes)


def _wanted(settings: SplitSettings) -> list[str]:
    return [split for split in SPLITS if settings.ratios[split] > 0]


def _targets(settings: SplitSettings, wanted: Sequence[str], total: int) -> dict[str, float]:
    return {split: settings.ratios[split] * total for split in wanted}


_ANEW = "divide all frames anew (resplit), "
_WHOLE = {
    SplitStrategy.recording: _deal_recordings,
    SplitStrategy.temporal: _in_time,
    SplitStrategy.blocks: _cut_blocks,
    SplitStrategy.stratified: _stratify,
}
