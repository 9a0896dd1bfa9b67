from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import MAX_SLUG, Prepare, add_files, find_recordings, recording_slug, scan
from lamm_pipeline.storage.atomic import quick_digest


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")


def recording(path: Path, content: bytes = b"svo2") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@given(st.text(max_size=300))
def test_a_slug_is_always_a_safe_partition_key(stem: str) -> None:
    slug = recording_slug(stem)
    assert 0 < len(slug) <= MAX_SLUG
    assert slug.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert slug.isascii()
    assert ".." not in slug
    assert recording_slug(slug) == slug


def test_the_first_holder_of_a_stem_keeps_the_bare_key(catalog: Catalog, tmp_path: Path) -> None:
    first = add_files(catalog, [recording(tmp_path / "a" / "drive 1, früh.svo2", b"one")], "ada")[0]
    second = add_files(catalog, [recording(tmp_path / "b" / "drive 1, früh.svo2", b"two")], "ada")[0]
    assert first.key == "drive_1_fruh"
    assert second.key == f"drive_1_fruh-{quick_digest(tmp_path / 'b' / 'drive 1, früh.svo2')[:8]}"


@pytest.mark.requirement("ING-01")
def test_picked_files_are_taken_in_once_and_followed_when_they_change_or_move(catalog: Catalog, tmp_path: Path) -> None:
    path = recording(tmp_path / "drive.svo2")
    assert add_files(catalog, [path], "ada")[0].status == "added"
    assert add_files(catalog, [path], "ada")[0].status == "unchanged"
    recording(path, b"recorded again")
    assert add_files(catalog, [path], "ada")[0].status == "changed"
    moved = tmp_path / "elsewhere.svo2"
    path.rename(moved)
    again = add_files(catalog, [moved], "ada")[0]
    assert (again.status, again.key) == ("moved", "drive")
    assert catalog.recordings.get("drive").path == str(moved)


def test_a_copy_of_a_recording_that_is_still_there_gets_a_key_of_its_own(catalog: Catalog, tmp_path: Path) -> None:
    keys = [added.key for added in add_files(catalog, [recording(tmp_path / "a.svo2"), recording(tmp_path / "b.svo2")], "ada")]
    assert keys == ["a", "b"]


