"""Masklets end to end with SAM2's video predictor: tiny, random weights, on a CPU."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets import masklet_table, track_masklets
from lamm_pipeline.tracking.masklets.propagation import Mask
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.sam2_propagator import Sam2Propagator
from lamm_pipeline.tracking.masklets.settings import MaskletBackend, MaskletSettings
from lamm_pipeline_tests.sam.conftest import IMAGE_SIZE
from lamm_pipeline_tests.sam.panned_video import HEIGHT, WIDTH, Panned, disc
from lamm_pipeline_tests.segmentation.bright_squares import tree

pytestmark = [pytest.mark.sam, pytest.mark.usefixtures("one_thread")]
FRAMES, WINDOW, OVERLAP = 18, 8, 2
WINDOW_STARTS = [0, 6, 12]
CANDIDATES = {0: [disc(30, 30, 12)], 9: [disc(90, 60, 15)]}
SETTINGS = MaskletSettings(backend=MaskletBackend.sam2, window=WINDOW, overlap=OVERLAP, dedup_iou=1.0, render_previews=False)
KILLS = 20


def candidates() -> Iterator[FrameCandidates]:
    for local, (index, masks) in enumerate(CANDIDATES.items()):
        yield FrameCandidates(f"video:{index:06d}", local, index, tuple(candidate(index, n, mask) for n, mask in enumerate(masks)))


def candidate(index: int, number: int, mask: Mask) -> MaskCandidate:
    box = (0.0, 0.0, float(WIDTH), float(HEIGHT))
    return MaskCandidate(f"video:{index:06d}:{number}", "car", 0.9, None, box, rle.encode(mask), int(mask.sum()), "external")


def follow(propagator: Sam2Propagator, folder: Path, video: Panned) -> None:
    names = [VideoFrame(f"video:{index:06d}", index, index, f"{index:06d}.png") for index in range(FRAMES)]
    draft = Draft.open(folder)
    track_masklets.track_masklets({1: candidates}, video, names, propagator, SETTINGS, draft, recording="video")
    draft.finish()


@pytest.fixture(scope="module")
def propagator(weights_folder: Path) -> Sam2Propagator:
    return Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", IMAGE_SIZE)


@pytest.fixture(autouse=True, scope="module")
def _checkpoint_after_each_window() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_masklets, "CHECKPOINT_EVERY", 1)
        yield


@pytest.fixture(scope="module")
def undisturbed(propagator: Sam2Propagator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Panned]:
    folder, video = tmp_path_factory.mktemp("masklets"), Panned(FRAMES)
    follow(propagator, folder, video)
    return folder, video


@pytest.mark.requirement("VOS-04", "VOS-07", "VOS-08", "VOS-09")
def test_objects_keep_their_ids_through_all_windows_and_are_found_in_frames_before_their_prompt(undisturbed: tuple[Path, Panned]) -> None:
    folder, video = undisturbed
    rows = list(masklet_table.read(folder / "masklets.parquet"))
    frames = {key: [row.frame_index for row in rows if row.masklet_id == key] for key in (1, 2)}
    assert {row.masklet_id for row in rows} == {1, 2}
    assert frames[1] == list(range(FRAMES))
    assert frames[2] == list(range(WINDOW_STARTS[1], FRAMES))
    assert {(row.height, row.width) for row in rows} == {(HEIGHT, WIDTH)}
    overlaps = OVERLAP * (len(WINDOW_STARTS) - 1)
    assert sum(video.reads.values()) == FRAMES + overlaps


@pytest.mark.requirement("STA-05", "NFR-10")
@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n == 0 else pytest.mark.stress) for n in range(KILLS)])
def test_a_killed_run_goes_on_at_its_last_window_to_the_same_bytes(
    propagator: Sam2Propagator, undisturbed: tuple[Path, Panned], tmp_path: Path, number: int
) -> None:
    whole, read = undisturbed
    last_read = random.Random(f"masklets {number}").randint(1, sum(read.reads.values()))
    child = os.fork()
    if child == 0:
        try:
            follow(propagator, tmp_path / "masklets", Deadly(FRAMES, last_read=last_read))
        finally:
            os._exit(1)  # nothing of the tests may go on in the child
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    rest = Panned(FRAMES)
    follow(propagator, tmp_path / "masklets", rest)
    begun = [start for n, start in enumerate(WINDOW_STARTS) if last_read > WINDOW * n]
    assert min(rest.reads) == begun[-1]
    assert tree(tmp_path / "masklets") == tree(whole)


class Deadly(Panned):
    """Kills the process when so many frames have been read."""

    def __init__(self, frames: int, last_read: int) -> None:
        super().__init__(frames)
        self._last_read = last_read

    def image(self, index: int) -> object:  # type: ignore[override]
        if sum(self.reads.values()) + 1 == self._last_read:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(index)


def test_a_gpu_with_too_little_memory_stops_the_stage_with_a_sentence(
    propagator: Sam2Propagator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def no_memory(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    with propagator.session(Panned(1), 0, 1):
        monkeypatch.setattr(propagator._predictor, "add_new_mask", no_memory)
    with pytest.raises(InputError, match=f"follow 1 object through a window of {WINDOW} frames; choose a shorter `window`"):
        follow(propagator, tmp_path, Panned(FRAMES))
