"""How files get into an export."""

import errno
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from lamm_pipeline.datasets.formats.files import place, write_mask
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle


def test_a_placed_file_is_the_same_file(tmp_path):
    source = tmp_path / "source.png"
    source.write_bytes(b"pixels")
    assert place(source, tmp_path / "made" / "target.png") == "hard_linked"
    assert (tmp_path / "made" / "target.png").stat().st_ino == source.stat().st_ino


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_are_not_possible_the_file_is_copied(tmp_path, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, "no link")

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source.png"
    source.write_bytes(b"pixels")
    assert place(source, tmp_path / "target.png") == "copied"
    assert (tmp_path / "target.png").read_bytes() == b"pixels"
    assert (tmp_path / "target.png").stat().st_ino != source.stat().st_ino


def test_other_faults_of_the_disk_are_not_hidden(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "link", full)
    (tmp_path / "source").write_bytes(b"pixels")
    with pytest.raises(OSError, match="disk full"):
        place(tmp_path / "source", tmp_path / "target")


def test_placing_over_an_earlier_link_leaves_the_other_source_alone(tmp_path, monkeypatch):
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "target"
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    place(first, target)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "other disk")))
    place(second, target)
    assert (first.read_bytes(), target.read_bytes()) == (b"first", b"second")


def test_a_missing_source_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="is missing, although the frames list it"):
        place(tmp_path / "gone.png", tmp_path / "target.png")


def test_a_png_that_does_not_fit_on_the_disk_is_an_error(tmp_path):
    code = f"""
import resource
from pathlib import Path
import numpy as np
from lamm_pipeline.datasets.formats.files import write_png
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
write_png(Path({str(tmp_path / "noise.png")!r}), np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OSError" in told.stderr


def test_mask_files_hold_0_and_255_where_the_runs_say(tmp_path):
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    write_mask(tmp_path / "masks" / "000000_0.png", rle.encode(mask))
    read = cv2.imread(str(tmp_path / "masks" / "000000_0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, mask * np.uint8(255))
