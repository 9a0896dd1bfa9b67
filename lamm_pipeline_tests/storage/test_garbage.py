import os
import time
from pathlib import PurePosixPath

import pytest

from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.garbage import find_garbage, remove_garbage
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline_tests.storage import places
from lamm_pipeline_tests.storage.places import Place, Store

FRAMES = ArtifactKey("recordings", "drive", "frames")
BOXES = ArtifactKey("recordings", "drive", "boxes")
DAYS = 7.0


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


def publish(store: Store, key: ArtifactKey, config: int, inputs: dict[str, str] | None = None) -> Artifact:
    identity = Identity(key.asset, "1", {"value": config}, inputs or {}, {})
    return places.publish(store, key, identity, {"a.txt": f"{key.asset} {config}"})


def age(store: Store) -> float:
    """Days after which abandoned things can go. In a bucket this counts for versions too, and nothing here is older than seconds."""
    if isinstance(store, LocalStore):
        return DAYS
    time.sleep(1.1)
    return 0.0


def removable(store: Store, pinned: dict[ArtifactKey, frozenset[str]] | None = None, days: float | None = None) -> set[str]:
    found = find_garbage(store, pinned or {}, draft_days=age(store) if days is None else days)
    return {PurePosixPath(each.place).name for each in found.garbage if not each.place.endswith(".lock") and "copy" not in each.reason}


def test_only_a_version_that_is_neither_in_force_nor_pinned_nor_made_use_of_can_go(store: Store) -> None:
    used, pinned, forgotten, current = (publish(store, FRAMES, config) for config in range(4))
    publish(store, BOXES, 0, {"frames": used.version})
    assert removable(store, {FRAMES: frozenset({pinned.version})}) == {forgotten.version}
    assert removable(store) == {pinned.version, forgotten.version}
    remove_garbage(store, {FRAMES: frozenset({pinned.version})}, draft_days=age(store))
    assert set(store.versions(FRAMES)) == {used.version, pinned.version, current.version}


def test_what_a_pinned_version_was_made_from_stays(store: Store) -> None:
    frames = publish(store, FRAMES, 0)
    boxes = publish(store, BOXES, 0, {"frames": frames.version})
    newer = publish(store, FRAMES, 1)
    publish(store, BOXES, 1, {"frames": newer.version})
    assert removable(store) == {frames.version, boxes.version}
    assert removable(store, {BOXES: frozenset({boxes.version})}) == set()


def test_a_draft_stays_until_nobody_has_touched_it_for_days(store: Store) -> None:
    with store.draft(FRAMES, "unfinished") as draft:
        draft.checkpoint({"done": 3})
    partial = store.root / FRAMES.path / "unfinished.partial"
    assert removable(store, days=DAYS) == set()
    for path in [partial, *partial.iterdir()]:
        os.utime(path, (0, 0))
    assert removable(store, days=DAYS) == {"unfinished.partial"}
    remove_garbage(store, {}, draft_days=DAYS)
    assert list((store.root / FRAMES.path).iterdir()) == []


def test_a_partition_in_which_a_run_writes_is_left_alone(store: Store) -> None:
    publish(store, FRAMES, 0)
    publish(store, FRAMES, 1)
    with store.draft(BOXES, "in the making"):
        found = remove_garbage(store, {}, draft_days=0)
    assert found.garbage == ()
    assert found.busy == ("recordings/drive",)
    assert len(store.versions(FRAMES)) == 2


def test_a_removal_that_was_cut_off_is_finished_by_the_next_one(store: Store, place: Place) -> None:
    old = publish(store, FRAMES, 0)
    publish(store, FRAMES, 1)
    if place.bucket is None:
        (old.folder / "manifest.json").unlink()
    else:
        place.bucket.Object(f"store/{FRAMES.path}/{old.version}/manifest.json").delete()
    assert removable(store) == {old.version}


def test_a_lock_file_that_was_removed_while_somebody_waited_is_not_trusted(store: Store) -> None:
    with store.draft(FRAMES, "v"):
        lock = store.root / FRAMES.path / ".v.lock"
        lock.unlink()
        with store.draft(FRAMES, "v"):  # takes the new file; it would wait for ever on the old one
            assert lock.exists()


def test_dropping_drafts_spares_the_one_that_is_being_written(store: Store) -> None:
    with store.draft(FRAMES, "left") as draft:
        draft.checkpoint({"done": 1})
    with store.draft(FRAMES, "busy"):
        assert store.drop_drafts(FRAMES) == ["left"]
    assert store.drop_drafts(FRAMES) == ["busy"]


def test_an_artifact_that_is_removed_leaves_nothing_and_others_stay(place: Place, store: Store) -> None:
    first, kept = publish(store, FRAMES, 1), publish(store, BOXES, 1)
    publish(store, FRAMES, 2)
    assert first.file("a.txt").read_text() == "frames 1"
    assert store.remove(FRAMES) > 0
    assert (store.current(FRAMES), store.current_version(FRAMES), store.versions(FRAMES)) == (None, None, [])
    assert not [name for name in place.published() if "/frames/" in name]
    assert FRAMES not in place.open().all_keys()
    assert store.current(BOXES) is not None
    assert kept.file("a.txt").read_text() == "boxes 1"
