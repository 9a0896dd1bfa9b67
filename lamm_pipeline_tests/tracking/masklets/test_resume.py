"""Cut off at any frame the stage goes on at the last window, and ends with the same bytes."""

import random
from pathlib import Path

import pytest

from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets import track_masklets as stage
from lamm_pipeline.tracking.masklets.settings import MaskletSettings
from lamm_pipeline_tests.tracking.masklets.moving_masks import Frames, Shifts, listed, rectangle

FRAMES = 40
LEVELS = {
    1: [listed(n, rectangle(n, 5), *([rectangle(45, 25)] if n % 9 < 4 else [])) for n in range(0, FRAMES, 2)],
    3: [listed(n, rectangle(30, 12)) for n in range(5, 30)],
}
FEW = 3


class Cut(Exception):  # noqa: N818 - stands for a kill
    """The process is gone."""


def run(folder: Path, *, corrects: bool, cut_at: int | None = None) -> Shifts:
    back_end, video = Shifts(dx=1, corrects=corrects), Frames(FRAMES)
    draft = Draft.open(folder)

    def progress(done: int, total: int | None) -> None:
        assert total == 2 * FRAMES
        if done == cut_at:
            raise Cut

    sources = {level: (lambda listed=listed: iter(listed)) for level, listed in LEVELS.items()}
    settings = MaskletSettings(window=None if corrects else 7, overlap=3, preview_max=3)
    stage.track_masklets(sources, video, video.names, back_end, settings, draft, recording="drive", progress=progress)
    draft.finish()
    return back_end


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.requirement("AV-21", "NFR-10")
@pytest.mark.parametrize("corrects", [False, True])
@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n < FEW else pytest.mark.stress) for n in range(20)])
def test_a_run_cut_off_at_any_frame_goes_on_at_its_last_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, corrects: bool
) -> None:
    monkeypatch.setattr(stage, "CHECKPOINT_EVERY", 4)
    undisturbed = run(tmp_path / "undisturbed", corrects=corrects)
    cut_at = random.Random(f"masklets {corrects} {number}").randint(1, 2 * FRAMES)
    with pytest.raises(Cut):
        run(tmp_path / "cut", corrects=corrects, cut_at=cut_at)
    resumed = run(tmp_path / "cut", corrects=corrects)
    assert content(tmp_path / "cut") == content(tmp_path / "undisturbed")
    assert resumed.opened == undisturbed.opened[len(undisturbed.opened) - len(resumed.opened) :]
    assert cut_at < 12 or len(resumed.opened) < len(undisturbed.opened)


def test_the_checkpoint_does_not_grow_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(Draft, "checkpoint", lambda _, state: sizes.append(len(str(state))))
    video = Frames(400)
    shown = [listed(n, rectangle(n % 40, 5)) for n in range(0, 400, 3)]
    settings = MaskletSettings(window=20, overlap=4, render_previews=False)
    back_end = Shifts(dx=1)
    stage.track_masklets({1: lambda: iter(shown)}, video, video.names, back_end, settings, Draft.open(tmp_path), recording="drive")
    assert len(sizes) >= 10
    assert max(sizes[len(sizes) // 2 :]) <= 1.2 * max(sizes[: len(sizes) // 2])