def test_a_missing_file_is_refused_by_name(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.svo2 does not exist"):
        add_files(catalog, [tmp_path / "nothing.svo2"], "ada")


@pytest.mark.requirement("ING-06")
def test_a_folder_is_scanned_recursively(tmp_path: Path) -> None:
    wanted = [recording(tmp_path / "a.svo2"), recording(tmp_path / "deep" / "er" / "b.SVO2")]
    recording(tmp_path / "notes.txt")
    assert list(find_recordings(tmp_path)) == wanted
    with pytest.raises(InputError, match="no folder"):
        list(find_recordings(tmp_path / "gone"))


@pytest.mark.requirement("ING-08", "ING-09", "ING-11")
@pytest.mark.parametrize("mode", list(Prepare))
def test_a_scanned_dataset_is_prepared_as_asked_and_linked_to_its_recordings(catalog: Catalog, tmp_path: Path, mode: Prepare) -> None:
    source = recording(tmp_path / "in" / "day 1" / "a.svo2")
    dataset = catalog.source_datasets.add("night", tmp_path / "in", mode, "ada")
    added = scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")
    row = catalog.recordings.get(added[0].key)
    assert row.dataset_id == dataset.id
    prepared = Path(row.path)
    assert prepared.read_bytes() == b"svo2"
    expected = {
        Prepare.reference: prepared == source,
        Prepare.hardlink: prepared.samefile(source) and not prepared.is_symlink(),
        Prepare.symlink: prepared.is_symlink(),
        Prepare.copy: not prepared.samefile(source),
    }
    assert expected[mode]
    if mode is not Prepare.reference:
        assert prepared == tmp_path / "root" / "prepared" / "night" / "SN42" / "day 1" / "a.svo2"
    assert [again.status for again in scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")] == ["unchanged"]


def test_a_relative_path_means_another_file_in_another_folder(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        recording(tmp_path / folder / "drive.svo2", folder.encode())
        monkeypatch.chdir(tmp_path / folder)
        assert add_files(catalog, [Path("drive.svo2")], "ada")[0].status == "added"
    assert sorted(row.path for row in catalog.recordings.all()) == [str(tmp_path / "a" / "drive.svo2"), str(tmp_path / "b" / "drive.svo2")]


def test_files_of_one_stem_added_by_many_at_once_all_get_a_key(catalog: Catalog, tmp_path: Path) -> None:
    files = [recording(tmp_path / str(n) / "drive.svo2", b"content %d" % n) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        added = list(pool.map(lambda path: add_files(catalog, [path], "ada")[0], files))
    assert len({each.key for each in added}) == 12
    assert {row.path for row in catalog.recordings.all()} == {str(path) for path in files}


def test_one_file_added_by_many_at_once_is_one_recording(catalog: Catalog, tmp_path: Path) -> None:
    path = recording(tmp_path / "drive.svo2")
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: add_files(catalog, [path], "ada")[0], range(8)))
    assert {each.key for each in added} == {"drive"}
    assert sorted(each.status for each in added) == ["added"] + ["unchanged"] * 7


def test_who_added_a_recording_stays_known_when_another_person_moves_it(catalog: Catalog, tmp_path: Path) -> None:
    path = recording(tmp_path / "drive.svo2")
    add_files(catalog, [path], "ada")
    stat = path.stat()
    catalog.recordings.set_digest("drive", "d" * 64, stat.st_size, stat.st_mtime_ns)
    path.rename(tmp_path / "moved.svo2")
    add_files(catalog, [tmp_path / "moved.svo2"], "bob")
    row = catalog.recordings.get("drive")
    assert (row.added_by, row.digest, row.mtime_ns) == ("ada", "d" * 64, stat.st_mtime_ns)
    recording(tmp_path / "moved.svo2", b"recorded again")
    add_files(catalog, [tmp_path / "moved.svo2"], "eve")
    assert catalog.recordings.get("drive").digest is None
    assert [(event.actor, event.action) for event in catalog.audit.events("drive")] == [
        ("ada", "recording.add"),
        ("bob", "recording.move"),
        ("eve", "recording.change"),
    ]


@pytest.mark.requirement("ING-08")
def test_files_whose_paths_look_alike_stay_apart_when_prepared(catalog: Catalog, tmp_path: Path) -> None:
    recording(tmp_path / "in" / "day" / "1.svo2", b"one")
    recording(tmp_path / "in" / "day_1.svo2", b"two")
    dataset = catalog.source_datasets.add("night", tmp_path / "in", "copy", "ada")
    added = scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")
    assert sorted(Path(catalog.recordings.get(each.key).path).read_bytes() for each in added) == [b"one", b"two"]


@pytest.mark.requirement("ING-08")
@pytest.mark.parametrize("mode", [Prepare.hardlink, Prepare.symlink, Prepare.copy])
def test_a_prepared_recording_brings_its_calibration_along(catalog: Catalog, tmp_path: Path, mode: Prepare) -> None:
    recording(tmp_path / "in" / "a.svo2")
    conf = recording(tmp_path / "in" / "SN42.conf", b"[LEFT_CAM]")
    dataset = catalog.source_datasets.add("night", tmp_path / "in", mode, "ada")
    prepared = scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")[0].path
    assert prepared.with_name("SN42.conf").read_bytes() == b"[LEFT_CAM]"
    conf.write_bytes(b"[RIGHT_CAM]")
    scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")
    assert prepared.with_name("SN42.conf").read_bytes() == b"[RIGHT_CAM]"


def test_a_root_inside_the_scanned_folder_is_not_scanned(catalog: Catalog, tmp_path: Path) -> None:
    recording(tmp_path / "a.svo2")
    dataset = catalog.source_datasets.add("night", tmp_path, "hardlink", "ada")
    for _ in range(3):
        assert len(scan(catalog, dataset, tmp_path / "lamm-data", lambda _: 42, "ada")) == 1
    assert catalog.recordings.all_keys() == ["a"]
