"""Where steps run: executor and GPU placement, decided when the definitions load."""

from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from lamm_pipeline.settings import Settings
from lamm_pipeline.streaming import default_workers

GPU_TAGS: dict[str, Any] = {
    "dagster-celery/queue": "gpu",
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
}


@dataclass(frozen=True)
class Placement:
    """Arguments of an asset that decide where it runs."""

    pool: str | None = None
    op_tags: dict[str, Any] = field(default_factory=dict)


def model_placement(settings: Settings) -> Placement:
    """Stages that run a model: on GPU workers with `LAMM_DEVICE=cuda`; on a CPU they must not queue for a GPU."""
    return Placement("gpu", GPU_TAGS) if settings.device == "cuda" else Placement()


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of every job: one process a step, or all steps in the run's process."""
    if settings.executor == "in_process":
        return dg.in_process_executor
    # forkserver starts a step in 1.5 s where spawn takes 3 to 5 s
    return dg.multiprocess_executor.configured(
        {"max_concurrent": default_workers(), "start_method": {"forkserver": {}}}, name="multiprocess"
    )
