"""Roots with many scenes, in the catalog and as a published library, without any of their recordings."""

import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.models import Recording
from lamm_pipeline.scenes.library import scene_table
from lamm_pipeline.scenes.library.collect import KEY
from lamm_pipeline.scenes.library.scene_table import Scene, StoredAsset
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty

TAGS = ("rain", "night", "highway", "city", "tunnel")
PLACES = ("highway-drive", "city-loop", "parking", "harbour", "suburb")
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


def scene(number: int, *, draw: random.Random | None = None, pictures: tuple[str | None, str | None] = (None, None)) -> Scene:
    """A scene that might be, the same for a number however often it is asked."""
    draw = draw or random.Random(number)
    captured = START + timedelta(minutes=17 * number)
    key = f"{captured:%Y-%m-%d}-{PLACES[number % len(PLACES)]}-{number:05d}"
    unsure = draw.random() if draw.random() < 0.7 else None
    here = draw.random() < 0.5
    frames = draw.randrange(100, 5000)
    size = frames * 900_000
    return Scene(
        scene_id=key,
        name=key,
        source="test-drives",
        source_path=f"/recordings/{key}.svo2",
        captured_at=captured,
        duration_s=frames / 30,
        gps_start_lat=48.0 + draw.random() if here else None,
        gps_start_lon=11.0 + draw.random() if here else None,
        frames=frames,
        points=frames * 45_000,
        annotations=draw.randrange(0, 20_000),
        max_uncertainty=unsure,
        avg_uncertainty=None if unsure is None else unsure * 0.4,
        uncertainty_model=None if unsure is None else f"production-classifier-v3.{number % 3}",
        uncertainty_evaluation=None if unsure is None else f"nightly-{number % 3}",
        uncertainty_score=None if unsure is None else "mutual_information_mean",
        status=draw.choice(("unlabelled", "in_progress", "in_review", "labelled")),
        labeler=draw.choice((None, "eve", "bob")),
        tags=tuple(sorted(draw.sample(TAGS, draw.randrange(0, 3)))),
        storage_bytes=size,
        artifacts=(StoredAsset("frames", "0" * 16, size),),
        image_preview=pictures[0],
        points_preview=pictures[1],
    )


def populate(root: Path, scenes: Iterable[Scene]) -> tuple[Catalog, LocalStore]:
    """Put scenes into the catalog of a root, and publish them as its library."""
    found = sorted(scenes, key=lambda each: each.scene_id)
    root.mkdir(parents=True, exist_ok=True)
    catalog, store = Catalog(f"sqlite:///{root / 'catalog.sqlite'}"), LocalStore(root)
    with catalog._session() as session:
        session.add_all(
            Recording(
                key=each.scene_id,
                source_path=each.source_path,
                path=each.source_path,
                size=1000,
                mtime_ns=0,
                quick_digest=each.scene_id[:64],
                digest=f"{each.scene_id}"[:64],
                added_at=START,
                added_by="ada",
                recorded_at=each.captured_at,
            )
            for each in found
        )
    for tag in {tag for each in found for tag in each.tags}:
        catalog.tags.add([each.scene_id for each in found if tag in each.tags], [tag], "ada")
    for status, labeler in {(each.status, each.labeler) for each in found}:
        chosen = [each.scene_id for each in found if (each.status, each.labeler) == (status, labeler)]
        catalog.labelling.set(chosen, "ada", status=status, labeler=labeler)
    publish_library(store, found)
    return catalog, store


def publish_library(store: LocalStore, scenes: Iterable[Scene]) -> Artifact:
    rows = list(scenes)
    identity = Identity(KEY.asset, scene_table.CODE_VERSION, {}, {}, {"scenes": f"{len(rows)}"})
    with store.draft(KEY, identity.version) as draft:
        scene_table.write(draft.directory / scene_table.FILE_NAME, rows)
        return store.publish(KEY, draft, identity, {"scenes": len(rows)}, {})


def publish_uncertainty(
    store: LocalStore, recording: str, scores: Iterable[tuple[str, str, float]], kinds: Mapping[str, str] | None = None
) -> Artifact:
    """Publish uncertainty of a recording: evaluation, day of January 2026 on which it was run, score of a frame; kinds by evaluation."""
    rows = [
        FrameUncertainty(
            evaluation=evaluation,
            model_id=f"model-{evaluation}",
            evaluated_at=datetime(2026, 1, int(day), tzinfo=UTC),
            frame_id=f"{recording}:{number:06d}",
            frame_index=number,
            timestamp_ns=number,
            points=None,
            score=score,
            score_kind=(kinds or {}).get(evaluation, "mutual_information_mean"),
        )
        for number, (evaluation, day, score) in enumerate(scores)
    ]
    key = ArtifactKey("recordings", recording, "frame_uncertainty")
    identity = Identity(key.asset, "1", {"rows": f"{rows}"}, {}, {})
    with store.draft(key, identity.version) as draft:
        frame_uncertainty.write(draft.directory / frame_uncertainty.FILE_NAME, rows)
        return store.publish(key, draft, identity, {}, {})
