import contextlib
import json
from pathlib import Path

import dagster as dg
import pytest

from lamm_pipeline_tests.orchestration.houses import KEY, ROWS, House, events


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "root")


def tree(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name != "run.json"}


def stop_at(row: int, error: BaseException) -> object:
    def before(current: int) -> None:
        if current == row:
            raise error

    return before


@pytest.mark.requirement("NFR-10")
def test_a_published_version_is_used_again_without_work(house: House) -> None:
    assert house.run().success
    assert house.computed == list(range(ROWS))
    first = house.current
    outcome = house.run(workers=2)
    assert outcome.success
    assert house.computed == []
    assert house.current.version == first.version
    materialization = outcome.asset_materializations_for_node("rows")[0]
    assert materialization.tags is not None
    assert materialization.tags["dagster/data_version"] == first.version


@pytest.mark.requirement("NFR-14")
def test_another_config_lands_beside_and_going_back_puts_the_first_in_force_again(house: House) -> None:
    house.run()
    first = house.current.version
    house.run(scale=2)
    second = house.current.version
    assert second != first
    assert house.current.file("3.txt").read_text() == "6"
    house.run()
    assert house.computed == []
    assert house.current.version == first
    assert house.workspace.store.versions(KEY) == [first, second]


def test_another_code_version_is_another_artifact(house: House) -> None:
    house.run()
    first = house.current.version
    house.code_version = "2"
    house.run()
    assert house.computed == list(range(ROWS))
    assert house.current.version != first


@pytest.mark.requirement("STA-05")
def test_force_computes_a_published_version_again(house: House) -> None:
    house.run()
    before = tree(house.current.folder)
    assert house.run(force=True).success
    assert house.computed == list(range(ROWS))
    assert tree(house.current.folder) == before


@pytest.mark.requirement("AV-21", "STA-05", "NFR-10")
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), RuntimeError("out of luck")], ids=["interrupt", "bug"])
@pytest.mark.parametrize("row", range(ROWS))
def test_a_run_interrupted_inside_the_asset_goes_on_at_its_checkpoint_to_the_same_bytes(
    house: House, tmp_path: Path, row: int, interrupt: BaseException
) -> None:
    undisturbed = House(tmp_path / "undisturbed")
    undisturbed.run()
    house.retries = None  # Dagster would wait a minute and try again
    house.before = stop_at(row, interrupt)  # type: ignore[assignment]
    with contextlib.suppress(KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        assert not house.run().success
    assert house.workspace.store.current(KEY) is None
    house.before = lambda _: None
    assert house.run().success
    assert house.computed == list(range(row // 3 * 3, ROWS))
    assert tree(house.current.folder) == tree(undisturbed.current.folder)


def test_only_the_same_version_goes_on_at_a_checkpoint(house: House) -> None:
    house.before = stop_at(5, RuntimeError("out of luck"))  # type: ignore[assignment]
    house.run()
    house.before = lambda _: None
    house.run(scale=2)
    assert house.computed == list(range(ROWS))
    assert house.current.file("1.txt").read_text() == "2"


@pytest.mark.requirement("STA-05")
def test_restart_throws_the_checkpoint_away(house: House) -> None:
    house.before = stop_at(5, RuntimeError("out of luck"))  # type: ignore[assignment]
    house.run()
    house.before = lambda _: None
    assert house.run(restart=True).success
    assert house.computed == list(range(ROWS))


def test_restart_leaves_a_published_version_as_it_is(house: House) -> None:
    house.run()
    house.run(restart=True)
    assert house.computed == []


def test_counts_are_what_a_later_run_reads(house: House) -> None:
    house.run()
    counts = house.current.counts
    assert counts == {"rows": ROWS, "pair": [1, 2], "by_number": {"1": "one"}}
    outcome = house.run()
    assert outcome.asset_materializations_for_node("rows")[0].metadata["rows"].value == ROWS


def test_what_differs_between_runs_stands_in_run_json_alone(house: House, tmp_path: Path) -> None:
    outcome = house.run()
    other = House(tmp_path / "other")
    other.run()
    assert tree(house.current.folder) == tree(other.current.folder)
    run = json.loads((house.current.folder / "run.json").read_text())
    assert run["run_id"] == outcome.run_id
    assert run["units"] == ROWS
    assert "run.json" not in house.current.manifest.files


def test_a_value_out_of_bounds_fails_before_work_and_is_not_retried(house: House) -> None:
    outcome = house.run(scale=0)
    assert not outcome.success
    assert house.computed == []
    assert "STEP_UP_FOR_RETRY" not in events(outcome)
