"""Memory of masklets with SAM2 on long videos, beside SAM2's own predictor, and what keeping the backbone's features saves.

The network is the tiny one with random weights and images of 256 pixels: what it sees is noise, what it holds in memory is not. Every
figure is of a process of its own, on Linux. Needs torch: `make bench-sam`.
"""

import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.segmentation.sam2_model import build_model, load_model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.sam2_propagator import FEATURE_BYTES, Sam2Propagator
from lamm_pipeline.tracking.masklets.settings import MaskletSettings
from lamm_pipeline.tracking.masklets.track_masklets import track_masklets
from lamm_pipeline_tests.benchmarks.harness import Means, NotRunError, Row

IMAGE_SIZE = 256
WIDTH, HEIGHT = 320, 240
WINDOW, OVERLAP = 25, 5
SHORT, LONG = 100, 300
LONGEST_GROWTH = 1.1
PROMPT_FRAMES = 4


class Panned:
    """A photograph that moves through the picture."""

    size = (WIDTH, HEIGHT)

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return self._frames

    def image(self, index: int) -> NDArray[np.uint8]:
        x = 2 * index % (512 - WIDTH)
        photograph: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(photograph[60 : 60 + HEIGHT, x : x + WIDTH, ::-1])

    def depth(self, _: int) -> None:
        return None


def run(means: Means) -> list[Row]:
    """As a subject of the benchmarks."""
    if importlib.util.find_spec("sam2") is None:
        raise NotRunError("sam2 is not installed here; `make bench-sam` has it")
    short, long = (5, 10) if means.tiny else (SHORT, LONG)
    took = measure(means.folder, short, long)
    what = f"peak memory, MiB, {long} frames"
    return [
        Row(what, took["ours long"], took["ours short"], at_most=LONGEST_GROWTH, note=f"reference: {short} frames"),
        Row(f"{what}, SAM2's own predictor", took["peer long"], took["peer short"], note=f"reference: {short} frames"),
        Row(what, took["ours long"], took["peer long"], note="reference: SAM2's own predictor"),
        Row(
            f"CPU seconds, {PROMPT_FRAMES} prompt frames in a window of {WINDOW}",
            took["features kept"],
            took["features made anew"],
            note="reference: only the last frame's features are kept, as by SAM2",
        ),
    ]


def measure(folder: Path, short: int = SHORT, long: int = LONG) -> dict[str, float]:
    """Peak memory in MiB, model included, of following an object through videos of two lengths; CPU seconds of following in a window."""
    import torch

    torch.manual_seed(0)
    torch.save({"model": build_model(Variant.tiny, IMAGE_SIZE).state_dict()}, folder / CHECKPOINTS[Variant.tiny].file)
    tasks = {
        "features kept": ("window", 1),
        "features made anew": ("window", 0),
        "ours short": ("ours", short),
        "ours long": ("ours", long),
        "peer short": ("peer", short),
        "peer long": ("peer", long),
    }
    took = {}
    for name, (task, number) in tasks.items():
        command = [sys.executable, "-W", "ignore", "-m", "lamm_pipeline_tests.benchmarks.masklet_memory", str(folder), task, str(number)]
        took[name] = float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        sys.stderr.write(f"{name}: {took[name]:.1f}\n")
    return took


def ours(folder: Path, frames: int) -> float:
    """The stage, with one candidate in the first frame."""
    mask = disc()
    candidate = MaskCandidate("video:000000:0", None, 0.9, None, (60.0, 60.0, 141.0, 141.0), rle.encode(mask), int(mask.sum()), "external")
    first = FrameCandidates("video:000000", 0, 0, (candidate,))
    names = [VideoFrame(f"video:{n:06d}", n, n, f"{n:06d}.png") for n in range(frames)]
    settings = MaskletSettings.model_validate({"backend": "sam2", "window": WINDOW, "overlap": OVERLAP, "render_previews": False})
    draft, video, following = Draft.open(folder / f"masklets {frames}"), Panned(frames), propagator(folder)
    with following.session(video, 0, 1):
        forget_peak()
    summary = track_masklets({1: lambda: [first]}, video, names, following, settings, draft, recording="video")
    assert (summary.masklets, summary.masks) == (1, frames)
    return peak_mib()


def peer(folder: Path, frames: int) -> float:
    """SAM2's own predictor over a folder of images, as its documentation shows."""
    images = folder / f"images {frames}"
    images.mkdir()
    video = Panned(frames)
    for number in range(frames):
        cv2.imwrite(str(images / f"{number}.jpg"), video.image(number))
    predictor = load_model(Variant.tiny, folder / CHECKPOINTS[Variant.tiny].file, IMAGE_SIZE, video=True)
    forget_peak()
    state = predictor.init_state(str(images))
    predictor.add_new_mask(state, 0, 1, disc())
    assert sum(bool((logits > 0).any()) for _, _, logits in predictor.propagate_in_video(state)) == frames
    return peak_mib()


def window(folder: Path, kept: int) -> float:
    """One window with some prompt frames, each followed to both ends."""
    following = propagator(folder, FEATURE_BYTES if kept else 0)
    with following.session(Panned(WINDOW), 0, WINDOW) as session:
        began = time.process_time()
        for start in range(0, WINDOW, WINDOW // PROMPT_FRAMES + 1):
            prompts = {1: Prompt(mask=disc())}
            for reverse in (False, True):
                assert all(masks for _, masks in session.propagate(start, prompts, reverse=reverse))
        return time.process_time() - began


def propagator(folder: Path, feature_bytes: int = FEATURE_BYTES) -> Sam2Propagator:
    return Sam2Propagator(Variant.tiny, str(folder), "cpu", IMAGE_SIZE, feature_bytes)


def disc() -> Mask:
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (100, 100), 40, 1, -1).astype(np.bool_)


def forget_peak() -> None:
    """Of loading the weights, which are in memory twice then: more than following in a short video takes."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) == 2:
        sys.stdout.write(json.dumps(measure(folder), indent=2) + "\n")
        return
    import torch

    torch.set_num_threads(1)
    tasks: dict[str, Callable[[Path, int], float]] = {"ours": ours, "peer": peer, "window": window}
    sys.stdout.write(json.dumps(tasks[sys.argv[2]](folder, int(sys.argv[3]))) + "\n")


if __name__ == "__main__":
    main()
