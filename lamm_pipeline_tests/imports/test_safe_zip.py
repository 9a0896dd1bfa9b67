"""ZIPs that nobody should unpack."""

import random
import stat
import struct
import zipfile
import zlib

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.safe_zip import open_zip
from lamm_pipeline.imports.settings import ZipLimits
from lamm_pipeline_tests.imports.zips import members, run_import, write_zip

LIMITS = ZipLimits()


def refused(path, limits=LIMITS):
    with pytest.raises(InputError) as error:
        open_zip(path, limits)
    return str(error.value)


@pytest.mark.requirement("AV-25", "LLM-01")
@pytest.mark.parametrize(
    "name", ["../evil.png", "images/../../evil.png", "/etc/evil.png", "images\\..\\evil.png", "C:/evil.png", "..", "a/.."]
)
def test_a_member_that_leads_outside_is_refused_and_nothing_is_written(tmp_path, name):
    path = write_zip(tmp_path / "evil.zip", {**members(), name: b"evil"})
    with pytest.raises(InputError, match="leads outside"):
        run_import(path, tmp_path / "out" / "artifact")
    assert sorted(each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*")) == ["evil.zip", "out", "out/artifact"]


@pytest.mark.requirement("AV-25")
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_are_refused(tmp_path, kind):
    info = zipfile.ZipInfo("images/frame_000000.png")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    assert "link or a special file" in refused(write_zip(tmp_path / "evil.zip", {info: b"/etc/passwd"}))


@pytest.mark.parametrize("second", ["IMAGES/frame_000000.PNG", "images/frame_000000.png", "./images/frame_000000.png", "images/ﬀ.png"])
def test_names_that_are_one_file_on_some_systems_are_refused(tmp_path, second):
    first = "images/ff.png" if "ﬀ" in second else "images/frame_000000.png"
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(first, b"1")
        if first == second:
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(second, b"2")
        else:
            archive.writestr(second, b"2")
    sentence = refused(tmp_path / "evil.zip")
    assert first in sentence
    assert second in sentence


def test_bombs_are_refused_by_ratio_total_and_number(tmp_path):
    bomb = write_zip(tmp_path / "ratio.zip", {"images/0000.png": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert "times larger than packed" in refused(bomb)
    assert "max_total_gb" in refused(write_zip(tmp_path / "total.zip", members()), ZipLimits(max_total_gb=1e-6))
    assert "max_members" in refused(write_zip(tmp_path / "many.zip", {f"{n}.txt": b"" for n in range(20)}), ZipLimits(max_members=19))


def test_a_list_of_members_that_would_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "many.zip", {f"{n:0200d}.txt": b"" for n in range(50)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "max_members" in refused(path, ZipLimits(max_members=10))


def test_overlapping_members_are_refused(tmp_path):
    path = write_zip(tmp_path / "quine.zip", {"a.txt": b"12345678", "b.txt": b"12345678"})
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[second + 42 : second + 46] = struct.pack("<I", 3)
    path.write_bytes(data)
    assert "overlaps" in refused(path)


def test_encrypted_and_unknown_compression_are_refused(tmp_path):
    path = write_zip(tmp_path / "locked.zip", {"a.txt": b"text"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)
    assert "stored or deflate" in refused(write_zip(tmp_path / "lzma.zip", {"a.txt": b"text" * 100}, zipfile.ZIP_LZMA))


def test_sizes_that_lie_end_in_a_sentence_and_bounded_memory(tmp_path):
    path = write_zip(tmp_path / "liar.zip", {"a.txt": bytes(500_000)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)
    archive = open_zip(path, LIMITS)
    with pytest.raises(InputError, match=r"a\.txt in liar\.zip is damaged"):
        archive.read("a.txt")


def test_a_stored_and_a_deflated_member_are_read_as_they_were(tmp_path):
    content = random.Random(1).randbytes(100_000) * 20 + b"end"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = open_zip(write_zip(tmp_path / f"{compression}.zip", {"ä/b.bin": content}, compression), LIMITS)
        assert archive.read("ä/b.bin") == content
        archive.copy("ä/b.bin", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content
        assert zlib.crc32(content) == archive.members["ä/b.bin"].CRC


@pytest.mark.parametrize("cut", [0, 1, 21, 30, 200])
def test_a_zip_that_is_cut_off_is_no_zip(tmp_path, cut):
    path = write_zip(tmp_path / "cut.zip", members())
    path.write_bytes(path.read_bytes()[:cut])
    assert "is no ZIP, or its end is missing" in refused(path)
    assert "does not exist" in refused(tmp_path / "missing.zip")
