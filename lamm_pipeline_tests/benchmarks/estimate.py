"""What `lamm run` says beforehand about disk space and time against what comes, and the 16-bit depth against the float one."""

from pathlib import Path

import numpy as np

from lamm_pipeline.cli.estimate import estimate
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.depth_map import STEPS_PER_M, read_depth
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline_tests.benchmarks.harness import Means, Row
from lamm_pipeline_tests.benchmarks.house import house
from lamm_pipeline_tests.benchmarks.recordings import kitti39, recording

ASSETS = ["recording", "frames"]
TRUST = (0.6, 1.1)  # of what is promised: a disk may not fill unforeseen, and half of it free need not stop a run


def run(means: Means) -> list[Row]:
    width, height, frames = (320, 180, 4) if means.tiny else (1280, 720, 40)
    rows = _rows(means, "rendered street", recording(means.cache, width, height, frames))
    if means.data is not None and not means.tiny:
        rows += _rows(means, "KITTI's drive 39, grey", kitti39(means))
    return rows


def _rows(means: Means, what: str, path: Path) -> list[Row]:
    with house(means.folder / what, path) as home:
        expected = estimate(home.session, [str(path)], ASSETS, {})
        home.run(ASSETS, {"frames": {"depth_format": "png16"}})
        small = home.artifact("frames")
        home.run(ASSETS)
        made = home.artifact("frames")
        seconds = home.work_seconds("frames")
    depth = [_size(artifact, "depth/") for artifact in (small, made)]
    count = expected.frames
    return [
        Row(
            f"{what}: bytes a frame",
            made.manifest.size / count,
            expected.size_bytes / count,
            TRUST[0],
            TRUST[1],
            note="reference: estimate",
        ),
        Row(f"{what}: ms a frame of extraction", 1e3 * seconds / count, 1e3 * expected.seconds / count, note="reference: estimate"),
        Row(f"{what}: 16-bit depth, bytes a frame", depth[0] / count, depth[1] / count, at_most=0.25, note="reference: float32"),
        Row(
            f"{what}: 16-bit depth, largest error, mm",
            1e3 * _error(small, made),
            500.0 / STEPS_PER_M,
            at_most=1.01,
            note="reference: half a step",
        ),
    ]


def _size(artifact: Artifact, below: str) -> int:
    return sum(entry.size for name, entry in artifact.manifest.files.items() if name.startswith(below))


def _error(small: Artifact, made: Artifact) -> float:
    registries = [frame_registry.read(each.file(frame_registry.FILE_NAME)) for each in (small, made)]
    worst = 0.0
    for one, other in zip(registries[0].frames, registries[1].frames, strict=True):
        assert registries[1].camera is not None
        coarse, fine = (read_depth(folder, record, registries[1].camera) for folder, record in ((small.folder, one), (made.folder, other)))
        assert coarse is not None
        assert fine is not None
        assert (np.isnan(coarse) == np.isnan(fine)).all()
        worst = max(worst, float(np.nanmax(np.abs(coarse - fine))))
    return worst
