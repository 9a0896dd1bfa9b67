from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation.segment_frames import segment_frames
from lamm_pipeline.segmentation.segmenter import Picture, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.segmentation.bright_squares import BrightSquares, KilledError, frame, registry, tree, write_files

ONTOLOGY = load_ontology()


class SquaresInBatches:
    """`BrightSquares` over several frames at once, that remembers its batches."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.batches: list[list[int]] = []
        self._one = BrightSquares()

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._one.identity

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:  # noqa: ARG002 - of the protocol
        return {}

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        self.batches.append([picture.frame.svo2_frame_index for picture in pictures])
        return [self._one.segment(picture.image_bgr, picture.depth, picture.camera) for picture in pictures]


@pytest.mark.requirement("SEG-02", "CFG-07")
def test_batches_give_the_file_that_single_frames_give_and_unreadable_frames_do_not_shift_the_others(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(10)]
    write_files(tmp_path / "frames", frames)
    (tmp_path / "frames/image_left/000005.png").unlink()
    settings = SegmentationSettings()
    in_batches = SquaresInBatches(4)
    for name, segmenter in (("one", BrightSquares()), ("many", in_batches)):
        draft = Draft.open(tmp_path / name)
        summary = segment_frames(registry(frames), tmp_path / "frames", segmenter, ONTOLOGY, settings, draft, workers=1)
        draft.finish()
        assert [failed.frame_id for failed in summary.failed_frames] == ["drive:000005"]
    assert in_batches.batches == [[0, 1, 2, 3], [4, 6, 7], [8, 9]]
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


@pytest.mark.requirement("SEG-02")
def test_a_resumed_run_has_the_batches_of_an_undisturbed_one(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(60)]
    write_files(tmp_path / "frames", frames)
    settings = SegmentationSettings()

    def die_at_45(done: int, total: int | None) -> None:
        assert total == 60
        if done == 45:
            raise KilledError

    whole, first, second = SquaresInBatches(8), SquaresInBatches(8), SquaresInBatches(8)
    segment_frames(registry(frames), tmp_path / "frames", whole, ONTOLOGY, settings, Draft.open(tmp_path / "whole"), workers=1)
    draft = Draft.open(tmp_path / "cut")
    with pytest.raises(KilledError):
        segment_frames(registry(frames), tmp_path / "frames", first, ONTOLOGY, settings, draft, workers=1, progress=die_at_45)
    resumed = Draft.open(tmp_path / "cut")
    segment_frames(registry(frames), tmp_path / "frames", second, ONTOLOGY, settings, resumed, workers=1)
    assert second.batches[0][0] == 32  # the end of the batch in which the 25th frame lies
    assert second.batches == whole.batches[4:]
    assert (tmp_path / "cut/detections/detections.json").read_bytes() == (tmp_path / "whole/detections/detections.json").read_bytes()
