"""A ZIP that is made while it is sent is read by others, and is as long as was said."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.storage.zip_stream import CHUNK, ZipEntry, zip_bytes, zip_length

FILES = {
    "coco/train/annotations.json": b'{"images": []}',
    "coco/train/images/000000.jpg": bytes(range(256)) * (5 * CHUNK // 512),
    "coco/empty.txt": b"",
    "coco/gr\u00f6\u00dfe.txt": b"a name beyond ASCII",
}


def entries(folder: Path, files: Mapping[str, bytes] = FILES) -> list[ZipEntry]:
    found = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / str(number)
        path.write_bytes(content)
        found.append(ZipEntry(name, len(content), lambda path=path: path))  # type: ignore[misc]
    return found


def read(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.requirement("EXP-09")
def test_zipfile_reads_every_file_as_it_was(tmp_path: Path) -> None:
    listed = entries(tmp_path)
    content = b"".join(zip_bytes(listed))
    assert read(content) == FILES
    assert len(content) == zip_length(listed)
    assert b"".join(zip_bytes(listed)) == content


@pytest.mark.requirement("EXP-09")
@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(b"".join(zip_bytes(entries(tmp_path))))
    told = subprocess.run(["unzip", "-t", str(tmp_path / "all.zip")], capture_output=True, text=True, check=True)
    assert "No errors detected" in told.stdout


@given(sizes=st.lists(st.integers(0, 3000), max_size=12), size_limit=st.integers(50, 4000), count_limit=st.integers(0, 12))
def test_its_length_is_known_before_also_where_zip64_begins(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size_limit: int, count_limit: int
) -> None:
    """The limits are those of a much smaller ZIP, so that every combination of them is met."""
    files = {f"{'n' * (number % 5)}{number}": b"x" * size for number, size in enumerate(sizes)}
    listed = entries(tmp_path_factory.mktemp("zip"), files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", size_limit)
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", count_limit)
        content = b"".join(zip_bytes(listed))
        assert len(content) == zip_length(listed)
    assert read(content) == files


def test_a_large_file_goes_through_in_pieces(tmp_path: Path) -> None:
    listed = entries(tmp_path, {"a": bytes(5 * CHUNK)})
    assert max(map(len, zip_bytes(listed))) < 2 * CHUNK


def test_a_file_that_changed_its_size_ends_it(tmp_path: Path) -> None:
    listed = entries(tmp_path)
    (tmp_path / "1").write_bytes(b"other")
    with pytest.raises(OSError, match="5 bytes instead of"):
        b"".join(zip_bytes(listed))


def test_who_stops_reading_leaves_no_file_open(tmp_path: Path) -> None:
    content = zip_bytes(entries(tmp_path))
    next(content)
    next(content)
    content.close()
    held = {each.resolve() for each in Path("/proc/self/fd").iterdir() if each.exists()}
    assert not any(path.is_relative_to(tmp_path) for path in held)
