"""Depth on disk: what is written comes back, and nothing wraps."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import read_depth, write_depth
from lamm_pipeline.extraction.settings import DepthFormat, FrameSettings
from lamm_pipeline_tests.extraction.extracting import STEREO, ConstantMatcher, extract
from lamm_pipeline_tests.extraction.fake_reader import FakeReader


@pytest.mark.requirement("AV-17", "EXT-15")
@pytest.mark.parametrize("metres", [0.3, 65.6, 80.0, 99.9, 255.99])
def test_far_depth_does_not_wrap_in_sixteen_bits(tmp_path: Path, metres: float) -> None:
    registry = extract(tmp_path, FakeReader(count=1), FrameSettings(depth_format=DepthFormat.png16), matcher=ConstantMatcher(metres))
    [frame] = registry.frames
    assert (frame.depth, frame.depth_out_of_range) == ("depth/000000.png", 0)
    assert registry.camera is not None
    depth = read_depth(tmp_path, frame, registry.camera)
    assert depth is not None
    assert depth.dtype == np.float32
    assert np.isnan(depth[0, :5]).all()
    np.testing.assert_allclose(depth[1:], metres, atol=1 / 512 + 1e-4)
    assert frame.valid_depth_ratio == 1 - 5 / depth.size
    assert registry.config["depth_format"] == "png16"


@pytest.mark.requirement("AV-17")
def test_what_sixteen_bits_cannot_hold_is_unknown_and_counted(tmp_path: Path) -> None:
    registry = extract(tmp_path, FakeReader(count=1), FrameSettings(depth_format=DepthFormat.png16), matcher=ConstantMatcher(256.1))
    [frame] = registry.frames
    assert registry.camera is not None
    depth = read_depth(tmp_path, frame, registry.camera)
    assert depth is not None
    assert np.isnan(depth).all()
    assert frame.depth_out_of_range == depth.size - 5
    assert frame.valid_depth_ratio == 0
    values = np.array([[255.99, 255.999, 511.0, 0.001, np.nan]], np.float32)
    assert write_depth(tmp_path / "edge.png", values) == 3
    assert cv2.imread(str(tmp_path / "edge.png"), cv2.IMREAD_UNCHANGED).tolist() == [[65533, 0, 0, 0, 0]]


def test_sixteen_bits_take_a_quarter_of_the_space_and_say_the_same(tmp_path: Path) -> None:
    small = extract(tmp_path / "png", FakeReader(count=2), FrameSettings(stereo=STEREO, depth_format=DepthFormat.png16))
    large = extract(tmp_path / "npy", FakeReader(count=2), FrameSettings(stereo=STEREO))
    for one, other in zip(small.frames, large.frames, strict=True):
        assert small.camera is not None
        a, b = read_depth(tmp_path / "png", one, small.camera), read_depth(tmp_path / "npy", other, small.camera)
        np.testing.assert_allclose(a, b, atol=1 / 512 + 1e-5)
        size, full = (tmp_path / "png" / str(one.depth)).stat().st_size, (tmp_path / "npy" / str(other.depth)).stat().st_size
        assert size < full / 4


@pytest.mark.parametrize("content", [b"", b"no image", cv2.imencode(".png", np.zeros((192, 320), np.uint8))[1].tobytes()])
def test_a_damaged_or_foreign_png_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    registry = extract(tmp_path, FakeReader(count=1), FrameSettings(depth_format=DepthFormat.png16), matcher=ConstantMatcher(5.0))
    [frame] = registry.frames
    assert registry.camera is not None
    (tmp_path / "depth/000000.png").write_bytes(content)
    with pytest.raises(InputError, match=r"depth/000000\.png is missing or damaged"):
        read_depth(tmp_path, frame, registry.camera)
    with pytest.raises(InputError, match="is missing or damaged"):
        read_depth(tmp_path, replace(frame, depth="depth/gone.png"), registry.camera)
    write_depth(tmp_path / "depth/000000.png", np.ones((4, 4), np.float32))
    with pytest.raises(InputError, match=r"of shape \(4, 4\)"):
        read_depth(tmp_path, frame, registry.camera)
