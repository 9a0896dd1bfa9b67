"""Dealing groups of frames to splits so that each split gets its share of the frames and of every class.

Groups are dealt in the order of what is hardest to share out: those with much of a rare class, or many frames, first. Each goes to the
split that lacks most of what it has (after Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-label Data, ECML 2011, with groups
in place of single samples). Then groups are exchanged between splits as long as that brings them closer to their shares.

What is made small is the sum of the squared deviations, each as a share of its class. All of it is counted in whole numbers below 2^53,
which floats hold exactly: the outcome is the same on every machine.
"""

import math

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.datasets.splits.split_frames import NEWCOMER, Codes, Places

CANDIDATES = 400
SPARE = 2
ROUNDS = 600

Numbers = NDArray[np.float64]
"""Whole numbers, as floats for the sake of fast products."""


def deal_groups(counts: Places, ratios: NDArray[np.float64], draws: NDArray[np.uint64], codes: Codes) -> Codes:
    """Deal groups to splits.

    Args:
        counts: `(G, C)` how many frames of each class a group has; in the last column, how many frames.
        ratios: `(S,)` share of each split, 0 for those that get nothing.
        draws: `(G,)` random numbers, which decide between equals.
        codes: `(G,)` split of groups whose place is given, `NEWCOMER` for those to be dealt.

    Returns:
        `(G,)` split of every group. No split with a share is left without a group where there are enough of them.
    """
    totals = counts.sum(axis=0)
    held = np.stack([counts[codes == split].sum(axis=0) for split in range(len(ratios))])
    scale = _scale(totals)
    values, lacking = (counts * scale).astype(np.float64), ((_targets(totals, ratios) - held) * scale).astype(np.float64)
    placed = codes.copy()
    wanted = np.flatnonzero(ratios > 0)
    without = [split for split in wanted.tolist() if not (codes == split).any()]
    dealt = np.flatnonzero(codes == NEWCOMER)
    order = dealt[np.lexsort((draws[dealt], -np.frexp(values[dealt].sum(axis=1))[1]))]  # those that differ by less than 2 are alike
    squares = (values**2).sum(axis=1)
    for number, group in enumerate(order.tolist()):
        choices = without if len(order) - number <= len(without) else wanted
        gain = (2 * (lacking[choices] @ values[group]) - squares[group]) / ratios[choices]  # each split fills at the rate of its share
        split = int(choices[int(np.argmax(gain))])
        placed[group] = split
        lacking[split] -= values[group]
        if split in without:
            without.remove(split)
    _exchange(values, lacking, placed, dealt[np.argsort(draws[dealt], kind="stable")], wanted, moves=True)
    return placed


def deal_frames(kinds: Places, counts: Places, ratios: NDArray[np.float64], draws: NDArray[np.uint64], codes: Codes) -> Codes:
    """Deal single frames, so that each split gets exactly its number of them.

    Frames with the same classes are as good as each other: each split gets its share of every kind, rounded down, and only the few that are
    left over are dealt one by one.

    Args:
        kinds: `(N,)` place of each frame's kind.
        counts: `(K, C)` classes of each kind; 1 in the last column.
        ratios: `(S,)` share of each split.
        draws: `(N,)` random numbers, which decide between frames of one kind.
        codes: `(N,)` split of frames whose place is given, `NEWCOMER` for those to be dealt; others take no part.

    Returns:
        `(N,)` split of every frame. No split with a share is left without a frame where there are enough of them.
    """
    splits, dealt = len(ratios), np.flatnonzero(codes == NEWCOMER)
    there = np.bincount(kinds[codes >= 0] * splits + codes[codes >= 0], minlength=len(counts) * splits).reshape(-1, splits)
    coming = np.bincount(kinds[dealt], minlength=len(counts))
    number = coming + there.sum(axis=1)
    shares = _shares(ratios, number, there, coming)
    quota = np.maximum(np.floor(shares + 1e-9).astype(np.int64) - SPARE, 0)
    room = _rounded(_shares(ratios, np.array([len(dealt) + there.sum()]), there.sum(axis=0)[None], np.array([len(dealt)]))[0])
    for split in np.flatnonzero((ratios > 0) & (there.sum(axis=0) + room == 0)).tolist():
        if room.max() > 1:
            room[np.argmax(room)] -= 1
            room[split] += 1
    room -= quota.sum(axis=0)
    left = np.repeat(np.arange(len(counts)), coming - quota.sum(axis=1))
    totals = number @ counts
    values = (counts * _scale(totals)).astype(np.float64)
    lacking = ((_targets(totals, ratios) - (there + quota).T @ counts) * _scale(totals)).astype(np.float64)
    extra = np.empty(len(left), np.int8)
    for place in np.argsort(-values[left].sum(axis=1), kind="stable").tolist():
        open_to = np.flatnonzero(room > 0)
        extra[place] = split = int(open_to[np.argmax(lacking[open_to] @ values[left[place]])])
        room[split] -= 1
        lacking[split] -= values[left[place]]
    _exchange(values[left], lacking, extra, np.arange(len(left)), np.flatnonzero(ratios > 0), moves=False)
    np.add.at(quota, (left, extra), 1)
    placed = codes.copy()
    order = dealt[np.lexsort((draws[dealt], kinds[dealt]))]
    placed[order] = np.repeat(np.tile(np.arange(splits), len(counts)), quota.ravel())
    return placed


