"""What can be measured, by name."""

from lamm_pipeline_tests.benchmarks import (
    clustering,
    detection,
    estimate,
    extraction,
    gifs,
    masklet_memory,
    memory,
    overhead,
    profile,
    tracking,
)
from lamm_pipeline_tests.benchmarks.harness import Subject

SUBJECTS: dict[str, Subject] = {
    "extraction": extraction.run,
    "detection": detection.run,
    "memory": memory.run,
    "overhead": overhead.run,
    "tracking": tracking.run,
    "estimate": estimate.run,
    "profile": profile.run,
    "clustering": clustering.run,
    "gifs": gifs.run,
    "masklet_memory": masklet_memory.run,
}
