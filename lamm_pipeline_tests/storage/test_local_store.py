import hashlib
import os
import threading
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
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
