"""Peak memory of a whole `lamm run`, exports included, by the number of frames."""

from pathlib import Path

from lamm_pipeline_tests.benchmarks.harness import Means, Row
from lamm_pipeline_tests.benchmarks.house import lamm
from lamm_pipeline_tests.benchmarks.recordings import recording

SMALL = (320, 180)
LIMIT_MB = 1200.0


def run(means: Means) -> list[Row]:
    few, many, large = (4, 8, (320, 180)) if means.tiny else (100, 1000, (1280, 720))
    short, long = (_peak_mb(means, recording(means.cache, *SMALL, frames), "--tiles", "full") for frames in (few, many))
    size, frames = "{}x{}".format(*SMALL), f"{many:,} frames"
    return [
        Row(f"peak MB, {frames} of {size}", long, short, at_most=1.05, note=f"reference: {few} frames"),
        Row("bytes that each further frame keeps", 1e6 * (long - short) / (many - few)),
        Row(
            f"peak MB, {few} frames of {large[0]}x{large[1]}, default settings",
            _peak_mb(means, recording(means.cache, *large, few)),
            LIMIT_MB,
            at_most=1.0,
            note="reference: limit",
        ),
    ]


def _peak_mb(means: Means, path: Path, *options: str) -> float:
    name = f"{path.parent.name}-{path.stem}"
    facts = lamm(
        means.folder / f"{name}.json",
        "run",
        path,
        "--root",
        means.folder / name,
        "--dataset",
        "street",
        *options,
        *(("--stage", "extraction") if means.tiny else ()),
    )
    return facts["peak_bytes"] / 1e6
