import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import drafts, local_store, s3_store
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.atomic import TEMPORARY, write_json
from lamm_pipeline.storage.checkout import checkout
from lamm_pipeline.storage.s3_bucket import Bucket
from lamm_pipeline.storage.verify import verify
from lamm_pipeline_tests.storage import places
from lamm_pipeline_tests.storage.places import Place, Store

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


def publish(store: Store, text: str, **changes: object) -> Artifact:
    return places.publish(store, KEY, identity(**changes), {"folder/a.txt": text})


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


@pytest.mark.parametrize("machine", ["one", "another"])
def test_a_published_artifact_is_found_current_and_write_protected(place: Place, machine: str) -> None:
    artifact = publish(place.open(), "hello")
    current = place.open(machine=machine).current(KEY)
    assert current is not None
    assert current.version == artifact.version
    assert current.file("folder/a.txt").read_text() == "hello"
    assert (current.folder / "folder" / "a.txt").read_text() == "hello"
    assert current.manifest.files["folder/a.txt"].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert current.manifest.identity == identity()
    assert current.counts == {"rows": 1}
    assert not current.file("folder/a.txt").stat().st_mode & 0o222
    assert place.open(machine=machine).run(current) == {"seconds": 1.0}
    assert place.open(machine=machine).all_keys() == [KEY]


def test_the_manifest_holds_nothing_that_changes_between_runs(place: Place) -> None:
    first, second = publish(place.open("a"), "hello"), publish(place.open("b"), "hello")
    assert places.manifest(place, "a", first) == places.manifest(place, "b", second)


@pytest.mark.requirement("NFR-10")
def test_nothing_is_visible_before_publishing(place: Place) -> None:
    store = place.open()
    with store.draft(KEY, "v") as draft:
        (draft.directory / "a.txt").write_text("half")
        draft.checkpoint({"done": 1})
    assert store.current(KEY) is None
    assert store.versions(KEY) == []
    assert place.published() == {}
    assert store.all_keys() == [KEY]
    with store.draft(KEY, "v") as draft:
        assert draft.state == {"done": 1}
    with store.draft(KEY, "v", restart=True) as draft:
        assert draft.state == {}
        assert not (draft.directory / "a.txt").exists()


def test_another_config_lands_beside_and_becomes_current(place: Place) -> None:
    store = place.open()
    first = publish(store, "one")
    if place.bucket is not None:
        time.sleep(1.1)  # S3 counts in seconds
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


def test_publishing_the_same_version_again_replaces_it(place: Place) -> None:
    store = place.open()
    publish(store, "one")
    before = place.published()
    publish(store, "one")
    assert len(store.versions(KEY)) == 1
    assert place.published() == before
    assert not [path for path in place.folder.rglob("*") if path.suffix in {".partial", ".replaced"}]


