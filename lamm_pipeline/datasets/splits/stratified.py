"""Stratified splits: each class in the ratios of the splits, without frames that look alike in two of them.

Whole recordings are dealt out, or short blocks of frames, or single frames where that is asked for. Recordings and blocks that share
near-duplicates count as one. Where the split changes between two blocks of a recording, a guard gap is taken from the one whose split has
the larger share, unless their frames are farther apart anyway. Frames that such a gap may take do not tie blocks together; where those of
them that are not taken still look like a frame in another split, the ones of one split are left out as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lamm_pipeline.curation.near_duplicates import near_clusters, near_duplicates_across
from lamm_pipeline.datasets.settings import SplitSettings, StratifiedGroup
from lamm_pipeline.datasets.splits.balance import deal_frames, deal_groups
from lamm_pipeline.datasets.splits.split_frames import LOOK_ALIKE, NEWCOMER, NOWHERE, SPLITS, Codes, Places, SplitFrames
from lamm_pipeline.errors import InputError

BLOCKS = 30
GUARDS_A_BLOCK = 5
GUARDS_A_BLOCK_AT_MOST = 10


@dataclass(frozen=True)
class _Blocks:
    """Recordings cut into blocks.

    Attributes:
        units: `(N,)` block of each frame, ascending along each recording.
        guard: frames of a recording between blocks of different splits.
        to_next: `(N,)` how far each frame is from the next block of its recording, in frames of the recording.
        to_previous: `(N,)` how far from the one before.
    """

    units: Places
    guard: int
    to_next: Places
    to_previous: Places

    @property
    def margin(self) -> NDArray[np.bool_]:
        """`(N,)` whether a gap may take the frame."""
        return (self.to_next <= self.guard) | (self.to_previous <= self.guard)


@dataclass(frozen=True)
class Stratified:
    """A stratified split.

    Attributes:
        codes: `(N,)` split of each frame; `NOWHERE` or `LOOK_ALIKE` for those that were left out.
        group: what was kept together, never `auto`.
        guard_frames: frames of a recording between blocks of different splits, 0 without blocks.
    """

    codes: Codes
    group: StratifiedGroup
    guard_frames: int


def stratify(frames: SplitFrames, settings: SplitSettings, dataset: str, codes: Codes, new: NDArray[np.bool_]) -> Stratified:
    """Deal the frames whose place is not given.

    Args:
        frames: all frames.
        settings: group, ratios, seed, radius, guard.
        dataset: named in messages.
        codes: `(N,)` splits, `NEWCOMER` for those to be dealt; unless single frames are, the others of their recording are `LOOK_ALIKE`.
        new: `(N,)` frames that no previous split knows; those of recordings that it knows have their place already.

    Raises:
        InputError: too few groups for the splits.
    """
    ratios = np.array([settings.ratios[split] for split in SPLITS]) / sum(settings.ratios.values())
    group = settings.group
    if group is StratifiedGroup.auto:
        group = StratifiedGroup.recording if len(frames.recordings) >= len(SPLITS) else StratifiedGroup.block
    if group is StratifiedGroup.frame:
        kinds, counts = _kinds(frames)
        return Stratified(deal_frames(kinds, counts, ratios, frames.draws(settings.seed), codes), group, 0)
    blocks = _blocks(frames, settings, codes) if group is StratifiedGroup.block else None
    margin = np.zeros(len(frames), np.bool_) if blocks is None else blocks.margin & (codes == NEWCOMER)
    counted = (codes >= 0) | (codes == NEWCOMER)
    units = _with_given_places(frames, frames.recording if blocks is None else blocks.units, codes)
    groups = _linked(frames, units, ~margin & counted, settings.near_duplicate_radius)
    placed = _with_look_alikes(groups, codes)
    groups = np.unique(np.where(placed >= 0, placed.astype(np.int64) + len(frames), groups), return_inverse=True)[1]
    first = np.unique(groups[frames.order], return_index=True)[1]
    given = placed[frames.order][first]
    without = [split for code, split in enumerate(SPLITS) if ratios[code] > 0 and not (given == code).any()]
    if np.count_nonzero(given == NEWCOMER) < len(without):
        raise _too_few(frames, settings, dataset, group, given, without)
    counts, draws = _counts(frames, groups, counted), frames.draws(settings.seed)[frames.order][first]
    whole = np.where(placed == NEWCOMER, deal_groups(counts, ratios, draws, given)[groups], placed)
    found = whole if blocks is None else _with_gaps(frames, blocks, margin, whole, ratios)
    if blocks is not None:  # gaps take more from some splits than from others: dealt again, with shares that allow for it
        left = _sizes(found) / np.maximum(_sizes(whole), 1)
        allowing = np.where(left > 0, ratios / np.where(left > 0, left, 1), ratios)
        whole = np.where(placed == NEWCOMER, deal_groups(counts, allowing / allowing.sum(), draws, given)[groups], placed)
        found = _with_gaps(frames, blocks, margin, whole, ratios)
    droppable = margin if new.all() else margin | new
    if droppable.any():
        found = _without_look_alikes(frames, found, droppable, settings.near_duplicate_radius)
    return Stratified(found, group, 0 if blocks is None else blocks.guard)


def _kinds(frames: SplitFrames) -> tuple[Places, Places]:
    """Frames with the same classes: the kind of each frame, and what each kind has (`deal_frames`)."""
    owner, label = frames.classes_on
    words = len(frames.classes) // 64 + 1
    bits = np.zeros((words, len(frames)), np.uint64)
    np.bitwise_or.at(bits, (label // 64, owner), np.uint64(1) << (label % 64).astype(np.uint64))
    kinds = np.zeros(len(frames), np.int64)
    for word in bits:
        _, which = np.unique(word, return_inverse=True)
        _, kinds = np.unique(kinds * (int(which.max(initial=0)) + 1) + which, return_inverse=True)
    first = np.unique(kinds, return_index=True)[1]
    counts = np.zeros((len(first), len(frames.classes) + 2), np.int64)
    has = ((bits[:, first][:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).astype(np.int64)
    counts[:, : len(frames.classes)] = has.transpose(1, 0, 2).reshape(len(first), -1)[:, : len(frames.classes)]
    counts[:, -2] = counts[:, :-2].sum(axis=1) == 0
    counts[:, -1] = 1
    return kinds, counts


def _counts(frames: SplitFrames, groups: Places, counted: NDArray[np.bool_]) -> Places:
    """`(G, C + 2)` frames of each group by class, without any, and in all; only of frames that are counted."""
    owner, label = frames.classes_on
    number, columns = int(groups.max()) + 1, len(frames.classes) + 2
    empty = counted.copy()
    empty[owner] = False
    start, seen = groups * columns, counted[owner]
    cells = [start[owner[seen]] + label[seen], start[empty] + columns - 2, start[counted] + columns - 1]
    return np.bincount(np.concatenate(cells), minlength=number * columns).reshape(number, columns)


def _blocks(frames: SplitFrames, settings: SplitSettings, codes: Codes) -> _Blocks:
    """Cut recordings into blocks of about one length, in frames of the recording; each is longer than a gap."""
    recording, index = frames.recording[frames.order], frames.place[frames.order]
    stop = np.cumsum(frames.sizes)
    first = index[stop - frames.sizes]
    lengths = index[stop - 1] - first + 1
    total = int(lengths[np.unique(frames.recording[codes == NEWCOMER])].sum())
    guard = settings.guard_frames
    if settings.group is StratifiedGroup.auto:
        guard = max(1, min(guard, total // (BLOCKS * GUARDS_A_BLOCK)))
    length = min(max(GUARDS_A_BLOCK * guard, total // BLOCKS), GUARDS_A_BLOCK_AT_MOST * guard)
    cut = np.maximum(1, np.rint(lengths / length).astype(np.int64))
    block = (np.cumsum(cut) - cut)[recording] + (index - first[recording]) * cut[recording] // lengths[recording]
    begins = np.append(0, np.flatnonzero(np.diff(block)) + 1)
    unit = np.searchsorted(begins, np.arange(len(frames)), side="right") - 1
    borders = np.flatnonzero(np.diff(recording[begins]) == 0)  # units that are followed by one of the same recording
    far = np.iinfo(np.int64).max
    next_first, previous_last = np.full(len(begins), far), np.full(len(begins), far)
    next_first[borders], previous_last[borders + 1] = index[begins[borders + 1]], index[begins[borders + 1] - 1]
    units, to_next, to_previous = (np.empty(len(frames), np.int64) for _ in range(3))
    units[frames.order] = unit
    to_next[frames.order] = next_first[unit] - index
    to_previous[frames.order] = np.where(previous_last[unit] < far, index - previous_last[unit], far)
    return _Blocks(units, guard, to_next, to_previous)


def _with_given_places(frames: SplitFrames, units: Places, codes: Codes) -> Places:
    """Recordings whose frames have places already are not cut anew: a unit for each of their splits, and for those in none."""
    given = np.zeros(len(frames.recordings), np.bool_)
    given[frames.recording[codes != NEWCOMER]] = True
    named = frames.recording * (len(SPLITS) - LOOK_ALIKE) + codes - LOOK_ALIKE
    return np.where(given[frames.recording], int(units.max()) + 1 + named, units)


def _linked(frames: SplitFrames, units: Places, counted: NDArray[np.bool_], radius: int) -> Places:
    """`(N,)` group of each frame: units that share near-duplicates, and those that are linked through others, are one."""
    _, units = np.unique(units, return_inverse=True)
    number = int(units.max()) + 1
    seen = np.flatnonzero(frames.hashed & counted)
    clusters = near_clusters(frames.image_hash[seen], radius) + number
    size = int(clusters.max(initial=number)) + 1
    edges = coo_array((np.ones(len(seen), np.int8), (units[seen], clusters)), shape=(size, size))
    linked = connected_components(edges, directed=False)[1][:number]
    return np.asarray(np.unique(linked, return_inverse=True)[1][units], np.int64)


def _with_look_alikes(groups: Places, codes: Codes) -> Codes:
    """The codes; frames whose group has frames in a split go there too, to the one with most of them."""
    number = int(groups.max()) + 1
    there = codes >= 0
    held = np.bincount(groups[there] * len(SPLITS) + codes[there], minlength=number * len(SPLITS)).reshape(number, len(SPLITS))
    given = np.where(held.any(axis=1), held.argmax(axis=1), NEWCOMER).astype(np.int8)
    return np.where(codes == NEWCOMER, given[groups], codes)


def _with_gaps(frames: SplitFrames, blocks: _Blocks, margin: NDArray[np.bool_], whole: Codes, ratios: NDArray[np.float64]) -> Codes:
    """The codes less what guard gaps take: of two blocks that touch, from the one whose split has the larger share."""
    unit, code, outer = blocks.units[frames.order], whole[frames.order], margin[frames.order]
    edges = np.flatnonzero((np.diff(unit) != 0) & (np.diff(code) != 0) & outer[:-1] & outer[1:])
    earlier = ratios[code[edges]] >= ratios[code[edges + 1]]
    from_end, from_start = (np.zeros(int(unit[-1]) + 1, np.bool_) for _ in range(2))
    from_end[unit[edges[earlier]]] = True
    from_start[unit[edges[~earlier] + 1]] = True
    at_end, at_start = blocks.to_next <= blocks.guard, blocks.to_previous <= blocks.guard
    return np.where(margin & ((from_end[blocks.units] & at_end) | (from_start[blocks.units] & at_start)), np.int8(NOWHERE), whole)


def _without_look_alikes(frames: SplitFrames, codes: Codes, droppable: NDArray[np.bool_], radius: int) -> Codes:
    """The codes less frames that may be left out and look like one in another split.

    Where two splits look alike, those of the split go that loses the smaller part of its frames.
    """
    found, sizes = codes.copy(), np.maximum(_sizes(codes), 1)
    alike = np.flatnonzero(frames.hashed)
    while True:
        alike = alike[near_duplicates_across(frames.image_hash[alike], found[alike], radius)[:, 0]]
        going = alike[droppable[alike]]
        lost = np.bincount(found[going], minlength=len(SPLITS)) / sizes
        if not lost.any():
            return found
        found[going[found[going] == np.argmin(np.where(lost > 0, lost, np.inf))]] = LOOK_ALIKE


def _sizes(codes: Codes) -> Places:
    return np.bincount(codes[codes >= 0], minlength=len(SPLITS))


def _too_few(
    frames: SplitFrames, settings: SplitSettings, dataset: str, group: StratifiedGroup, given: Codes, without: Sequence[str]
) -> InputError:
    what = "recordings" if group is StratifiedGroup.recording else "blocks of frames"
    there = " beside the frames of the version before, which keep their places" if (given >= 0).any() else ""
    return InputError(
        f"Dataset {dataset!r} has {len(frames.recordings)} recordings, and its {what} make {np.count_nonzero(given == NEWCOMER)} groups "
        f"without near-duplicates of each other (within {settings.near_duplicate_radius} of 64 bits){there}, too few to give each of "
        f"{', '.join(without)} one. Add recordings, set the split's strategy to blocks, its group to block or frame, "
        f"{'divide all frames anew (resplit), ' if there else ''}or lower near_duplicate_radius or guard_frames."
    )
