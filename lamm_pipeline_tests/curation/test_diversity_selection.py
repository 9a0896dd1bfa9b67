"""Diversity from stored metrics: the same frames as the filter of extraction, whatever the metrics are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lamm_pipeline.curation import diversity_selection
from lamm_pipeline.curation.diversity_selection import Rank, diversity_clusters, select_diverse
from lamm_pipeline.extraction.diversity import DiversityFilter, DiversityMetrics

Hashes = NDArray[np.uint64]


def hashes(count: int, scenes: int, flips: int, seed: int) -> Hashes:
    """Hashes of a few scenes, each with some bits turned."""
    draw = np.random.default_rng(seed)
    found = draw.integers(0, 2**64, (scenes, 4), np.uint64)[draw.integers(0, scenes, count)]
    for _ in range(flips):
        turned = draw.integers(0, 256, count)
        found[np.arange(count), turned // 64] ^= np.uint64(1) << (turned % 64).astype(np.uint64)
    return found


def one_by_one(dhash: Hashes, motion: NDArray[np.float64], similarity_threshold: float, motion_threshold: float) -> list[int]:
    """The frames that the filter of extraction keeps."""
    judge = DiversityFilter(similarity_threshold, motion_threshold)
    kept = []
    for number, (each, score) in enumerate(zip(dhash, motion, strict=True)):
        if judge.judge(each, float(score)) is None:
            judge.keep(each, str(number))
            kept.append(number)
    return kept


def metrics(dhash: Hashes, motion: NDArray[np.float64]) -> DiversityMetrics:
    ids = tuple(f"drive:{number:06d}" for number in range(len(motion)))
    return DiversityMetrics(ids, np.arange(len(motion)), dhash, dhash[:, 0], motion, ())


@pytest.mark.requirement("CUR-05", "CUR-06")
@settings(max_examples=150)
@given(
    st.integers(0, 90),
    st.integers(1, 12),
    st.integers(0, 60),
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.5, 0.6, 0.8, 0.8515625, 0.85, 0.95, 1.0]),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_the_frames_kept_are_those_that_the_filter_of_extraction_keeps(
    count: int, scenes: int, flips: int, seed: int, similarity_threshold: float, motion_threshold: float
) -> None:
    dhash = hashes(count, scenes, flips, seed)
    motion = np.random.default_rng(seed).random(count) * 0.06
    motion[:1] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diversity_selection, "BLOCK", 16)
        found = select_diverse(dhash, motion, similarity_threshold, motion_threshold)
    assert found.kept.tolist() == one_by_one(dhash, motion, similarity_threshold, motion_threshold)
    assert np.isin(found.stands_for, found.kept).all()
    assert (found.similarity[~found.still] > similarity_threshold)[found.stands_for[~found.still] != np.flatnonzero(~found.still)].all()


def test_a_similarity_of_exactly_the_threshold_is_no_repetition() -> None:
    dhash = np.zeros((2, 4), np.uint64)
    dhash[1, 0] = 2**38 - 1
    motion = np.ones(2)
    assert select_diverse(dhash, motion, 1 - 38 / 256, 0.02).kept.tolist() == [0, 1]
    assert select_diverse(dhash, motion, 0.85, 0.02).kept.tolist() == [0]
    dhash[1, 0] = 2**39 - 1
    assert select_diverse(dhash, motion, 0.85, 0.02).kept.tolist() == [0, 1]


@pytest.mark.requirement("CUR-05")
def test_what_people_keep_stays_and_annotated_frames_stand_for_plain_ones() -> None:
    dhash, motion = np.zeros((5, 4), np.uint64), np.ones(5)
    ranks = [Rank.plain, Rank.annotated, Rank.no_part, Rank.wanted, Rank.wanted]
    found = select_diverse(dhash, motion, 0.85, 0.02, ranks)
    assert found.kept.tolist() == [3, 4]
    assert found.stands_for.tolist() == [3, 3, -1, 3, 4]
    without_people = select_diverse(dhash, motion, 0.85, 0.02, [Rank.plain, Rank.annotated, Rank.no_part, Rank.plain, Rank.plain])
    assert without_people.stands_for.tolist() == [1, 1, -1, 1, 1]


def test_a_still_frame_stands_for_its_stretch_when_the_one_that_moved_is_excluded() -> None:
    dhash, motion = np.random.default_rng(1).integers(0, 2**64, (4, 4), np.uint64), np.array([1.0, 0.0, 0.0, 1.0])
    assert select_diverse(dhash, motion, 0.85, 0.02).stands_for.tolist() == [0, 0, 0, 3]
    ranks = [Rank.no_part, Rank.plain, Rank.annotated, Rank.plain]
    found = select_diverse(dhash, motion, 0.85, 0.02, ranks)
    assert found.stands_for.tolist() == [-1, 2, 2, 3]
    assert found.still.tolist() == [False, True, False, False]


@pytest.mark.requirement("CUR-06")
def test_clusters_have_a_representative_and_all_frames_that_it_stands_for() -> None:
    dhash = np.zeros((5, 4), np.uint64)
    dhash[2] = np.uint64(2**64 - 1)
    dhash[4, 0] = 0b111
    found = diversity_clusters(metrics(dhash, np.array([1.0, 0.001, 0.5, 0.5, 0.5])), 0.85, 0.02)
    assert [(each.representative, each.members) for each in found] == [("drive:000000", ("drive:000001", "drive:000003", "drive:000004"))]
    assert found[0].still == (True, False, False)
    assert found[0].similarities == (1.0, 1.0, 1 - 3 / 256)
    assert found[0].mean_similarity == round((3 - 3 / 256) / 3, 3)


def test_frames_that_all_differ_make_no_cluster() -> None:
    assert diversity_clusters(metrics(hashes(3, 3, 0, 5)[[0, 1]], np.ones(2)), 1.0, 0.0) == []
    assert diversity_clusters(metrics(np.empty((0, 4), np.uint64), np.empty(0)), 0.85, 0.02) == []


@pytest.mark.requirement("CUR-06")
def test_the_members_of_all_clusters_and_the_kept_frames_are_all_frames() -> None:
    dhash, motion = hashes(400, 20, 20, 3), np.random.default_rng(3).random(400) * 0.1
    found = select_diverse(dhash, motion, 0.85, 0.02)
    clusters = diversity_clusters(metrics(dhash, motion), 0.85, 0.02)
    members = [name for each in clusters for name in each.members]
    assert len(members) == len(set(members)) == 400 - len(found.kept)
    assert all(each.mean_similarity == round(float(np.mean(each.similarities)), 3) for each in clusters)