def test_two_writers_of_one_version_take_turns(place: Place) -> None:
    store = place.open()
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with place.open().draft(KEY, "v"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.draft(KEY, "v"):
        inside.set()
        thread.join(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_file_that_is_not_in_the_artifact_is_refused_by_name(place: Place) -> None:
    with pytest.raises(InputError, match=r"nothing\.txt"):
        publish(place.open(), "x").file("nothing.txt")


def test_hard_links_into_a_published_artifact_stay_write_protected(place: Place) -> None:
    artifact = publish(place.open(), "x")
    link = place.folder / "export.txt"
    os.link(artifact.file("folder/a.txt"), link)
    assert not link.stat().st_mode & 0o222


def test_a_checkout_has_all_files_wherever_they_were(place: Place) -> None:
    publish(place.open(), "x")
    artifact = place.open(machine="another").current(KEY)
    assert artifact is not None
    made = checkout([artifact], place.folder / "out")
    assert (made.copied, made.linked) == (1, 0)
    assert (place.folder / "out" / "folder" / "a.txt").read_text() == "x"


def test_verifying_finds_what_was_changed_removed_or_added_behind_our_back(place: Place) -> None:
    store = place.open()
    files = {"changed.txt": "abc", "shorter.txt": "abc", "gone.txt": "abc", "good.txt": "abc"}
    artifact = places.publish(store, KEY, identity(), files)
    assert verify(store).damage == ()
    assert verify(store).files == 4
    _put(place, artifact, "changed.txt", b"abd")
    _put(place, artifact, "shorter.txt", b"ab")
    _put(place, artifact, "gone.txt", None)
    _put(place, artifact, "foreign.txt", b"x")
    found = {each.file: each.problem for each in verify(store).damage}
    assert found == {
        "changed.txt": "has another content",
        "shorter.txt": "has 2 bytes instead of 3",
        "gone.txt": "is missing",
        "foreign.txt": "was not published with it",
    }


def test_a_forced_run_mends_what_was_damaged(place: Place) -> None:
    store = place.open()
    artifact = publish(store, "abc")
    _put(place, artifact, "folder/a.txt", b"abd")
    assert len(verify(store).damage) == 1
    publish(store, "abc")
    assert verify(store).damage == ()


def _put(place: Place, artifact: Artifact, name: str, content: bytes | None) -> None:
    """Change, add or remove (None) a published file."""
    if place.bucket is not None:
        target = place.bucket.Object(f"{artifact.location.removeprefix(f's3://{place.bucket.name}/')}/{name}")
        _ = target.delete() if content is None else target.put(Body=content)
        return
    path = artifact.folder / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


class Killed(BaseException):
    """What a kill does: nothing runs after it but what other processes do later."""


def work(store: Store, computed: list[int], *, force: bool = False) -> None:
    """A stage of six rows with a checkpoint after the third, run the way `produce` runs it; notes the rows it computes."""
    which = identity()
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


def steps_until(death: int, patch: pytest.MonkeyPatch) -> "itertools.count[int]":
    """From now on count the steps that matter to a kill, one at a time; from the one numbered `death` on nothing works any more."""
    steps = itertools.count()

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def step_or_die(*args: Any, **kwargs: Any) -> Any:
            if next(steps) >= death:
                raise Killed
            return function(*args, **kwargs)

        return step_or_die

    patch.setattr(drafts, "default_workers", lambda: 1)
    patch.setattr(s3_store, "PARALLEL_FILES", 1)
    patch.setattr(drafts, "_seal", dying(drafts._seal))
    patch.setattr(drafts, "fsync_folder", dying(drafts.fsync_folder))
    patch.setattr(local_store, "write_json", dying(local_store.write_json))
    patch.setattr(drafts.shutil, "rmtree", dying(drafts.shutil.rmtree))
    patch.setattr(Path, "rename", dying(Path.rename))
    for name in ("read", "write", "upload", "copy", "below"):
        patch.setattr(Bucket, name, dying(getattr(Bucket, name)))
    return steps


@pytest.mark.requirement("NFR-10", "AV-21")
@pytest.mark.parametrize("force", [False, True], ids=["new", "forced"])
def test_a_kill_at_any_step_of_publishing_shows_no_half_artifact_and_the_next_run_ends_as_if_undisturbed(
    place: Place, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    work(place.open("undisturbed"), [])
    with monkeypatch.context() as patch:
        counted = steps_until(10**6, patch)
        work(place.open("undisturbed"), [], force=True)
    total = next(counted)
    assert total > 15
    for step in range(total):
        name = f"cut{step:02d}"
        if force:
            work(place.open(name), [])
        before: list[int] = []
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            steps_until(step, patch)
            work(place.open(name), before, force=force)
        store = place.open(name)
        visible = store.current(KEY)
        assert visible is not None or not force or place.bucket is None  # a rename leaves a moment without
        assert set(store.versions(KEY)) <= {identity().version}
        assert visible is None or verify(store).damage == (), step
        computed: list[int] = []
        work(store, computed)
        assert computed in ([], [3, 4, 5]) or not before, step
        with store.draft(KEY, identity().version):
            pass
        store.drop_drafts(KEY)
        assert _relative(place.published(name)) == _relative(place.published("undisturbed")), step


def _relative(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name[name.index("recordings/") :]: content for name, content in files.items()}


def test_files_that_a_killed_publication_has_protected_can_be_written_again_but_not_what_they_link_to(place: Place) -> None:
    store = place.open()
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


def test_a_checkpoint_whose_files_are_gone_is_not_believed(place: Place) -> None:
    store = place.open()
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
