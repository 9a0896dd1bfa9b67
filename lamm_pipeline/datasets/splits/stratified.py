"""Stratified splits: each class in the ratios of the splits, without frames that look alike in two of them.

Whole recordings are dealt out, or short blocks of frames, or single frames where that is asked for. Recordings and blocks that share
near-duplicates count as one. Where the split changes between two blocks of a recording, a guard gap is taken from the one whose split has
the larger share. Frames that such a gap may take do not tie blocks together; those of them that are not taken, and still look like a frame
in another split, are left out as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lamm_pipeline.curation.near_duplicates import near_clusters, near_duplicates_across
from lamm_pipeline.datasets.settings import SplitSettings, StratifiedGroup
from lamm_pipeline.datasets.splits.balance import deal_frames, deal_groups
from lamm_pipeline.datasets.splits.split_frames import NEWCOMER, NOWHERE, SPLITS, Codes, Places, SplitFrames
from lamm_pipeline.errors import InputError

BLOCKS = 30
GUARDS_A_BLOCK = 5
GUARDS_A_BLOCK_AT_MOST = 10


@dataclass(frozen=True)
class Stratified:
    """A stratified split.

    Attributes:
        codes: `(N,)` split of each frame.
        look_alikes: `(N,)` frames that are in no split because they look like a frame in another one.
        group: what was kept together, never `auto`.
        guard_frames: the gap between blocks of different splits, 0 without blocks.
    """

    codes: Codes
    look_alikes: NDArray[np.bool_]
    group: StratifiedGroup
    guard_frames: int


def stratify(frames: SplitFrames, settings: SplitSettings, dataset: str, codes: Codes, new: NDArray[np.bool_]) -> Stratified:
    """Deal the frames whose place is not given.

    Args:
        frames: all frames.
        settings: group, ratios, seed, radius, guard.
        dataset: named in messages.
        codes: `(N,)` splits, `NEWCOMER` for those to be dealt; unless single frames are, a recording has none or only such.
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
        placed = deal_frames(kinds, counts, ratios, frames.draws(settings.seed), codes)
        return Stratified(placed, np.zeros(len(frames), np.bool_), group, 0)
    units, margin, guard = frames.recording, np.zeros(len(frames), np.bool_), 0
    if group is StratifiedGroup.block:
        units, margin, guard = _blocks(frames, settings, codes)
    units = _with_given_places(frames, units, codes)
    groups = _linked(frames, units, ~margin & (codes != NOWHERE), settings.near_duplicate_radius)
    placed = _with_look_alikes(groups, codes)
    groups = np.unique(np.where(placed >= 0, placed.astype(np.int64) + len(frames), groups), return_inverse=True)[1]
    first = np.unique(groups[frames.order], return_index=True)[1]
    given = placed[frames.order][first]
    if np.count_nonzero(given == NEWCOMER) + np.count_nonzero(given >= 0) < np.count_nonzero(ratios):
        raise _too_few(frames, settings, dataset, group, len(given))
    counts, draws = _counts(frames, groups, codes != NOWHERE), frames.draws(settings.seed)[frames.order][first]
    whole = np.where(placed == NEWCOMER, deal_groups(counts, ratios, draws, given)[groups], placed)
    found = _with_gaps(frames, units, margin, whole, ratios, guard)
    if guard:  # gaps take more from some splits than from others: dealt again, with shares that allow for it
        left = _sizes(found) / np.maximum(_sizes(whole), 1)
        allowing = np.where(left > 0, ratios / np.where(left > 0, left, 1), ratios)
        whole = np.where(placed == NEWCOMER, deal_groups(counts, allowing / allowing.sum(), draws, given)[groups], placed)
        found = _with_gaps(frames, units, margin, whole, ratios, guard)
    look_alikes = np.zeros(len(frames), np.bool_)
    droppable = margin | new if not new.all() else margin
    if droppable.any():
        hashed = np.flatnonzero(frames.hashed)
        across = near_duplicates_across(frames.image_hash[hashed], found[hashed], settings.near_duplicate_radius)
        look_alikes[hashed[across[:, 0]]] = True
        look_alikes &= droppable
        found[look_alikes] = NOWHERE
    return Stratified(found, look_alikes, group, guard)


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


