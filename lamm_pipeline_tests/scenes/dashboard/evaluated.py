"""Evaluations of a world, with the scores that a test wants."""

from collections.abc import Sequence
from datetime import UTC, datetime

from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline_tests.review.worlds import World


def publish(world: World, scores: Sequence[float], evaluation: str = "night-v3", iou: float | None = None, day: int = 2) -> Artifact:
    """Publish scores of one evaluation as its stage writes them."""
    rows = [
        FrameUncertainty(
            evaluation=evaluation,
            model_id="classifier-v3",
            evaluated_at=datetime(2026, 1, day, tzinfo=UTC),
            frame_id=f"{world.key}:{number:06d}",
            frame_index=number,
            timestamp_ns=number,
            points=10,
            score=score,
            score_kind="mutual_information_mean",
            iou=iou,
            label_source=None if iou is None else "derived",
        )
        for number, score in enumerate(scores)
    ]
    key = ArtifactKey("recordings", world.key, "frame_uncertainty")
    identity = Identity(key.asset, "1", {"scores": list(scores), "iou": iou}, {}, {})
    with world.store.draft(key, identity.version) as draft:
        frame_uncertainty.write(draft.directory / frame_uncertainty.FILE_NAME, rows)
        return world.store.publish(key, draft, identity, {}, {})
