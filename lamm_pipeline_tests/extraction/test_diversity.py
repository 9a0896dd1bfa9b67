"""Hashes, motion, and which frames are dropped."""

import itertools
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.diversity import (
    FILE_NAME,
    DiversityFilter,
    diversity_metrics,
    from_hex,
    motion,
    read_metrics,
    signature,
    similarity,
    to_hex,
)
from lamm_pipeline.extraction.frame_registry import FailedFrame, FrameRegistry
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft
from lamm_pipeline_tests.extraction.extracting import digests, extract
from lamm_pipeline_tests.extraction.fake_reader import FakeReader, scene

Image = NDArray[np.uint8]


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)


def real_images(shared_data: Path) -> list[Image]:
    """Street, indoor and pedestrian scenes in several sizes."""
    paths = [
        *sorted((shared_data / "kitti_raw_0039_stereo" / "image_0").glob("*.png"))[::6],
        *sorted((shared_data / "kitti_raw_0052" / "video_02_jpg").glob("*.jpg"))[::10],
        *sorted((shared_data / "sam2_bedroom").glob("*.jpg"))[::10],
        shared_data / "sam2_images" / "truck.jpg",
        shared_data / "aloe" / "aloeL.jpg",
    ]
    return [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]


@pytest.mark.requirement("CUR-06")
def test_hashes_are_those_of_imagehash_up_to_a_few_bits(shared_data: Path) -> None:
    images = real_images(shared_data)
    assert len(images) > 10
    for image in images:
        exact = imagehash.dhash(PillowImage.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), hash_size=16)
        ours = imagehash.hex_to_hash(to_hex(signature(image).dhash))
        assert ours - exact <= 8
        small = imagehash.dhash(PillowImage.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), hash_size=8)
        assert imagehash.hex_to_hash(f"{signature(image).dhash64:016x}") - small <= 2


@pytest.mark.requirement("CUR-06")
def test_motion_is_that_of_the_full_image_up_to_a_few_percent(shared_data: Path) -> None:
    """The definition: mean absolute difference of grey images after a Gaussian of sigma 2, over 255."""

    def definition(first: Image, second: Image) -> float:
        blurred = [cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (0, 0), 2.0) for image in (first, second)]
        return float(cv2.absdiff(*blurred).mean() / 255)

    for folder, pattern in (("kitti_raw_0052/video_02_jpg", "*.jpg"), ("sam2_bedroom", "*.jpg")):
        images = [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted((shared_data / folder).glob(pattern))[:5]]
        for first, second in itertools.pairwise(images):
            ours = motion(signature(second).blurred, signature(first).blurred)
            assert ours == pytest.approx(definition(first, second), rel=0.1, abs=0.0005)


@pytest.mark.requirement("AV-15")
def test_identical_frames_have_similarity_one_noise_about_a_half_and_the_first_motion_is_one() -> None:
    first, second = signature(noise(1)), signature(noise(2))
    assert similarity(first.dhash, signature(noise(1)).dhash) == 1.0
    assert similarity(first.dhash, second.dhash) == pytest.approx(0.5, abs=0.15)
    assert motion(first.blurred, None) == 1.0
    assert motion(first.blurred, first.blurred) == 0.0


def test_the_hexadecimal_form_reads_back() -> None:
    dhash = signature(noise(3)).dhash
    assert len(to_hex(dhash)) == 64
    np.testing.assert_array_equal(from_hex(to_hex(dhash)), dhash)


def flipped(bits: int) -> NDArray[np.uint64]:
    """The zero hash with so many bits set."""
    return np.packbits(np.arange(256) < bits).view(">u8").astype(np.uint64)


@pytest.mark.requirement("CFG-10")
def test_a_frame_is_repeated_only_strictly_above_the_threshold() -> None:
    """0.85 of 256 bits: 38 differing bits are a repetition, 39 are not; at 0.75 exactly 64 bits are not."""
    for threshold, bits, repeated in [(0.85, 38, True), (0.85, 39, False), (0.75, 64, False), (0.75, 63, True)]:
        diversity = DiversityFilter(threshold, 0.02)
        diversity.keep(flipped(0), "first")
        assert (diversity.judge(flipped(bits), 0.5) is not None) == repeated


@pytest.mark.requirement("CFG-11", "EXT-04")
def test_stillness_is_tested_first_but_never_for_the_first_frame() -> None:
    diversity = DiversityFilter(0.85, 0.02)
    assert diversity.judge(flipped(0), 0.0) is None
    diversity.keep(flipped(0), "first")
    assert str(diversity.judge(flipped(0), 0.0199)).startswith("still: motion 0.0199")
    assert str(diversity.judge(flipped(0), 0.02)).startswith("repeated: similarity 1.0000 to first")


