from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates import mask_candidates
from lamm_pipeline.segmentation.candidates.propose import propose_candidates
from lamm_pipeline.segmentation.candidates.sam2_proposer import Sam2Proposer
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings, CandidateSource
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.sam.conftest import IMAGE_SIZE
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, frame, registry, tree, write_files

pytestmark = pytest.mark.sam


def settings(weights: Path) -> CandidateSettings:
    """Random weights expect nothing of their masks, so nothing is expected of them."""
    return CandidateSettings(
        source=CandidateSource.sam2,
        weights=str(weights),
        levels=[2, 4, 6],
        points_per_side=3,
        mask_quality=0.0,
        min_stability=0.0,
        min_area=1,
        every=2,
    )


@pytest.mark.requirement("VOS-29", "SEG-01")
def test_automatic_masks_become_candidates_in_levels_and_are_the_same_every_time(weights_folder: Path, tmp_path: Path) -> None:
    frames = [frame(index) for index in range(4)]
    write_files(tmp_path / "frames", frames)
    (tmp_path / "frames" / "image_left" / "000002.png").write_bytes(b"no picture")
    chosen = settings(weights_folder).model_copy(update={"max_bad_share": 0.5})
    for name in ("a", "b"):
        proposer = Sam2Proposer(chosen, (2, 4, 6), tmp_path / "frames", "cpu", IMAGE_SIZE)
        draft = Draft.open(tmp_path / name)
        summary = propose_candidates(registry(frames), proposer, chosen, draft, workers=2)
        draft.finish()
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert [(failed.frame_id, "damaged" in failed.reason) for failed in summary.failed_frames] == [("drive:000002", True)]
    assert list(summary.by_level) == [2, 4, 6]
    assert summary.candidates == summary.by_source["sam2"] > 0
    for folder in mask_candidates.read(tmp_path / "a").values():
        (seen,) = mask_candidates.read_level(folder)
        for candidate in seen.candidates:
            mask = rle.decode(candidate.mask_rle or {})
            rows, columns = np.nonzero(mask)
            assert mask.shape == (HEIGHT, WIDTH)
            assert candidate.area == len(rows)
            assert candidate.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert candidate.stability is not None
            assert 0.0 <= (candidate.score or 0.0) <= 1.0
            assert candidate.class_id is None


def test_the_identity_names_model_and_thresholds(weights_folder: Path, tmp_path: Path) -> None:
    identity = Sam2Proposer(settings(weights_folder), (1,), tmp_path, "cpu", IMAGE_SIZE).identity
    assert identity["model"] == "sam2.1_hiera_tiny"
    assert len(identity["weights_sha256"]) == 64
    assert identity["dtype"] == "float32"
