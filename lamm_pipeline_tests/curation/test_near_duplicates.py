"""Near-duplicates among many: every pair within the radius and no other, as comparing all with all finds them."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lamm_pipeline.curation import near_duplicates
from lamm_pipeline.curation.near_duplicates import Twin, near_clusters, near_duplicates_across, near_pairs, twins_across

Hashes = NDArray[np.uint64]


def all_with_all(hashes: Hashes, radius: int) -> list[tuple[int, int, int]]:
    values = [int(each) for each in hashes]
    pairs = ((a, b, (values[a] ^ values[b]).bit_count()) for a, b in itertools.combinations(range(len(values)), 2))
    return [each for each in pairs if each[2] <= radius]


def copies_of_scenes(scenes: int, copies: int, most_turned: int, seed: int) -> Hashes:
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 2**64, scenes, np.uint64)[draw.integers(0, scenes, copies)]
    for place in range(copies):
        turned = draw.choice(64, draw.integers(0, most_turned + 1), replace=False).astype(np.uint64)
        hashes[place] ^= np.bitwise_or.reduce(np.uint64(1) << turned, initial=np.uint64(0))
    return hashes


SCENES = st.builds(copies_of_scenes, st.integers(1, 8), st.integers(0, 60), st.integers(0, 18), st.integers(0, 10_000))


@settings(max_examples=200)
@given(SCENES, st.integers(0, 15))
def test_the_pairs_are_those_of_comparing_all_with_all(hashes: Hashes, radius: int) -> None:
    pairs, bits = near_pairs(hashes, radius)
    assert [(a, b, d) for (a, b), d in zip(pairs.tolist(), bits.tolist(), strict=True)] == all_with_all(hashes, radius)


def test_a_thousand_hashes_with_many_at_the_very_radius() -> None:
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 1000, np.uint64)
    for number in range(500):
        bits = draw.choice(64, 4 + number % 3, replace=False)
        hashes[500 + number] = hashes[number] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
    pairs, bits = near_pairs(hashes, 5)
    assert [(a, b, d) for (a, b), d in zip(pairs.tolist(), bits.tolist(), strict=True)] == all_with_all(hashes, 5)
    assert {4, 5} == set(bits.tolist())


@pytest.mark.parametrize("radius", [-1, 16])
def test_a_radius_out_of_bounds_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="radius"):
        near_pairs(np.zeros(2, np.uint64), radius)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 63), max_size=12), max_size=4), st.integers(0, 3))
def test_each_frame_is_told_with_its_closest_twin_in_each_other_recording(recordings: dict[str, list[int]], radius: int) -> None:
    given_hashes = {
        name: ([f"{name}:{n:06d}" for n in range(len(values))], np.array(values, np.uint64)) for name, values in recordings.items()
    }
    expected: dict[tuple[str, str], list[Twin]] = {}
    for one, other in itertools.permutations(sorted(recordings), 2):
        for n, value in enumerate(recordings[one]):
            rivals = [((value ^ each).bit_count(), m) for m, each in enumerate(recordings[other])]
            if rivals and min(rivals)[0] <= radius:
                bits, m = min(rivals)
                expected.setdefault((one, other), []).append(Twin(f"{one}:{n:06d}", f"{other}:{m:06d}", bits))
    assert twins_across(given_hashes, radius) == dict(sorted(expected.items()))


def test_thousands_of_equal_images_in_two_recordings_are_no_work() -> None:
    ids = [f"{n:06d}" for n in range(20_000)]
    same = np.zeros(20_000, np.uint64)
    found = twins_across({"a": ([f"a:{each}" for each in ids], same), "b": ([f"b:{each}" for each in ids], same)})
    assert {pair: len(twins) for pair, twins in found.items()} == {("a", "b"): 20_000, ("b", "a"): 20_000}
    assert found["a", "b"][-1] == Twin("a:019999", "b:000000", 0)


@pytest.fixture(params=[20, 0], ids=["keys as these few ask for", "keys as millions ask for"])
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "SORTING", request.param)


@pytest.mark.requirement("SPL-05")
@pytest.mark.usefixtures("keys")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCENES, st.integers(0, 7))
def test_clusters_are_what_near_pairs_link(hashes: Hashes, radius: int) -> None:
    linked = {place: {place} for place in range(len(hashes))}
    for one, other, _ in all_with_all(hashes, radius):
        if linked[one] is not linked[other]:
            linked[one] |= linked[other]
            linked |= dict.fromkeys(linked[other], linked[one])
    labels = near_clusters(hashes, radius).tolist()
    assert {frozenset(each) for each in linked.values()} == {
        frozenset(p for p, label in enumerate(labels) if label == n) for n in set(labels)
    }
    assert sorted(set(labels)) == list(range(len(set(labels))))


@pytest.mark.requirement("SPL-05")
@pytest.mark.usefixtures("keys")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCENES, st.integers(0, 7), st.integers(0, 10_000))
def test_each_image_with_a_near_duplicate_in_another_part_is_told_with_one(hashes: Hashes, radius: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-1, 3, len(hashes))
    twins: dict[int, set[int]] = {}
    for one, other, _ in all_with_all(hashes, radius):
        if min(codes[one], codes[other]) >= 0 and codes[one] != codes[other]:
            twins.setdefault(one, set()).add(other)
            twins.setdefault(other, set()).add(one)
    found = near_duplicates_across(hashes, codes, radius).tolist()
    assert [place for place, _ in found] == sorted(twins)
    assert all(twin in twins[place] for place, twin in found)


@pytest.mark.requirement("SPL-05")
def test_half_a_million_images_of_a_camera_that_stands_still_are_little_work() -> None:
    draw = np.random.default_rng(0)
    hashes = np.zeros(500_000, np.uint64)
    for _ in range(4):
        hashes ^= np.uint64(1) << draw.integers(0, 64, len(hashes)).astype(np.uint64)
    assert not near_clusters(hashes).any()
    assert len(near_duplicates_across(hashes, np.arange(len(hashes)) % 3)) == len(hashes)


@pytest.mark.parametrize("radius", [-1, 16])
def test_clusters_and_leaks_refuse_a_radius_out_of_bounds_too(radius: int) -> None:
    with pytest.raises(ValueError, match="radius"):
        near_clusters(np.zeros(2, np.uint64), radius)
    with pytest.raises(ValueError, match="radius"):
        near_duplicates_across(np.zeros(2, np.uint64), np.arange(2), radius)
