import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import local_store
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.atomic import TEMPORARY, write_json
from lamm_pipeline.storage.local_store import LocalStore

KEY = ArtifactKey("recordings", "drive", "frames")


def identity(**changes: object) -> Identity:
    values: dict[str, object] = {
        "asset": "frames",
        "code_version": "1",
        "config": {"skip": 1},
        "inputs": {"recording": "aa"},
        "files": {"calibration": "bb"},
    }
    return Identity(**{**values, **changes})  # type: ignore[arg-type]


def publish(store: LocalStore, text: str, **changes: object) -> Artifact:
    which = identity(**changes)
    with store.draft(KEY, which.version) as draft:
        (draft.directory / "folder").mkdir(exist_ok=True)
        (draft.directory / "folder" / "a.txt").write_text(text)
        return store.publish(KEY, draft, which, {"rows": 1}, {"seconds": 1.0})


@pytest.mark.requirement("NFR-09", "NFR-14")
def test_the_version_depends_on_everything_that_decides_the_content() -> None:
    versions = {
        identity().version,
        identity(code_version="2").version,
        identity(config={"skip": 2}).version,
        identity(inputs={"recording": "ab"}).version,
        identity(files={"calibration": "bc"}).version,
        identity(asset="detections").version,
    }
    assert len(versions) == 6
    assert identity(config={"a": 1, "b": 2}).version == identity(config={"b": 2, "a": 1}).version


