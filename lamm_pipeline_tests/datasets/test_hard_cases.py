import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lamm_pipeline.datasets import frame_ranking, hard_cases
from lamm_pipeline.datasets.frame_ranking import ScoredFrames, Scoring
from lamm_pipeline.datasets.hard_cases import HardCases, resolve
from lamm_pipeline.errors import InputError

START = datetime(2026, 1, 1, tzinfo=UTC)
MI, ENTROPY = "mutual_information_mean", "predictive_entropy_mean"


def scoring(model: str = "a", day: int = 1, kind: str = MI) -> Scoring:
    return Scoring(model, kind, f"{model}-{day}", START + timedelta(days=day, microseconds=1))


def scored(
    recording: str, scores: Sequence[tuple[int, float]], tags: Iterable[str] = (), by: Scoring | None = None, version: str = "1" * 16
) -> ScoredFrames:
    return mixed(recording, [(index, score, by or scoring()) for index, score in scores], tags, version)


def mixed(recording: str, rows: Sequence[tuple[int, float, Scoring]], tags: Iterable[str] = (), version: str = "1" * 16) -> ScoredFrames:
    scorings = tuple(dict.fromkeys(by for _, _, by in rows))
    return ScoredFrames(
        recording,
        version,
        tuple(tags),
        np.asarray([index for index, _, _ in rows], np.int64),
        np.asarray([score for _, score, _ in rows], np.float64),
        np.asarray([scorings.index(by) for _, _, by in rows], np.int64),
        scorings,
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / frame_ranking.FILE_NAME


def taken(path: Path, **condition: Any) -> list[str]:
    return [name for names in resolve(path, HardCases(**condition)).frame_ids.values() for name in names]


def test_the_table_is_read_back_as_it_was_written_by_recordings(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_ranking, "ROWS_AT_ONCE", 5)  # several row groups
    rows = [
        mixed(
            f"rec-{n}",
            [(i, n + i / 10, scoring("ab"[i % 2], i % 3, MI if n < 3 else ENTROPY)) for i in range(4)],
            [["rain", "night"], []][n % 2],
            f"{n:016x}",
        )
        for n in range(6)
    ]
    assert frame_ranking.write(table, rows) == 24
    assert pq.ParquetFile(table).num_row_groups == 3
    assert pq.read_table(table).slice(0, 1).to_pylist() == [
        {
            "recording": "rec-0",
            "frame_id": "rec-0:000000",
            "frame_index": 0,
            "uncertainty": 0.0,
            "score_kind": MI,
            "model_id": "a",
            "evaluation": "a-0",
            "evaluated_at": START + timedelta(microseconds=1),
            "frames_version": "0" * 16,
            "tags": ["rain", "night"],
        }
    ]
    for wanted in (None, ["rec-4"], ["rec-0", "rec-3", "nobody"], ["a", "z"]):
        found = list(frame_ranking.read(table, wanted))
        expected = [each for each in rows if wanted is None or each.recording in wanted]
        assert [each.recording for each in found] == [each.recording for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert (one.frames_version, one.tags) == (other.frames_version, other.tags)
            assert np.array_equal(one.frame_index, other.frame_index)
            assert np.array_equal(one.uncertainty, other.uncertainty)
            assert [one.scorings[place] for place in one.scoring] == [other.scorings[place] for place in other.scoring]


@pytest.mark.requirement("UNC-03")
def test_top_k_over_all_per_recording_and_above(table: Path) -> None:
    frame_ranking.write(table, [scored("a", [(0, 0.9), (1, 0.8), (2, 0.1)]), scored("b", [(0, 0.7), (1, 0.85), (2, 0.5)])])
    assert taken(table, top=2) == ["a:000000", "b:000001"]
    assert taken(table, top_per_recording=1) == ["a:000000", "b:000001"]
    assert taken(table, above=0.7) == ["a:000000", "a:000001", "b:000001"]  # strictly above
    assert taken(table, above=0.7, top_per_recording=1, top=1) == ["a:000000"]
    assert taken(table, top=100) == ["a:000000", "a:000001", "a:000002", "b:000000", "b:000001", "b:000002"]


@pytest.mark.requirement("UNC-03")
def test_neighbours_stand_aside_for_the_least_sure(table: Path) -> None:
    frame_ranking.write(table, [scored("a", [(n, 1.0 - abs(n - 20) / 100) for n in range(41)]), scored("b", [(0, 0.1)])])
    assert taken(table, top=3) == ["a:000019", "a:000020", "a:000021"]
    assert taken(table, top=3, min_gap_frames=10) == ["a:000010", "a:000020", "a:000030"]
    assert taken(table, above=0.0, min_gap_frames=10) == ["a:000000", "a:000010", "a:000020", "a:000030", "a:000040", "b:000000"]


@pytest.mark.requirement("UNC-03", "UNC-12")
def test_top_k_of_each_tag_counts_a_frame_once(table: Path) -> None:
    frame_ranking.write(
        table,
        [
            scored("both", [(0, 0.9), (1, 0.2)], ["night", "rain"]),
            scored("rainy", [(0, 0.5), (1, 0.6)], ["rain"]),
            scored("untagged", [(0, 1.0)]),
        ],
    )
    assert taken(table, top_per_tag=1) == ["both:000000"]
    assert taken(table, top_per_tag=2) == ["both:000000", "both:000001", "rainy:000001"]  # two of night, two of rain
    assert taken(table, top_per_tag=2, top=2) == ["both:000000", "rainy:000001"]
    assert taken(table, top_per_tag=2, tags=["rain"]) == ["both:000000", "rainy:000001"]
    assert taken(table, top=9, tags=["night"]) == ["both:000000", "both:000001"]


@pytest.mark.requirement("UNC-03", "UNC-11")
def test_models_are_chosen_and_kinds_of_scores_never_compared(table: Path) -> None:
    one, other, entropy = scoring("a"), scoring("b", 2), scoring("c", 3, ENTROPY)
    frame_ranking.write(table, [mixed("r", [(0, 0.9, one), (0, 0.2, other), (1, 0.3, one), (1, 0.8, other)])])
    assert taken(table, top=1) == ["r:000000"]
    assert taken(table, top=1, models=["b"]) == ["r:000001"]
    assert taken(table, above=0.5) == ["r:000000", "r:000001"]  # each by its highest score
    frame_ranking.write(table, [mixed("r", [(0, 0.4, one), (1, 0.99, entropy)]), scored("s", [(0, 0.5)])])
    with pytest.raises(InputError, match=r"different kinds.*mutual_information_mean \(2 scores\), predictive_entropy_mean \(1 scores\)"):
        taken(table, top=1)
    assert taken(table, top=1, score_kind=MI) == ["s:000000"]
    assert taken(table, top=1, models=["c"]) == ["r:000001"]


def test_of_equal_scores_the_newer_goes_first_then_the_order_of_frames(table: Path) -> None:
    frame_ranking.write(
        table, [scored("a", [(5, 0.5), (3, 0.5)], by=scoring("m", 1)), mixed("b", [(7, 0.5, scoring("m", 1)), (7, 0.5, scoring("n", 4))])]
    )
    assert taken(table, top=1) == ["b:000007"]
    assert taken(table, top=2) == ["a:000003", "b:000007"]


@pytest.mark.parametrize("seed", range(30))
def test_every_condition_takes_what_one_would_take_by_hand(seed: int, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(frame_ranking, "ROWS_AT_ONCE", draw.choice([7, 50, 100_000]))
    monkeypatch.setattr(hard_cases, "SPARE_ROWS", draw.choice([0, 100_000]))
    rows = []
    for n in range(draw.randrange(1, 9)):
        frames = draw.sample(range(60), draw.randrange(1, 25))
        by = [scoring(draw.choice("ab"), draw.randrange(3)) for _ in range(2)]
        entries = [(index, draw.randrange(8) / 8, each) for index in frames for each in dict.fromkeys(by) if draw.random() < 0.8]
        if entries:
            rows.append(mixed(f"r{n}", entries, draw.sample(["rain", "night", "city"], draw.randrange(3))))
    frame_ranking.write(table, rows)

    def maybe(value: Any) -> Any:
        return value if draw.random() < 0.5 else None

    condition = HardCases(
        top=maybe(draw.randrange(1, 20)),
        top_per_recording=maybe(draw.randrange(1, 6)),
        top_per_tag=maybe(draw.randrange(1, 8)),
        above=draw.randrange(1, 8) / 8 - 0.01 if draw.random() < 0.5 else 0.0,
        models=draw.choice([[], ["a"], ["a", "b"]]),
        tags=draw.choice([[], ["rain"], ["night", "city"]]),
        min_gap_frames=draw.choice([0, 1, 3, 12]),
    )
    found = resolve(table, condition)
    assert [name for names in found.frame_ids.values() for name in names] == by_hand(rows, condition)


def by_hand(rows: Sequence[ScoredFrames], condition: HardCases) -> list[str]:
    """The same, frame by frame, in the words of the condition."""
    best: dict[tuple[str, int], tuple[float, datetime]] = {}
    tags: dict[str, list[str]] = {}
    for each in rows:
        tags[each.recording] = [tag for tag in each.tags if not condition.tags or tag in condition.tags]
        for index, score, place in zip(each.frame_index.tolist(), each.uncertainty.tolist(), each.scoring.tolist(), strict=True):
            by = each.scorings[place]
            fits = (not condition.models or by.model_id in condition.models) and (not condition.tags or tags[each.recording])
            if fits and score > (condition.above if condition.above is not None else -1):
                key = (each.recording, index)
                best[key] = max(best.get(key, (-1.0, START)), (score, by.evaluated_at))
    order = sorted(best, key=lambda key: (-best[key][0], -best[key][1].timestamp(), key))
    apart: list[tuple[str, int]] = []
    for recording, index in order:
        own = [other for name, other in apart if name == recording]
        near = any(abs(index - other) < condition.min_gap_frames for other in own)
        if not near and (condition.top_per_recording is None or len(own) < condition.top_per_recording):
            apart.append((recording, index))
    if condition.top_per_tag is not None:
        every = sorted({tag for names in tags.values() for tag in names})
        of_tags = [key for tag in every for key in [key for key in apart if tag in tags[key[0]]][: condition.top_per_tag]]
        apart = [key for key in apart if key in of_tags]
    return [f"{recording}:{index:06d}" for recording, index in sorted(apart[: condition.top])]


def test_too_many_frames_are_refused(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_cases, "MAX_FRAMES", 3)
    frame_ranking.write(table, [scored("a", [(0, 0.5), (1, 0.6), (2, 0.7)])])
    assert len(taken(table, above=0.1)) == 3
    frame_ranking.write(table, [scored("a", [(0, 0.5), (1, 0.6)]), scored("b", [(0, 0.5), (1, 0.6)])])
    with pytest.raises(InputError, match="More than 3 frames are hard cases"):
        taken(table, above=0.1)


def test_a_condition_says_how_many_or_above_which() -> None:
    assert not HardCases().wanted
    assert HardCases(above=0.0).wanted
    for wrong in ({"tags": ["rain"]}, {"models": ["a"]}, {"min_gap_frames": 3}, {"score_kind": MI}, {"top": 0}, {"above": -1.0}):
        with pytest.raises(ValidationError):
            HardCases(**wrong)


def test_what_is_no_ranking_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    frame_ranking.write(tmp_path / "short.parquet", [])
    pq.write_table(pq.read_table(tmp_path / "short.parquet").drop_columns(["uncertainty"]), tmp_path / "short.parquet")
    for name, said in (("missing.parquet", "cannot be read"), ("text.parquet", "cannot be read"), ("short.parquet", "lacks uncertainty")):
        with pytest.raises(InputError, match=said):
            resolve(tmp_path / name, HardCases(top=1))


def test_an_empty_ranking_has_no_hard_cases(table: Path) -> None:
    frame_ranking.write(table, [])
    found = resolve(table, HardCases(top=1))
    assert (found.total, found.highest, found.scored_recordings) == (0, None, 0)