@pytest.mark.requirement("EXT-04")
def test_a_frame_is_compared_with_all_kept_ones_and_the_first_match_counts() -> None:
    diversity = DiversityFilter(0.85, 0.02)
    kept = [signature(noise(number)).dhash for number in range(100)]
    for number, dhash in enumerate(kept):
        assert diversity.judge(dhash, 1.0) is None
        diversity.keep(dhash, f"frame {number}")
    diversity.keep(kept[70], "the same again")
    assert "to frame 70 " in str(diversity.judge(kept[70], 1.0))


class Reported(list[tuple[int, int | None]]):
    def __call__(self, done: int, total: int | None) -> None:
        self.append((done, total))


def published(folder: Path, **reader: object) -> FrameRegistry:
    return extract(folder, FakeReader(**reader), FrameSettings(depth=False, max_bad_share=0.5))  # type: ignore[arg-type]


@pytest.mark.requirement("CUR-06")
def test_the_metrics_table_has_hash_and_motion_of_every_published_frame(tmp_path: Path) -> None:
    registry = published(tmp_path / "frames", count=4, scenes=(0, 0, 1, 2), bad=frozenset({3}))
    told = Reported()
    metrics = diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "metrics"), told)
    rows = pq.read_table(tmp_path / "metrics" / FILE_NAME).to_pylist()
    assert [row["frame_id"] for row in rows] == ["drive:000000", "drive:000001", "drive:000002"]
    assert [row["svo2_frame_index"] for row in rows] == [0, 1, 2]
    assert rows[0]["dhash"] == rows[1]["dhash"] == to_hex(signature(scene(0)[0]).dhash)
    assert [row["motion"] for row in rows][:2] == [1.0, 0.0]
    assert rows[2]["motion"] == motion(signature(scene(1)[0]).blurred, signature(scene(0)[0]).blurred) > 0.02
    assert told == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(read_metrics(tmp_path / "metrics" / FILE_NAME).dhash, metrics.dhash)
    assert similarity(metrics.dhash[:2], metrics.dhash[0]).tolist() == [1.0, 1.0]


@pytest.mark.requirement("NFR-09", "AV-21")
def test_interrupted_metrics_continue_from_the_checkpoint_with_the_same_bytes(tmp_path: Path) -> None:
    registry = published(tmp_path / "frames", count=CHECKPOINT_EVERY + 10, width=128, height=96)
    undisturbed = Draft.open(tmp_path / "a")
    diversity_metrics(registry, tmp_path / "frames", undisturbed)
    undisturbed.finish()

    def stop(done: int, _: int | None) -> None:
        if done == CHECKPOINT_EVERY + 5:
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "b"), stop)
    resumed, told = Draft.open(tmp_path / "b"), Reported()
    diversity_metrics(registry, tmp_path / "frames", resumed, told)
    resumed.finish()
    assert told[0] == (CHECKPOINT_EVERY + 1, CHECKPOINT_EVERY + 10)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_damaged_image_is_listed_with_its_reason_and_too_many_end_in_a_sentence(tmp_path: Path) -> None:
    registry = published(tmp_path / "frames", count=4, scenes=(0, 1, 0, 2))
    images = tmp_path / "frames" / "image_left"
    (images / "000001.png").write_bytes(b"")
    metrics = diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "metrics"), max_bad_share=0.25)
    assert metrics.svo2_frame_index.tolist() == [0, 2, 3]
    assert metrics.motion[:2].tolist() == [1.0, 0.0]  # frame 2 shows what frame 0 does, the last readable one before it
    assert metrics.failed_frames == (FailedFrame(1, "the image image_left/000001.png is missing or damaged"),)
    row = pq.read_table(tmp_path / "metrics" / FILE_NAME).to_pylist()[1]
    assert (row["frame_id"], row["dhash"], row["motion"]) == ("drive:000001", None, None)
    (images / "000002.png").unlink()
    with pytest.raises(InputError, match=r"2 of the 4 frames of drive cannot be read .*000001\.png"):
        diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "again"), max_bad_share=0.25)


def test_metrics_resumed_behind_a_damaged_image_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    registry = published(tmp_path / "frames", count=CHECKPOINT_EVERY + 3, width=128, height=96)
    (tmp_path / "frames" / "image_left" / f"{CHECKPOINT_EVERY - 1:06d}.png").write_bytes(b"")
    undisturbed = diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "a"))

    def stop(done: int, _: int | None) -> None:
        if done == CHECKPOINT_EVERY + 1:
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "b"), stop)
    resumed = diversity_metrics(registry, tmp_path / "frames", Draft.open(tmp_path / "b"))
    np.testing.assert_array_equal(resumed.motion, undisturbed.motion)
    assert (tmp_path / "a" / FILE_NAME).read_bytes() == (tmp_path / "b" / FILE_NAME).read_bytes()