def test_a_published_artifact_is_found_current_and_write_protected(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    artifact = publish(store, "hello")
    current = store.current(KEY)
    assert current is not None
    assert current.version == artifact.version
    assert current.file("folder/a.txt").read_text() == "hello"
    assert current.manifest.files["folder/a.txt"].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert current.manifest.identity == identity()
    assert not current.file("folder/a.txt").stat().st_mode & 0o222


def test_the_manifest_holds_nothing_that_changes_between_runs(tmp_path: Path) -> None:
    first = publish(LocalStore(tmp_path / "a"), "hello").folder
    second = publish(LocalStore(tmp_path / "b"), "hello").folder
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


@pytest.mark.requirement("NFR-10")
def test_nothing_is_visible_before_publishing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store.draft(KEY, "v") as draft:
        (draft.directory / "a.txt").write_text("half")
        draft.checkpoint({"done": 1})
    assert store.current(KEY) is None
    assert store.versions(KEY) == []
    with store.draft(KEY, "v") as draft:
        assert draft.state == {"done": 1}
    with store.draft(KEY, "v", restart=True) as draft:
        assert draft.state == {}
        assert not (draft.directory / "a.txt").exists()


def test_another_config_lands_beside_and_becomes_current(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first = publish(store, "one")
    second = publish(store, "two", config={"skip": 2})
    assert store.versions(KEY) == [first.version, second.version]
    current = store.current(KEY)
    assert current is not None
    assert current.version == second.version
    found = store.find(KEY, first.version)
    assert found is not None
    store.make_current(found)
    current = store.current(KEY)
    assert current is not None
    assert current.version == first.version


def test_publishing_the_same_version_again_replaces_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    publish(store, "one")
    publish(store, "one")
    assert len(store.versions(KEY)) == 1
    assert not list((tmp_path / KEY.path).glob("*.partial"))


def test_two_writers_of_one_version_take_turns(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with LocalStore(tmp_path).draft(KEY, "v"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.draft(KEY, "v"):
        inside.set()
        thread.join(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_file_that_is_not_in_the_artifact_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.txt"):
        publish(LocalStore(tmp_path), "x").file("nothing.txt")


def test_hard_links_into_a_published_artifact_stay_write_protected(tmp_path: Path) -> None:
    artifact = publish(LocalStore(tmp_path), "x")
    link = tmp_path / "export.txt"
    os.link(artifact.file("folder/a.txt"), link)
    assert not link.stat().st_mode & 0o222


class Killed(BaseException):
    """What a kill does: nothing runs after it but what other processes do later."""


def work(store: LocalStore, *, force: bool = False) -> list[int]:
    """A stage of six rows with a checkpoint after the third, run the way `produce` runs it; returns the rows it computed."""
    which, computed = identity(), []
    if store.find(KEY, which.version) is None or force:
        with store.draft(KEY, which.version, restart=force) as draft:
            if store.find(KEY, which.version) is None or force:
                log = draft.log("rows.jsonl")
                for row in range(int(draft.state.get("done", 0)), 6):
                    (draft.directory / f"{row}.txt").write_text(f"row {row}")
                    log.append({"row": row})
                    computed.append(row)
                    if row == 2:
                        draft.checkpoint({"done": 3})
                (draft.directory / "all.json").write_text(json.dumps(list(log)))
                store.publish(KEY, draft, which, {"rows": 6}, {})
    found = store.find(KEY, which.version)
    assert found is not None
    store.make_current(found)
    return computed


def tree(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.endswith(".lock")}


@pytest.mark.requirement("NFR-10", "AV-21")
@pytest.mark.parametrize("force", [False, True], ids=["new", "forced"])
@pytest.mark.parametrize("step", range(17))
def test_a_kill_at_any_step_of_publishing_shows_no_half_artifact_and_the_next_run_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, force: bool
) -> None:
    work(LocalStore(tmp_path / "undisturbed"))
    store = LocalStore(tmp_path / "cut")
    if force:
        work(store)
    steps = itertools.count()

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def step_or_die(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return function(*args, **kwargs)

        return step_or_die

    with monkeypatch.context() as patch:
        patch.setattr(local_store, "default_workers", lambda: 1)
        patch.setattr(local_store, "_seal", dying(local_store._seal))
        patch.setattr(local_store, "write_json", dying(local_store.write_json))
        patch.setattr(local_store.shutil, "rmtree", dying(local_store.shutil.rmtree))
        patch.setattr(local_store, "fsync_folder", dying(local_store.fsync_folder))
        patch.setattr(Path, "rename", dying(Path.rename))
        with contextlib.suppress(Killed):
            work(store, force=force)
    visible = store.current(KEY)
    if visible is not None:
        assert all(visible.file(name).stat().st_size == entry.size for name, entry in visible.manifest.files.items())
    assert set(store.versions(KEY)) <= {identity().version}
    computed = work(store)
    assert computed in ([], [3, 4, 5]) or step == 0  # step 0 comes before any work
    with store.draft(KEY, identity().version):
        pass
    shutil.rmtree(tmp_path / "cut" / KEY.path / f"{identity().version}.partial")
    assert tree(tmp_path / "cut") == tree(tmp_path / "undisturbed")


def test_files_that_a_killed_publication_has_protected_can_be_written_again_but_not_what_they_link_to(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    source = publish(store, "hello").file("folder/a.txt")
    with store.draft(KEY, "next") as draft:
        (draft.directory / "own.txt").write_text("x")
        os.link(source, draft.directory / "linked.txt")
        (draft.directory / "own.txt").chmod(0o444)
        (draft.directory / "manifest.json").write_text("{}")
        atomic_leftover = draft.directory / f".0123{TEMPORARY}"
        atomic_leftover.write_text("half")
    with store.draft(KEY, "next") as draft:
        assert (draft.directory / "own.txt").stat().st_mode & 0o200
        assert not source.stat().st_mode & 0o222
        assert sorted(path.name for path in draft.directory.iterdir()) == ["linked.txt", "own.txt"]


def test_a_checkpoint_whose_files_are_gone_is_not_believed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store.draft(KEY, "v") as draft:
        draft.checkpoint({"done": 3})
        shutil.rmtree(draft.directory)
    with store.draft(KEY, "v") as draft:
        assert draft.state == {}


def test_a_file_can_be_replaced_by_many_threads_at_once(tmp_path: Path) -> None:
    path = tmp_path / "current.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_json(path, {"version": str(n)}), range(200)))
    assert int(json.loads(path.read_text())["version"]) in range(200)
    assert [each.name for each in tmp_path.iterdir()] == ["current.json"]