def _blocks(frames: SplitFrames, settings: SplitSettings, codes: Codes) -> tuple[Places, NDArray[np.bool_], int]:
    """Cut recordings into blocks of about one length.

    Returns:
        `(N,)` block of each frame, ascending along each recording; `(N,)` whether a gap may take the frame; and the gap.
    """
    count = int(np.count_nonzero(codes == NEWCOMER))
    guard = settings.guard_frames
    if settings.group is StratifiedGroup.auto:
        guard = max(1, min(guard, count // (BLOCKS * GUARDS_A_BLOCK)))
    length = min(max(GUARDS_A_BLOCK * guard, count // BLOCKS), GUARDS_A_BLOCK_AT_MOST * guard)
    sizes = frames.sizes
    cut = np.maximum(1, np.rint(sizes / length).astype(np.int64))
    start, recording = np.cumsum(sizes) - sizes, frames.recording[frames.order]
    position = np.arange(len(frames)) - start[recording]
    block = position * cut[recording] // sizes[recording]
    before = position - _first(block, sizes[recording], cut[recording])
    after = _first(block + 1, sizes[recording], cut[recording]) - position - 1
    units, margin = np.empty(len(frames), np.int64), np.empty(len(frames), np.bool_)
    units[frames.order] = (np.cumsum(cut) - cut)[recording] + block
    margin[frames.order] = ((before < guard) & (block > 0)) | ((after < guard) & (block < cut[recording] - 1))
    return units, margin, guard


def _first(block: Places, size: Places, cut: Places) -> Places:
    """Position of the first frame of a block, where position * cut // size is the block."""
    return (block * size + cut - 1) // cut


def _with_given_places(frames: SplitFrames, units: Places, codes: Codes) -> Places:
    """Recordings whose frames have places already are not cut anew: a unit for each of their splits."""
    given = np.zeros(len(frames.recordings), np.bool_)
    given[frames.recording[codes != NEWCOMER]] = True
    named = frames.recording * (len(SPLITS) + 1) + np.maximum(codes, NOWHERE) + 1
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


def _with_gaps(
    frames: SplitFrames, units: Places, margin: NDArray[np.bool_], whole: Codes, ratios: NDArray[np.float64], guard: int
) -> Codes:
    """The codes less what guard gaps take: of two blocks that touch, from the one whose split has the larger share."""
    block, code, outer = units[frames.order], whole[frames.order], margin[frames.order]
    edges = np.flatnonzero((np.diff(block) != 0) & (np.diff(code) != 0) & outer[:-1] & outer[1:])
    before = ratios[code[edges]] >= ratios[code[edges + 1]]
    taken = np.where(before, edges - guard, edges)[:, None] + np.arange(1, guard + 1)
    found = whole.copy()
    found[frames.order[taken.ravel()]] = NOWHERE
    return found


def _sizes(codes: Codes) -> Places:
    return np.bincount(codes[codes >= 0], minlength=len(SPLITS))


def _too_few(frames: SplitFrames, settings: SplitSettings, dataset: str, group: StratifiedGroup, groups: int) -> InputError:
    what = "recordings" if group is StratifiedGroup.recording else "blocks of frames"
    wanted = ", ".join(split for split in SPLITS if settings.ratios[split] > 0)
    return InputError(
        f"Dataset {dataset!r} has {len(frames.recordings)} recordings, and its {what} make {groups} groups without near-duplicates of each "
        f"other (within {settings.near_duplicate_radius} of 64 bits), too few to give each of {wanted} one. Add recordings, set the "
        "split's strategy to blocks, its group to block or frame, or lower near_duplicate_radius or guard_frames."
    )
