"""The numbers of evaluations over all recordings: those of NumPy over all scores, counted once for each recording."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.scenes.dashboard import evaluations
from lamm_pipeline.scenes.library.collect import collect, known
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.dashboard.evaluated import publish
from lamm_pipeline_tests.scenes.library.scene_worlds import publish_uncertainty


def tallied(world: World, before: evaluations.Tallies) -> evaluations.Tallies:
    return evaluations.tally(world.store, collect(world.store, known(world.catalog, world.root), {}), before, workers=1)


@pytest.mark.requirement("UNC-07", "UNC-08", "UNC-09")
def test_mean_percentile_and_histogram_are_those_of_all_frames_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    first, second = draw.random(200) ** 3, draw.random(31)
    drive, night = World(tmp_path / "root"), World(tmp_path / "root", "night")
    publish(drive, first.tolist())
    publish(night, second.tolist(), iou=0.75)
    tallies = tallied(drive, {})
    [found] = evaluations.numbers(tallies)
    together = np.concatenate([first, second])
    assert (found.evaluation, found.model_id, found.recordings, found.frames) == ("night-v3", "classifier-v3", 2, 231)
    assert found.mean == pytest.approx(together.mean())
    assert found.p95 == pytest.approx(np.percentile(together, 95), abs=1e-3)
    assert found.histogram == tuple(np.histogram(together, np.arange(11) / 10)[0])
    assert (found.mean_iou, found.labelled, found.label_sources) == (pytest.approx(0.75), 31, ("derived",))
    worst = {each.recording: each.worst_frame for some in tallies.values() for each in some}
    assert worst == {"drive": int(first.argmax()), "night": int(second.argmax())}


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.floats(0, 1))
def test_the_percentile_is_numpys_of_the_rounded_scores(scores: list[float], share: float) -> None:
    steps = np.rint(np.asarray(scores) * evaluations.STEPS).astype(int)
    found = evaluations._percentile(np.bincount(steps, minlength=evaluations.STEPS + 1), share)
    assert found == pytest.approx(np.percentile(steps / evaluations.STEPS, 100 * share), abs=1e-9)


def test_only_what_has_changed_is_read_and_the_table_keeps_the_rest(tmp_path: Path) -> None:
    drive, night = World(tmp_path / "root"), World(tmp_path / "root", "night")
    publish(drive, [0.5, 0.25])
    old = publish(night, [0.125])
    first = tallied(drive, {})
    evaluations.write(tmp_path / "tallies.parquet", first)
    kept = evaluations.read(tmp_path / "tallies.parquet")
    assert {key: list(some) for key, some in kept.items()} == {key: list(some) for key, some in first.items()}
    path = drive.store.root / "recordings/drive/frame_uncertainty"
    [table] = path.glob("*/frame_uncertainty.parquet")
    table.chmod(0o644)
    table.write_bytes(b"damaged since")  # that nobody reads it again shows in the numbers
    publish(night, [1.0])
    again = tallied(drive, kept)
    assert ("night", old.version) not in again
    [found] = evaluations.numbers(again)
    assert (found.frames, found.mean) == (3, pytest.approx(1.75 / 3))
    [left] = evaluations.numbers(tallied(drive, {}))
    assert left.frames == 1  # what cannot be read counts nowhere


def test_scores_that_are_no_numbers_count_nowhere_and_none_at_all_is_no_evaluation(tmp_path: Path) -> None:
    world = World(tmp_path / "root")
    assert evaluations.numbers(tallied(world, {})) == []
    nan = float("nan")
    publish_uncertainty(world.store, "drive", [("old", "1", 0.5), ("old", "1", nan), ("new", "3", nan), ("new", "4", 0.1)])
    found = evaluations.numbers(tallied(world, {}))
    assert [(each.evaluation, each.frames, each.mean, each.p95, each.mean_iou) for each in found] == [
        ("new", 1, 0.1, 0.1, None),
        ("old", 1, 0.5, 0.5, None),
    ]
