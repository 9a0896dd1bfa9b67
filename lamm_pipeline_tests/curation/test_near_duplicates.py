"""Near-duplicates among many: every pair within the radius and no other, as comparing all with all finds them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lamm_pipeline.curation.near_duplicates import Twin, near_pairs, twins_across

Hashes = NDArray[np.uint64]


def all_with_all(hashes: Hashes, radius: int) -> list[tuple[int, int, int]]:
    values = [int(each) for each in hashes]
    pairs = ((a, b, (values[a] ^ values[b]).bit_count()) for a, b in itertools.combinations(range(len(values)), 2))
    return [each for each in pairs if each[2] <= radius]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 8), st.integers(0, 60), st.integers(0, 18), st.integers(0, 15), st.integers(0, 10_000))
def test_the_pairs_are_those_of_comparing_all_with_all(scenes: int, copies: int, most_turned: int, radius: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 2**64, scenes, np.uint64)[draw.integers(0, scenes, copies)]
    for place in range(copies):
        turned = draw.choice(64, draw.integers(0, most_turned + 1), replace=False).astype(np.uint64)
        hashes[place] ^= np.bitwise_or.reduce(np.uint64(1) << turned, initial=np.uint64(0))
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


@settings(max_examples=100, deadline=None)
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
