"""Which frames of a recording differ enough, from metrics that are there already: 10,000 frames in well under a second, exactly.

The rules are those of `extraction/diversity.py`, which applies them while frames are extracted. A frame with less motion than the threshold
is still; of each stretch of still frames and the frame before it one stands for all. Among the frames that stand for their stretch, one
whose similarity to a frame that is kept already is strictly above the threshold repeats it; the first such frame counts.

What is known of frames goes before their order in the file: see `Rank`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.diversity import HASH_BITS, DiversityMetrics

WORDS, FIRST_WORDS = 4, 2
FEW_BITS = 48  # of 256; below this half of the words rule out nearly all pairs, and only what they leave is compared in full
BLOCK = 256

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


class Rank(IntEnum):
    """What is known of a frame. Lower ranks are looked at first, so that others repeat them and not the other way round."""

    no_part = -1  # excluded already: neither kept nor represented, and it stands for no other
    wanted = 0  # a person keeps it: it stays, however similar
    annotated = 1
    plain = 2


@dataclass(frozen=True)
class Diversity:
    """The verdict on N frames, in file order.

    Attributes:
        stands_for: `(N,)` index of the frame that stands for it; its own for frames that are kept, -1 for those that take no part.
        still: `(N,)` True where that is so for want of motion, else for similarity.
        similarity: `(N,)` to the frame that stands for it; 1.0 for kept ones, 0.0 for those that take no part.
    """

    stands_for: Places
    still: NDArray[np.bool_]
    similarity: NDArray[np.float64]

    @property
    def kept(self) -> Places:
        """Indices of the frames that are kept, ascending."""
        return np.flatnonzero(self.stands_for == np.arange(len(self.stands_for)))


@dataclass(frozen=True)
class Cluster:
    """A kept frame with those that it stands for.

    Attributes:
        representative: its frame id.
        members: ids of the others in file order, at least one.
        still: for each of them whether nothing moved on it; else it repeats an image.
        similarities: for each of them, to the representative.
        mean_similarity: of the members, three decimals.
    """

    representative: str
    members: tuple[str, ...]
    still: tuple[bool, ...]
    similarities: tuple[float, ...]
    mean_similarity: float


def select_diverse(
    dhash: Hashes, motion: NDArray[np.float64], similarity_threshold: float, motion_threshold: float, ranks: Sequence[Rank] | None = None
) -> Diversity:
    """Find the frames that differ enough.

    Args:
        dhash: `(N, 4)` uint64, in file order.
        motion: `(N,)` score of each frame relative to the one before it.
        similarity_threshold: a frame that is more similar to a kept one repeats it.
        motion_threshold: a frame with less motion is still.
        ranks: what is known of each frame; None when it is nothing.
    """
    count = len(motion)
    rank = np.full(count, Rank.plain) if ranks is None else np.asarray(ranks, np.int64)
    takes_part = np.flatnonzero(rank != Rank.no_part)
    order = takes_part[np.argsort(rank[takes_part], kind="stable")]
    # the first of each stretch in that order stands for it; where the frame that moved takes no part, a still one does
    stretch = np.cumsum(motion >= motion_threshold)[order]
    heads = np.full(count + 1, -1, np.int64)
    first = np.unique(stretch, return_index=True)[1]
    heads[stretch[first]] = order[first]
    stands_for = np.full(count, -1, np.int64)
    stands_for[order] = heads[stretch]
    wanted = rank == Rank.wanted
    stands_for[wanted] = np.flatnonzero(wanted)
    still = (stands_for >= 0) & (stands_for != np.arange(count))
    leading = order[stands_for[order] == order]
    stands_for[leading] = leading[_first_similar(dhash[leading], wanted[leading], _most_different_bits(similarity_threshold))]
    stands_for[still] = stands_for[stands_for[still]]
    similarity = np.zeros(count)
    different = np.bitwise_count(dhash[order] ^ dhash[stands_for[order]]).sum(axis=1, dtype=np.int64)
    similarity[order] = 1.0 - different / HASH_BITS
    return Diversity(stands_for, still, similarity)


def diversity_clusters(
    metrics: DiversityMetrics, similarity_threshold: float, motion_threshold: float, ranks: Sequence[Rank] | None = None
) -> list[Cluster]:
    """The frames that would be kept and stand for others, with those others, for people who choose thresholds.

    Args:
        metrics: of a recording.
        similarity_threshold: a frame that is more similar to a kept one repeats it.
        motion_threshold: a frame with less motion is still.
        ranks: what is known of each frame of the metrics (`ranks_of` in `selection.py`); None when it is nothing.

    Returns:
        Clusters in file order of their representatives.
    """
    found = select_diverse(metrics.dhash, metrics.motion, similarity_threshold, motion_threshold, ranks)
    others = np.flatnonzero((found.stands_for >= 0) & (found.stands_for != np.arange(len(found.stands_for))))
    others = others[np.argsort(found.stands_for[others], kind="stable")]
    representatives, starts = np.unique(found.stands_for[others], return_index=True)
    clusters = []
    for representative, members in zip(representatives, np.split(others, starts[1:]), strict=bool(len(others))):
        similarities = found.similarity[members]
        clusters.append(
            Cluster(
                representative=metrics.frame_ids[representative],
                members=tuple(metrics.frame_ids[each] for each in members),
                still=tuple(bool(each) for each in found.still[members]),
                similarities=tuple(float(each) for each in similarities),
                mean_similarity=round(float(similarities.mean()), 3),
            )
        )
    return clusters


def _most_different_bits(similarity_threshold: float) -> int:
    """The largest number of differing bits at which two images are still more similar than the threshold; -1 when there is none."""
    similarities = 1.0 - np.arange(HASH_BITS + 1) / HASH_BITS
    return int(np.flatnonzero(similarities > similarity_threshold).max(initial=-1))


def _first_similar(dhash: Hashes, wanted: NDArray[np.bool_], most: int) -> Places:
    """For each frame the first kept one before it that differs in at most `most` bits, else itself, which is kept then.

    Args:
        dhash: `(M, 4)` in the order in which frames are looked at.
        wanted: `(M,)` those that are kept in any case.
        most: number of bits.
    """
    result = np.arange(len(dhash))
    if most < 0:
        return result
    kept = np.empty(len(dhash), np.int64)
    count = 0
    for start in range(0, len(dhash), BLOCK):
        stop = min(start + BLOCK, len(dhash))
        first = _first_within(dhash[start:stop], dhash[kept[:count]], most)
        new = first < 0
        new[wanted[start:stop]] = True
        result[start:stop][~new] = kept[first[~new]]
        before = count
        for place in start + np.flatnonzero(new):  # among themselves: each only against those of this block that are kept
            if not wanted[place] and count > before:
                rivals = kept[before:count]
                near = rivals[np.bitwise_count(dhash[rivals] ^ dhash[place]).sum(axis=1, dtype=np.int64) <= most]
                if near.size:
                    result[place] = near[0]
                    continue
            kept[count] = place
            count += 1
    return result


def _first_within(some: Hashes, others: Hashes, most: int) -> Places:
    """For each of `some` the index of the first of `others` that differs in at most `most` bits, -1 where none does."""
    first = np.full(len(some), -1, np.int64)
    if len(others) == 0:
        return first
    words = FIRST_WORDS if most < FEW_BITS else WORDS
    different = np.bitwise_count(some[:, None, 0] ^ others[None, :, 0]).astype(np.uint8 if words == FIRST_WORDS else np.uint16)
    for word in range(1, words):
        different += np.bitwise_count(some[:, None, word] ^ others[None, :, word])
    rows, columns = np.nonzero(different <= most)
    rest = np.bitwise_count(some[rows, words:] ^ others[columns, words:]).sum(axis=1, dtype=np.int64)
    near = different[rows, columns] + rest <= most
    found, place = np.unique(rows[near], return_index=True)
    first[found] = columns[near][place]
    return first
