from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.datasets import creation
from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.creation import create_dataset_version
from lamm_pipeline.datasets.deletion import delete_version
from lamm_pipeline.datasets.settings import DatasetSettings, FilterSettings
from lamm_pipeline.datasets.versions import PreviousSplit, VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline_tests.datasets.world import ONTOLOGY


class House:
    """A root with one recording, of which every stage has published something small."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = LocalStore(root)
        self.catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
        self.file = root / "in" / "drive.svo2"
        self.record(b"svo2")
        self.run()

    def record(self, content: bytes) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(content)
        self.add(self.file)

    def add(self, path: Path) -> None:
        add_files(self.catalog, [path], "ada")

    def digest(self, digest: str) -> None:
        stat = self.file.stat()
        self.catalog.recordings.set_digest("drive", digest, stat.st_size, stat.st_mtime_ns)

    def run(self, digest: str = "file-1") -> None:
        self.digest(digest)
        self.publish("recording", files={"recording": digest})
        for asset, needs in (("frames", ["recording"]), ("detections", ["frames"]), ("boxes_3d", ["frames", "detections"])):
            self.publish(asset, needs=needs)
        self.publish("tracks", needs=["boxes_3d"])

    def publish(
        self, asset: str, config: dict[str, Any] | None = None, needs: list[str] | None = None, files: dict[str, str] | None = None
    ) -> None:
        inputs = {name: self.current(name).version for name in needs or []}
        identity = Identity(asset, "1", config or {}, inputs, files or {})
        with self.store.draft(ArtifactKey("recordings", "drive", asset), identity.version) as draft:
            self.store.publish(ArtifactKey("recordings", "drive", asset), draft, identity, {}, {})

    def current(self, asset: str) -> Artifact:
        found = self.store.current(ArtifactKey("recordings", "drive", asset))
        assert found is not None
        return found

    def publish_of(self, scope: str, partition: str, asset: str, counts: dict[str, Any] | None = None) -> None:
        identity = Identity(asset, "1", {"partition": partition}, {}, {})
        with self.store.draft(ArtifactKey(scope, partition, asset), identity.version) as draft:
            self.store.publish(ArtifactKey(scope, partition, asset), draft, identity, counts or {}, {})

    def publish_import(self, key: str, recording: str, extra_classes: list[str]) -> None:
        source = {"path": f"/data/{key}.zip", "digest": f"sha256-of-{key}", "size": 10}
        counts = {"recording": recording, "extra_classes": extra_classes, "source": source}
        self.publish_of("annotation_exports", key, "annotation_export", counts)

    def create(
        self, settings: DatasetSettings | None = None, recordings: Sequence[str] = (), **options: Any
    ) -> tuple[VersionManifest, bool]:
        wanted = settings or DatasetSettings()
        return create_dataset_version(
            self.root, self.store, self.catalog, ONTOLOGY, "night", recordings, wanted, actor="ada", title="Night", **options
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.requirement("NFR-09", "DSB-05")
def test_a_version_pins_what_is_in_force_and_is_made_once(house: House) -> None:
    version, new = house.create()
    assert new
    pinned = version.recordings[0]
    made = {name: house.current(name).version for name in ("frames", "detections", "boxes_3d", "tracks")}
    assert pinned.artifacts.model_dump() == made | {"diversity_metrics": None, "selection": None}
    assert (pinned.source.digest, pinned.source.path) == ("file-1", str(house.file))
    assert house.create() == (version, False)
    other, new = house.create(DatasetSettings(filters=FilterSettings(min_score=0.5)))
    assert (other.key, new) == ("night.v2", True)
    assert [row.key for row in house.catalog.versions.all("night")] == ["night.v1", "night.v2"]


@pytest.mark.parametrize(
    ("asset", "needs", "stale"),
    [
        ("frames", ["recording"], "detections"),
        ("detections", ["frames"], "boxes_3d"),
        ("boxes_3d", ["frames", "detections"], "tracks"),
    ],
)
def test_stages_that_were_not_made_from_each_other_are_not_mixed(house: House, asset: str, needs: list[str], stale: str) -> None:
    house.publish(asset, {"other": True}, needs=needs)
    with pytest.raises(InputError, match=rf"The {stale} of recording 'drive' were made from other {asset}.*lamm run drive"):
        house.create()
    assert house.catalog.versions.all("night") == []


def test_a_recording_whose_file_has_changed_since_is_refused_until_it_is_run_again(house: House) -> None:
    house.record(b"recorded again")
    with pytest.raises(InputError, match=r"drive\.svo2\) has changed since its frames were extracted"):
        house.create()
    house.digest("file-2")
    with pytest.raises(InputError, match="has changed since"):
        house.create()
    house.run("file-2")
    assert house.create()[0].recordings[0].source.digest == "file-2"


def test_moving_the_file_of_a_recording_makes_no_new_version(house: House) -> None:
    version, _ = house.create()
    moved = house.file.with_name("moved.svo2")
    house.file.rename(moved)
    house.add(moved)
    assert house.create() == (version, False)


def test_a_version_whose_creator_was_killed_before_the_catalog_knew_it_is_taken_up_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(creation, "_remember", die)
        with pytest.raises(Killed):
            house.create()
    assert house.catalog.versions.all("night") == []
    version, new = house.create()
    assert (version.key, new) == ("night.v1", False)
    row = house.catalog.versions.get("night.v1")
    assert (row.title, row.created_by) == ("Night", "ada")


def grown(house: House, **settings: Any) -> VersionManifest:
    """The next version, divided."""
    version, new = house.create(DatasetSettings(filters=FilterSettings(**settings)))
    assert new
    house.publish_of("datasets", version.key, "splits")
    return version


@pytest.mark.requirement("PIP-03", "AV-09")
def test_a_version_keeps_the_split_of_the_one_before_unless_a_new_one_is_asked_for(house: House) -> None:
    first = grown(house, min_score=0.1)
    assert first.previous_split is None
    second = grown(house, min_score=0.2)
    split = house.store.current_version(ArtifactKey("datasets", first.key, "splits"))
    assert second.previous_split == PreviousSplit(version="night.v1", artifact=str(split))
    same = DatasetSettings(filters=FilterSettings(min_score=0.2))
    assert house.create(same) == (second, False)
    anew, new = house.create(same, resplit=True)
    assert (new, anew.key, anew.previous_split) == (True, "night.v3", None)
    assert house.create(same, resplit=True) == (anew, False)
    assert house.create(same) == (anew, False)


def test_a_version_whose_split_a_later_one_has_still_to_read_is_not_deleted(house: House) -> None:
    first = grown(house, min_score=0.1)
    second, _ = house.create(DatasetSettings(filters=FilterSettings(min_score=0.2)))
    with pytest.raises(InputError, match=r"The frames of night\.v2 are to stay where night\.v1 has put them"):
        delete_version(house.root, house.store, house.catalog, first.key, "ada")
    house.publish_of("datasets", second.key, "splits")
    delete_version(house.root, house.store, house.catalog, first.key, "ada")


@pytest.mark.requirement("PIP-03")
def test_imports_are_pinned_in_the_order_they_are_named_and_their_labels_keep_their_numbers(house: House) -> None:
    house.publish_import("b", "street", ["zebra", "yak", "car"])
    house.publish_import("a", "yard", ["ant"])
    first, _ = house.create(imports=["b"])
    assert (first.recordings, first.extra_classes) == ((), ("yak", "zebra"))
    second, _ = house.create(imports=["b", "a", "b"], recordings=["drive"])
    assert [(each.key, each.recording) for each in second.imports] == [("b", "street"), ("a", "yard")]
    assert ([each.recording for each in second.recordings], second.members) == (["drive"], ["drive", "street", "yard"])
    assert second.extra_classes == ("yak", "zebra", "ant")
    assert version_classes(second, ONTOLOGY).all[-3:][0].category_id == version_classes(first, ONTOLOGY).all[-2:][0].category_id


def test_an_import_that_there_is_not_is_a_sentence(house: House) -> None:
    with pytest.raises(InputError, match="There is no import 'street'"):
        house.create(imports=["street"])


@pytest.mark.parametrize("missing", ["frames", "detections"])
def test_a_recording_without_frames_or_detections_is_refused_by_name(house: House, missing: str) -> None:
    (house.root / "recordings" / "drive" / missing / "current.json").unlink()
    with pytest.raises(InputError, match=f"'drive' has no {missing} yet"):
        create_dataset_version(house.root, house.store, house.catalog, ONTOLOGY, "night", ["drive"], DatasetSettings(), actor="ada")
