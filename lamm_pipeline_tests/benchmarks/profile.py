"""The whole job on real street frames with `lamm run --fast`: stereo at half size, the full frame and six tiles."""

import statistics

from lamm_pipeline.cli.running import asset_config_of
from lamm_pipeline.orchestration.stages import USUAL, assets_of
from lamm_pipeline_tests.benchmarks.harness import Means, Row, now
from lamm_pipeline_tests.benchmarks.house import house
from lamm_pipeline_tests.benchmarks.recordings import kitti39

ASSETS = assets_of(USUAL)
LIMIT_MS = 250.0
CORES = 2


def run(means: Means) -> list[Row]:
    path, rounds = kitti39(means), 1 if means.tiny else 5
    config = asset_config_of(None, [], {"frames.end_frame": 2 if means.tiny else None}, fast=True)
    import lamm_pipeline.definitions  # noqa: F401 - loading them is no part of a run

    stages: dict[str, list[float]] = {asset: [] for asset in ASSETS}
    cpu = []
    for number in range(rounds):
        with house(means.folder / str(number), path) as home:
            began = now()
            home.run(ASSETS, config)
            frames = home.artifact("frames").counts["extracted_frames"]
            cpu.append(1e3 * (now() - began).cpu / frames)
            for asset in ASSETS:
                stages[asset].append(1e3 * home.work_seconds(asset) / frames)
    total = statistics.median(map(sum, zip(*stages.values(), strict=True)))
    note = f"reference: limit; {frames} frames of 1242x375, median of {rounds} runs"
    return [
        Row("ms a frame, all stages", total, LIMIT_MS, at_most=1.0, note=note),
        Row(f"CPU ms a frame, shared by {CORES} processors", statistics.median(cpu) / CORES, LIMIT_MS, note="with events and publishing"),
        *(Row(f"ms a frame, {asset}", statistics.median(each)) for asset, each in stages.items()),
    ]
