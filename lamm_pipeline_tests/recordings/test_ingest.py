from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import MAX_SLUG, Prepare, add_files, find_recordings, quick_digest, recording_slug, scan


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
    assert catalog.recording("drive").path == str(moved)


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
    dataset = catalog.add_dataset("night", tmp_path / "in", mode, "ada")
    added = scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")
    row = catalog.recording(added[0].key)
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
        assert prepared == tmp_path / "root" / "prepared" / "night" / "SN42" / "day 1_a.svo2"
    assert [again.status for again in scan(catalog, dataset, tmp_path / "root", lambda _: 42, "ada")] == ["unchanged"]