def _targets(totals: Places, ratios: NDArray[np.float64]) -> Places:
    """`(S, C)` how many frames of each class each split is to have, in whole frames."""
    return np.stack([_rounded(total * ratios) for total in totals.tolist()], axis=1)


def _scale(totals: Places) -> Places:
    """By what a class's counts are multiplied to weigh about as much as any other's, so that squares and their sums stay below 2^53."""
    whole = 2 ** ((50 - math.ceil(math.log2(max(len(totals), 2)))) // 2)
    return np.asarray(np.maximum(whole // np.maximum(totals, 1), 1))


def _shares(ratios: NDArray[np.float64], union: Places, there: Places, coming: Places) -> NDArray[np.float64]:
    """What each split gets of those that come, `(K, S)`: in proportion to what it lacks of its share of the union."""
    lacking = np.maximum(union[:, None] * ratios - there, 0.0)
    total = lacking.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, lacking / np.where(total > 0, total, 1), ratios) * coming[:, None])


def _rounded(shares: NDArray[np.float64]) -> Places:
    """Whole numbers with the same sum; the largest remainders are rounded up."""
    whole = np.floor(shares + 1e-9).astype(np.int64)
    short = round(float(shares.sum())) - int(whole.sum())
    whole[np.argsort(whole - shares, kind="stable")[:short]] += 1
    return whole


def _exchange(values: Numbers, lacking: Numbers, placed: Codes, movable: Places, wanted: Places, *, moves: bool) -> None:
    """Exchange groups between splits while that helps; changes `placed` and `lacking`.

    Of the groups of each split some are compared with some of each other split in every round, all with all; others have their turn in the
    next. A group may also be exchanged for nothing (`moves`), but never the only one of its split.
    """
    pairs = [(one, other) for place, one in enumerate(wanted.tolist()) for other in wanted[place + 1 :].tolist()]
    nothing = np.zeros((1 if moves else 0, values.shape[1]))
    idle = 0
    turns = max((math.ceil(np.count_nonzero(placed[movable] == split) / CANDIDATES) for split in wanted.tolist()), default=0)
    for turn in range(ROUNDS + turns if len(movable) else 0):
        improved = False
        for one, other in pairs:
            mine, theirs = (_some(movable[placed[movable] == split], turn) for split in (one, other))
            here, there = np.concatenate([values[mine], nothing]), np.concatenate([values[theirs], nothing])
            pull = lacking[one] - lacking[other]
            gain = (there @ pull - (there**2).sum(axis=1))[None] - (here @ pull + (here**2).sum(axis=1))[:, None] + 2 * here @ there.T
            if moves:
                gain[:, -1] = np.where(np.count_nonzero(placed == one) > 1, gain[:, -1], -np.inf)
                gain[-1, :] = np.where(np.count_nonzero(placed == other) > 1, gain[-1, :], -np.inf)
            if gain.size == 0 or gain.max() <= 0:
                continue
            row, column = np.unravel_index(int(np.argmax(gain)), gain.shape)
            change = there[column] - here[row]
            placed[mine[row : row + 1]] = other
            placed[theirs[column : column + 1]] = one
            lacking[one] -= change
            lacking[other] += change
            improved = True
        idle = 0 if improved else idle + 1
        if idle > turns:
            break


def _some(groups: Places, turn: int) -> Places:
    """`CANDIDATES` of the groups, others each turn."""
    if len(groups) <= CANDIDATES:
        return groups
    start = turn * CANDIDATES % len(groups)
    return np.concatenate([groups[start : start + CANDIDATES], groups[: max(0, start + CANDIDATES - len(groups))]])
