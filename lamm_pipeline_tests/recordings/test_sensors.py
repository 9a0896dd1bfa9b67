"""The sensor `new_recordings`, tick by tick, on a real instance."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings import ingest, watch
from lamm_pipeline.recordings.sensors import new_recordings
from lamm_pipeline.settings import Settings


class Watched:
    """A house whose source dataset `in` is watched; each `tick` is one evaluation of the sensor, as the daemon makes it."""

    def __init__(self, base: Path, instance: dg.DagsterInstance) -> None:
        self.folder = base / "in"
        self.folder.mkdir()
        self.root = base / "root"
        self.instance = instance
        self.cursor: str | None = None
        self.launched: list[tuple[str, str]] = []
        self.skipped = ""
        self.workspace = Workspace(root=str(self.root))
        self.dataset = self.workspace.catalog.source_datasets.add("in", self.folder, "reference", "ada")

    def put(self, name: str, content: bytes = b"svo2", age_s: int | None = None) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if age_s is not None:
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - age_s * 10**9))
        return path

    def tick(self) -> list[str]:
        """Keys of the recordings that runs are launched for; a run key is launched once, as Dagster does."""
        workspace = Workspace(root=str(self.root))
        outcome = new_recordings(dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"workspace": workspace}))
        assert isinstance(outcome, dg.SensorResult)
        self.cursor, self.skipped = outcome.cursor, str(outcome.skip_reason)
        for request in outcome.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        fresh = [(str(each.run_key), str(each.partition_key)) for each in outcome.run_requests or []]
        fresh = [each for each in fresh if each not in self.launched]
        self.launched += fresh
        return [key for _, key in fresh]

    def row(self, key: str) -> Any:
        return self.workspace.catalog.recordings.get(key)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    for name in ("LAMM_ROOT", "LAMM_CATALOG_URL", "LAMM_WATCH", "LAMM_WATCH_BATCH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dagster-home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster-home")) as instance:
        yield Watched(tmp_path, instance)


@pytest.mark.requirement("ING-12", "AV-26")
def test_a_new_file_is_launched_once_when_it_has_stopped_changing_and_never_again(watched: Watched) -> None:
    watched.put("drive.svo2")
    assert watched.tick() == []
    assert "1 files wait" in watched.skipped
    assert watched.tick() == ["drive"]
    assert [watched.tick() for _ in range(4)] == [[]] * 4
    assert "drive" in watched.instance.get_dynamic_partitions("recordings")
    row = watched.row("drive")
    assert row.dataset_id == watched.dataset.id
    assert watched.launched[0][0].startswith(f"drive:{row.quick_digest[:16]}:")


@pytest.mark.requirement("ING-12")
def test_dagster_accepts_the_runs_for_partitions_that_the_same_tick_adds(watched: Watched) -> None:
    watched.put("drive.svo2")
    watched.tick()
    context = dg.SensorEvaluationContext(
        instance_ref=watched.instance.get_ref(),
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=watched.cursor,
        repository_name=None,
        repository_def=build_definitions(Settings.from_environment({}, root=watched.root)).get_repository_def(),
        resources={"workspace": watched.workspace},
    )
    with context:
        [request] = new_recordings.evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.tags["dagster/partition"]) == ("drive", "drive")


@pytest.mark.requirement("ING-12")
def test_the_sensor_is_off_until_somebody_turns_it_on_and_launches_annotation() -> None:
    assert new_recordings.default_status is dg.DefaultSensorStatus.STOPPED
    assert new_recordings.job_name == "annotate_only"


@pytest.mark.requirement("AV-26")
def test_a_file_replaced_by_an_older_one_is_launched_exactly_once_again(watched: Watched) -> None:
    watched.put("drive.svo2", b"first")
    watched.tick(), watched.tick()
    watched.put("drive.svo2", b"other", age_s=86_400)
    assert [watched.tick() for _ in range(4)] == [[], ["drive"], [], []]
    assert [event.action for event in watched.workspace.catalog.audit.events("drive")] == ["recording.add", "recording.change"]
    assert len({run_key for run_key, _ in watched.launched}) == 2


@pytest.mark.requirement("AV-26")
def test_a_file_that_gets_its_former_content_back_is_launched_again(watched: Watched) -> None:
    for content in (b"first", b"other", b"first"):
        watched.put("drive.svo2", content)
        assert [watched.tick() for _ in range(3)] == [[], ["drive"], []]


@pytest.mark.requirement("AV-26")
def test_a_growing_file_is_not_touched_before_it_is_stable(watched: Watched) -> None:
    for size in range(1, 6):
        watched.put("drive.svo2", b"x" * size, age_s=3600)
        assert watched.tick() == []
    assert watched.workspace.catalog.recordings.all() == []
    assert [watched.tick() for _ in range(3)] == [["drive"], [], []]


@pytest.mark.requirement("AV-26")
def test_a_touched_file_of_the_same_content_is_no_work_and_looked_at_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    path = watched.put("drive.svo2")
    watched.tick(), watched.tick()
    os.utime(path)
    read: list[Path] = []
    digest = ingest.quick_digest
    monkeypatch.setattr(ingest, "quick_digest", lambda path: read.append(path) or digest(path))
    assert [watched.tick() for _ in range(4)] == [[]] * 4
    assert read == [path]


def test_two_files_of_one_stem_both_run_and_the_first_keeps_the_bare_key(watched: Watched) -> None:
    watched.put("a/drive.svo2", b"one")
    watched.put("b/drive.svo2", b"two")
    watched.tick()
    keys = watched.tick()
    assert keys[0] == "drive"
    assert keys[1] == f"drive-{watched.row(keys[1]).quick_digest[:8]}"
    assert [watched.tick() for _ in range(2)] == [[], []]


def test_a_moved_file_is_linked_again_and_not_launched(watched: Watched) -> None:
    path = watched.put("drive.svo2")
    watched.tick(), watched.tick()
    (watched.folder / "archive").mkdir()
    moved = path.rename(watched.folder / "archive" / "renamed.svo2")
    assert watched.tick() == []
    assert watched.row("drive").missing_since is not None
    assert [watched.tick() for _ in range(3)] == [[]] * 3
    row = watched.row("drive")
    assert (row.source_path, row.path, row.missing_since) == (str(moved), str(moved), None)
    assert len(watched.workspace.catalog.recordings.all()) == 1


def test_a_removed_file_is_noted_and_nothing_is_deleted(watched: Watched) -> None:
    path = watched.put("drive.svo2")
    watched.tick(), watched.tick()
    path.unlink()
    assert [watched.tick(), watched.tick()] == [[], []]
    assert watched.row("drive").missing_since is not None
    watched.put("drive.svo2")
    assert [watched.tick() for _ in range(3)] == [[]] * 3
    assert watched.row("drive").missing_since is None
    actions = [event.action for event in watched.workspace.catalog.audit.events("drive")]
    assert actions == ["recording.add", "recording.missing", "recording.found"]


def test_a_folder_that_is_not_there_removes_nothing(watched: Watched) -> None:
    watched.put("drive.svo2")
    watched.tick(), watched.tick()
    watched.folder.rename(watched.folder.with_name("unmounted"))
    assert watched.tick() == []
    assert "cannot be read" in watched.skipped
    assert watched.row("drive").missing_since is None


def test_an_unreadable_file_does_not_stop_the_others(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = watched.put("bad.svo2")
    watched.put("good.svo2", b"good")
    (watched.folder / "dangling.svo2").symlink_to("nothing")
    (watched.folder / os.fsdecode(b"not-utf8-\xff.svo2")).write_bytes(b"x")
    digest = ingest.quick_digest

    def refuse(path: Path) -> str:
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return digest(path)

    monkeypatch.setattr(ingest, "quick_digest", refuse)
    watched.tick()
    assert watched.tick() == ["good"]
    assert watched.tick() == []
    assert "3 cannot be read" in watched.skipped
    monkeypatch.setattr(ingest, "quick_digest", digest)
    assert [watched.tick(), watched.tick()] == [["bad"], []]


def put_many(watched: Watched, count: int) -> list[str]:
    """Keys of so many new files."""
    for number in range(count):
        (watched.folder / f"{number:05d}.svo2").write_bytes(b"%d" % number)
    return [f"{number:05d}" for number in range(count)]


def test_a_tick_on_five_thousand_new_files_looks_into_one_page_of_them(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = put_many(watched, 5_000)
    monkeypatch.setenv("LAMM_WATCH_BATCH", "60")
    opened: list[Path] = []
    digest = ingest.quick_digest
    monkeypatch.setattr(ingest, "quick_digest", lambda path: opened.append(path) or digest(path))
    assert [watched.tick() for _ in range(3)] == [[], keys[:60], keys[60:120]]
    assert len(opened) == 120
    assert len(str(watched.cursor)) < 20_000


@pytest.mark.requirement("AV-26")
@pytest.mark.parametrize(
    ("count", "batch"), [(500, 10), pytest.param(5_000, 100, marks=pytest.mark.stress)], ids=["five hundred", "five thousand"]
)
def test_all_of_many_new_files_are_taken_in_after_as_many_ticks_as_there_are_pages(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, count: int, batch: int
) -> None:
    keys = put_many(watched, count)
    monkeypatch.setenv("LAMM_WATCH_BATCH", str(batch))
    pages = [watched.tick() for _ in range(1 + count // batch)]
    assert pages == [[], *(keys[first : first + batch] for first in range(0, count, batch))]
    assert len({run_key for run_key, _ in watched.launched}) == count
    assert watched.workspace.catalog.recordings.all_keys() == sorted(watched.instance.get_dynamic_partitions("recordings"))
    assert [watched.tick(), watched.tick()] == [[], []]
    assert "0 files wait" in watched.skipped


def test_files_that_keep_failing_do_not_keep_the_others_waiting(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        watched.put(f"{number}.svo2", b"%d" % number)
    monkeypatch.setenv("LAMM_WATCH_BATCH", "2")
    digest = ingest.quick_digest

    def refuse(path: Path) -> str:
        if int(path.stem) < 4:
            raise PermissionError(13, "Permission denied", str(path))
        return digest(path)

    monkeypatch.setattr(ingest, "quick_digest", refuse)
    launched = [key for _ in range(8) for key in watched.tick()]
    assert launched == ["4", "5", "6", "7", "8"]


def test_a_tick_that_has_used_its_time_leaves_the_rest_to_the_next(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        watched.put(f"{number}.svo2", b"%d" % number)
    monkeypatch.setattr(watch, "BUDGET_S", -1.0)
    watched.tick()
    assert [watched.tick() for _ in range(4)] == [["0"], ["1"], ["2"], []]


def test_a_run_whose_request_was_lost_with_its_tick_is_asked_for_again(watched: Watched) -> None:
    watched.put("drive.svo2")
    watched.tick()
    before = watched.cursor
    assert watched.tick() == ["drive"]
    lost, watched.launched, watched.cursor = watched.launched, [], before
    assert watched.tick() == ["drive"]
    assert watched.launched == lost
    assert watched.tick() == []
    watched.cursor = None
    assert [watched.tick(), watched.tick()] == [[], []]


def test_watched_folders_need_no_source_dataset_and_the_root_is_never_watched(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    for path in (inbox / "a.svo2", watched.root / "prepared" / "b.svo2", watched.folder / "c.svo2"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    monkeypatch.setenv("LAMM_WATCH", os.pathsep.join([str(inbox), str(watched.root), str(watched.folder), str(tmp_path)]))
    watched.tick()
    assert watched.tick() == ["a", "c"]
    assert (watched.row("a").dataset_id, watched.row("c").dataset_id) == (None, watched.dataset.id)


def test_files_that_were_scanned_by_hand_are_not_launched_unless_they_change(watched: Watched) -> None:
    path = watched.put("drive.svo2")
    ingest.scan(watched.workspace.catalog, watched.dataset, watched.root, lambda _: 42, "ada")
    assert [watched.tick(), watched.tick()] == [[], []]
    path.write_bytes(b"recorded again")
    assert [watched.tick(), watched.tick()] == [[], ["drive"]]


@pytest.mark.parametrize("cursor", ["[]", "no json", '{"seen": 3}', '{"seen": {"a": [1]}}', "3"])
def test_a_cursor_that_is_not_ours_starts_over(cursor: str) -> None:
    assert watch.WatchState.from_cursor(cursor) == watch.WatchState()
