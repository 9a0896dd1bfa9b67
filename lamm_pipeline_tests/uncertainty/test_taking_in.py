"""Evaluations become known by command or by the folder sensor."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.models import AuditEvent
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.settings import Settings
from lamm_pipeline.uncertainty.sensors import new_evaluations
from lamm_pipeline.uncertainty.taking_in import add_evaluation, evaluation_folders
from lamm_pipeline_tests.uncertainty.rides import FRAMES, KEY, Ride, predict

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def ride(tmp_path: Path) -> Ride:
    return Ride(tmp_path / "root")


@pytest.mark.requirement("UNC-01")
def test_an_evaluation_is_remembered_with_its_model_and_who_added_it(ride: Ride, tmp_path: Path) -> None:
    folder = predict(tmp_path, "night")
    assert (added := add_evaluation(ride.catalog, folder, "ada")).status == "new"
    assert added.recordings == {KEY: FRAMES}
    row = ride.catalog.evaluations.get("night")
    assert (row.model_id, row.classes, row.members, row.added_by) == ("night-model", ["ground", "obstacle", "sky"], 3, "ada")
    [(same, part)] = ride.catalog.evaluations.of_recording(KEY)
    assert (same.id, part.frames, part.digest) == ("night", FRAMES, None)
    assert ride.catalog.evaluations.of_recording("ride") == []
    with Session(ride.catalog._engine) as session:
        [event] = session.scalars(select(AuditEvent).where(AuditEvent.action == "evaluation.add"))
    assert (event.actor, event.subject) == ("ada", "night")


def test_adding_again_tells_what_has_changed(ride: Ride, tmp_path: Path) -> None:
    folder = predict(tmp_path, "night", frames=range(2))
    add_evaluation(ride.catalog, folder, "ada")
    assert add_evaluation(ride.catalog, folder, "bob").status == "unchanged"
    predict(tmp_path, "night", frames=range(2, 4))
    changed = add_evaluation(ride.catalog, folder, "bob")
    assert (changed.status, changed.recordings) == ("changed", {KEY: 4})
    assert ride.catalog.evaluations.get("night").added_by == "ada"


def test_two_evaluations_cannot_have_one_id_unless_the_folder_was_moved(ride: Ride, tmp_path: Path) -> None:
    folder = predict(tmp_path / "a", "night")
    add_evaluation(ride.catalog, folder, "ada")
    with pytest.raises(InputError, match="already, in"):
        add_evaluation(ride.catalog, predict(tmp_path / "b", "night"), "ada")
    moved = folder.rename(tmp_path / "c")
    assert add_evaluation(ride.catalog, moved, "ada").status == "changed"
    assert ride.catalog.evaluations.get("night").path == str(moved)
    path = moved / "evaluation.json"
    path.write_text(path.read_text().replace('"night"', '"day"'))
    with pytest.raises(InputError, match="taken in as 'night'"):
        add_evaluation(ride.catalog, moved, "ada")


def test_what_is_no_evaluation_is_told(ride: Ride, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Neither"):
        evaluation_folders(tmp_path)
    with pytest.raises(InputError, match="is no evaluation"):
        add_evaluation(ride.catalog, tmp_path / "missing", "ada")
    folder = predict(tmp_path, "night", frames=())
    with pytest.raises(InputError, match="has no predictions"):
        add_evaluation(ride.catalog, folder, "ada")
    with pytest.raises(InputError, match="need both"):
        add_evaluation(ride.catalog, predict(tmp_path, "day"), "ada", labels_folder=tmp_path)
    long = predict(tmp_path, "long") / KEY
    long.rename(long.with_name("x" * 101))
    with pytest.raises(InputError, match="at most 100 characters"):
        add_evaluation(ride.catalog, long.parent, "ada")
    with pytest.raises(InputError, match="No evaluation is called 'day'"):
        ride.catalog.evaluations.get("day")


def test_a_folder_with_several_evaluations_is_all_of_them(tmp_path: Path) -> None:
    folders = [predict(tmp_path, name) for name in ("a", "b")]
    assert evaluation_folders(tmp_path) == folders
    assert evaluation_folders(folders[0]) == folders[:1]


def test_the_watched_folders_come_from_the_environment(tmp_path: Path) -> None:
    found = Settings.from_environment({"LAMM_WATCH_EVALUATIONS": f"{tmp_path}/a:{tmp_path}/b"}, root=tmp_path)
    assert found.watch_evaluation_folders == (tmp_path / "a", tmp_path / "b")


class Daemon:
    """Ticks as Dagster's daemon makes them."""

    def __init__(self, ride: Ride, instance: dg.DagsterInstance) -> None:
        self.workspace = Workspace(root=str(ride.root))
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> list[tuple[str | None, str | None]]:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"workspace": self.workspace})
        found = new_evaluations(context)
        assert isinstance(found, dg.SensorResult)
        self.cursor = found.cursor
        return [(request.partition_key, request.run_key) for request in found.run_requests or ()]


@pytest.fixture
def daemon(ride: Ride, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    (tmp_path / "watched").mkdir()
    monkeypatch.setenv("LAMM_WATCH_EVALUATIONS", str(tmp_path / "watched"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(ride, instance)


def test_the_sensor_takes_in_what_has_stopped_changing_and_asks_once(ride: Ride, tmp_path: Path, daemon: Daemon) -> None:
    assert daemon.tick() == []
    predict(tmp_path / "watched", "night", frames=range(2))
    assert daemon.tick() == [], "it may still be being written"
    predict(tmp_path / "watched", "night", frames=range(2, 4))
    assert daemon.tick() == []
    [(key, first)] = daemon.tick()
    assert key == KEY
    assert daemon.tick() == []
    assert ride.catalog.evaluations.recordings("night")[0].frames == 4
    assert ride.catalog.evaluations.get("night").added_by == "new_evaluations"
    predict(tmp_path / "watched", "night", frames=range(4, 6))
    assert daemon.tick() == []
    [(_, second)] = daemon.tick()
    ride.extract(points=404)
    [(_, third)] = daemon.tick()
    assert len({first, second, third}) == 3, "other predictions and other frames are other runs"


def test_a_watched_folder_may_be_an_evaluation_or_be_gone(tmp_path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = predict(tmp_path, "night")
    monkeypatch.setenv("LAMM_WATCH_EVALUATIONS", f"{tmp_path}/gone:{folder}")
    daemon.tick()
    assert [key for key, _ in daemon.tick()] == [KEY]


def test_a_tick_that_died_is_made_up_for_under_the_same_run_key(tmp_path: Path, daemon: Daemon) -> None:
    predict(tmp_path / "watched", "night")
    daemon.tick()
    before = daemon.cursor
    asked = daemon.tick()
    daemon.cursor = before
    assert daemon.tick() == asked
    daemon.cursor = "no cursor of ours"
    daemon.tick()
    assert daemon.tick() == asked


def test_the_sensor_goes_on_when_something_is_wrong(ride: Ride, tmp_path: Path, daemon: Daemon) -> None:
    predict(tmp_path / "watched", "good")
    (tmp_path / "watched" / "bad").mkdir()
    (tmp_path / "watched" / "bad" / "evaluation.json").write_text("{}")
    predict(tmp_path / "watched", "other")
    other = tmp_path / "watched" / "other" / KEY
    other.rename(other.with_name("unknown"))
    daemon.tick()
    assert [key for key, _ in daemon.tick()] == [KEY], "a recording that nobody knows waits"
    assert {row.id for row in ride.catalog.evaluations.all()} == {"good", "other"}
