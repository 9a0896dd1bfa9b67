"""Recordings to measure with: the sample's street, lengthened to any number of frames by walking back and forth over the rendered ones."""

from itertools import chain, cycle, islice
from pathlib import Path

from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.recordings.svo2_writer import Svo2Writer
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.benchmarks.harness import Means
from lamm_pipeline_tests.benchmarks.house import lamm

RENDERED = 40


def recording(cache: Path, width: int, height: int, frames: int) -> Path:
    """An SVO2 file (H.264, calibration beside it) of that size; made once and kept in `cache`."""
    folder = cache / f"{width}x{height}"
    rendered = folder / f"{min(RENDERED, frames)}.svo2"
    if not rendered.exists():
        render_sample(rendered, SampleSettings(frames=min(RENDERED, frames), width=width, height=height))
    path = folder / f"{frames}.svo2"
    if not path.exists():
        _lengthen(rendered, path, frames)
    return path


def _lengthen(source: Path, target: Path, frames: int) -> None:
    with open_svo2(source) as reader:
        info = reader.info
        pairs = [frame.images() for frame in reader.frames()]  # type: ignore[union-attr]  # the renderer writes no bad frames
        samples = list(reader.frame_sensors())
    step = info.frame_timestamps_ns[1] - info.frame_timestamps_ns[0]
    places = islice(cycle(chain(range(len(pairs)), range(len(pairs) - 2, 0, -1))), frames)
    with Svo2Writer(target, serial=info.serial, width=info.width, height=info.height, fps=info.nominal_fps) as writer:
        for number, place in enumerate(places):
            left, right = pairs[place]
            writer.add_frame(left, right, info.frame_timestamps_ns[0] + number * step, samples[place])


def kitti39(means: Means) -> Path:
    """KITTI's drive 39 (30 grey pairs of 1242x375) packed into an SVO2 file, if it is here."""
    source, path = means.real("kitti_raw_0039_stereo"), means.cache / "kitti39" / "kitti39.svo2"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        images = (source / "image_0", source / "image_1")
        lamm(path.with_suffix(".json"), "pack", *images, path, "--calibration", source / "calib.txt", "--times", source / "times.txt")
    return path
