"""The table of contents: every asset, check, job, sensor and resource, in pipeline order."""

import gc

import dagster as dg

from lamm_pipeline.curation import assets as curation
from lamm_pipeline.curation.sensors import decisions_changed
from lamm_pipeline.datasets import assets as datasets
from lamm_pipeline.datasets import jobs as dataset_jobs
from lamm_pipeline.extraction import assets as extraction
from lamm_pipeline.extraction import checks as extraction_checks
from lamm_pipeline.imports import assets as imports
from lamm_pipeline.imports.sensors import new_annotation_exports
from lamm_pipeline.orchestration.placement import executor
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reconstruction import assets as reconstruction
from lamm_pipeline.recordings import assets as recordings
from lamm_pipeline.recordings.sensors import new_recordings
from lamm_pipeline.review import assets as review
from lamm_pipeline.review import jobs as review_jobs
from lamm_pipeline.review.schedules import yesterdays_recordings
from lamm_pipeline.scenes.dashboard.assets import dashboard
from lamm_pipeline.scenes.hotspots.assets import uncertainty_hotspots
from lamm_pipeline.scenes.jobs import refresh_scenes, scene_summaries, weekly_proposals
from lamm_pipeline.scenes.library.assets import scene_library
from lamm_pipeline.scenes.library.sensors import export_built_versions
from lamm_pipeline.scenes.view import assets as scenes
from lamm_pipeline.segmentation import assets as segmentation
from lamm_pipeline.settings import Settings
from lamm_pipeline.tracking import assets as tracking
from lamm_pipeline.uncertainty import assets as uncertainty_assets
from lamm_pipeline.uncertainty.sensors import new_evaluations

PER_RECORDING = [
    recordings.recording,
    extraction.frames,
    extraction.diversity_metrics,
    segmentation.detections,
    segmentation.mask_candidates,
    reconstruction.boxes_3d,
    tracking.tracks,
    tracking.masklets,
    tracking.identities,
    review.sequence_annotations,
    curation.annotation_stats,
    curation.selection,
]

annotate_only = dg.define_asset_job(
    "annotate_only",
    selection=dg.AssetSelection.assets("recording", "frames", "detections", "boxes_3d", "tracks", "sequence_annotations"),
    description="One recording up to what people review: read, extract, detect, rebuild, track, make sequence annotations.",
)
production = dg.define_asset_job(
    "production",
    selection=dg.AssetSelection.assets(*PER_RECORDING),
    description="One recording up to what datasets are made of: annotate_only, the diversity metrics, masklets with their identities, "
    "annotation statistics and the selection.",
)

curate = dg.define_asset_job(
    "curate",
    selection=dg.AssetSelection.assets("selection"),
    description="Which frames and annotations of one recording are for datasets, from what is there already; over many recordings as a "
    "backfill.",
)
gifs = dg.define_asset_job(
    "gifs",
    selection=dg.AssetSelection.assets("review_gifs"),
    description="The GIFs of one recording's sequence annotations, for people who review; over many recordings as a backfill.",
)
import_exports = dg.define_asset_job(
    "import_exports",
    selection=dg.AssetSelection.assets("annotation_export"),
    description="One ZIP with annotated images as a table of samples, which datasets are made of.",
)
uncertainty = dg.define_asset_job(
    "uncertainty",
    selection=dg.AssetSelection.assets("frame_uncertainty"),
    description="How unsure models are of the frames of one recording, by the evaluations that were taken in.",
)
scene = dg.define_asset_job(
    "scene",
    selection=dg.AssetSelection.assets("scene_view"),
    description="One recording in 3D, from what is there already; over many recordings as a backfill.",
)


_COLLECTIONS = 50_000, 20, 20
"""After how many new objects Python looks for cycles that nobody holds; by itself it does so after 700. Rows come by the hundred thousand
here and hold no cycles, beside half a million objects of the libraries: looking took a fifth of the time of many stages."""


def build_definitions(settings: Settings) -> dg.Definitions:
    """The whole graph for a root folder and an executor; tests and the command line build it with their own."""
    gc.set_threshold(*_COLLECTIONS)
    return dg.Definitions(
        assets=[
            *PER_RECORDING,
            review.review_gifs,
            imports.annotation_export,
            *datasets.ASSETS,
            uncertainty_assets.frame_uncertainty,
            scenes.scene_view,
            scene_library,
            uncertainty_hotspots,
            dashboard,
        ],
        asset_checks=[extraction_checks.disk_headroom],
        jobs=[
            annotate_only,
            production,
            curate,
            gifs,
            import_exports,
            uncertainty,
            scene,
            refresh_scenes,
            review_jobs.decide,
            dataset_jobs.create_dataset,
            dataset_jobs.prepare,
            dataset_jobs.export,
        ],
        sensors=[
            new_recordings,
            new_annotation_exports,
            decisions_changed,
            dataset_jobs.export_new_versions,
            export_built_versions,
            scene_summaries,
            new_evaluations,
        ],
        schedules=[yesterdays_recordings, weekly_proposals],
        resources={"workspace": Workspace(root=str(settings.root))},
        executor=executor(settings),
    )


defs = build_definitions(Settings.from_environment())
