"""The assets of a dataset version: `curated_dataset`, `splits`, `validation_report`, one asset a format, `lineage`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions
from lamm_pipeline.datasets import checks
from lamm_pipeline.datasets.curate import curate_version
from lamm_pipeline.datasets.downloads import download_path
from lamm_pipeline.datasets.formats.export import export_version
from lamm_pipeline.datasets.lineage import LINEAGE_FILE, write_lineage
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.datasets.splits.split_summary import why_in_no_split
from lamm_pipeline.datasets.splits.split_table import leaks, read_summary, split_version
from lamm_pipeline.datasets.validation.assets import require_validated, validation_report
from lamm_pipeline.datasets.versions import PreviousSplit, VersionManifest, read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Source
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CURATION_VERSION = "3"
SPLITS_VERSION = "5"
KITTI_VERSION = "2"
COCO_VERSION = "4"
HUGGINGFACE_VERSION = "2"
LLAVA_VERSION = "2"
SAM2_VERSION = "1"
LINEAGE_VERSION = "3"
GROUP = "datasets"

# The edges are drawn, but a version does not turn stale when a recording moves on: what it was made of is pinned in its manifest.
_SOURCES = [
    dg.AssetDep(name, partition_mapping=dg.SpecificPartitionsPartitionMapping([]))
    for name in ("frames", "detections", "boxes_3d", "tracks", "diversity_metrics", "selection", "annotation_export")
]


@dg.asset(
    partitions_def=partitions.dataset_versions,
    deps=_SOURCES,
    group_name=GROUP,
    code_version=CURATION_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=[checks.COUNTS_ADD_UP, checks.SOURCES_AGREE],
    description="Which frames and annotations of the version's recordings are kept, and the reason for every one that is not.",
)
def curated_dataset(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Apply a version's filters."""
    with sentences_as_failures():
        version = _version(context, workspace)
        folders = pinned_folders(workspace.store)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return curate_version(version, folders, draft, progress, workers=config.workers)

        artifact = produce(
            context,
            workspace,
            work,
            scope="datasets",
            config=config,
            code_version=CURATION_VERSION,
            settings={"version": version.content_digest},
            sources=_sources(workspace, version),
        )
        counts = artifact.counts
        drops = [{"what": "frame", "reason": reason, "count": count} for reason, count in counts["dropped_frames"].items()]
        drops += [{"what": "annotation", "reason": reason, "count": count} for reason, count in counts["dropped_annotations"].items()]
        return result(
            artifact,
            {
                "frames": counts["filtered"]["frames"],
                "annotations": counts["filtered"]["annotations"],
                "original_frames": counts["original"]["frames"],
                "original_annotations": counts["original"]["annotations"],
                "reduction_percentage": counts["reduction_percentage"],
                "corrected_annotations": counts["corrected_annotations"],
                "states": table([{"state": state, "frames": count} for state, count in counts["states"].items()]),
                "dropped": table(drops),
                "classes": table([{"class": name, **numbers} for name, numbers in counts["classes"].items()]),
                "recordings": table(_inputs(version)),
            },
            checks.curation_verdicts(version, folders, artifact.folder, counts),
        )


@dg.asset(
    partitions_def=partitions.dataset_versions,
    deps=[curated_dataset],
    group_name=GROUP,
    code_version=SPLITS_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=[checks.NO_VIDEO_LEAKAGE, checks.GUARD_GAP, checks.STRATIFIED],
    description="Train, val and test: whole recordings, or contiguous blocks with a guard gap where there are too few, or as asked.",
)
def splits(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Divide a version's frames."""
    with sentences_as_failures():
        version = _version(context, workspace)
        curated = workspace.version_artifact(context.partition_key, "curated_dataset")
        previous = None if version.previous_split is None else _previous_split(workspace, version.previous_split)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            summary = split_version(version, curated.folder, draft, None if previous is None else previous.folder)
            progress(summary["total_frames"], summary["total_frames"])
            return {name: summary[name] for name in ("total_frames", "total_annotations", "total_recordings", "strategy_used")}

        artifact = produce(
            context,
            workspace,
            work,
            scope="datasets",
            config=config,
            code_version=SPLITS_VERSION,
            inputs={"curated_dataset": curated} | ({} if previous is None else {"previous_splits": previous}),
            settings=version.settings.split.model_dump(mode="json"),
        )
        summary = read_summary(artifact.folder)
        rows = [
            {"split": name, "ratio": summary["ratios"][name], "achieved": summary["achieved_ratios"][name]}
            | {key: part[key] for key in ("frames", "annotations", "recording_count")}
            for name, part in summary["splits"].items()
        ]
        return result(
            artifact,
            {
                **artifact.counts,
                "frames_in_no_split": sum(summary["unassigned_frames"].values()),
                "in_no_split": dg.MetadataValue.md("\n".join(f"- {why}" for why in why_in_no_split(summary)) or "none"),
                "splits": table(rows),
                "classes": table([{"class": name, **numbers} for name, numbers in summary["classes"].items()]),
                "shares": table(_shares(summary)),
                "newcomers": table([summary["newcomers"]]),
                "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in summary["notes"]) or "none"),
            },
            [
                checks.no_video_leakage(leaks(artifact.folder), summary),
                checks.guard_gap(summary),
                checks.stratified_within_5_points(summary),
            ],
        )


def _export_asset(export_format: ExportFormat, code_version: str, description: str) -> dg.AssetsDefinition:
    """The asset that writes a version in one format."""

    @dg.asset(
        name=f"{export_format}_dataset",
        partitions_def=partitions.dataset_versions,
        deps=[splits, validation_report],
        group_name=GROUP,
        code_version=code_version,
        retry_policy=IO_RETRIES,
        pool="io",
        kinds={str(export_format)},
        description=description,
    )
    def export(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
        with sentences_as_failures():
            version = _version(context, workspace)
            if export_format not in version.settings.formats:
                return dg.MaterializeResult(metadata={"exported": False, "note": f"{version.key} is not wanted as {export_format}."})
            curated = workspace.version_artifact(context.partition_key, "curated_dataset")
            split = workspace.version_artifact(context.partition_key, "splits")
            require_validated(workspace, version.key, {"curated_dataset": curated, "splits": split})

            def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
                summary = export_version(
                    version,
                    export_format,
                    artifact_folder=pinned_folders(workspace.store),
                    curated_folder=curated.folder,
                    splits_folder=split.folder,
                    ontology=workspace.ontology,
                    draft=draft,
                    workers=config.workers,
                    progress=progress,
                )
                return asdict(summary)

            artifact = produce(
                context,
                workspace,
                work,
                scope="datasets",
                config=config,
                code_version=code_version,
                inputs={"curated_dataset": curated, "splits": split},
                files={"ontology": workspace.ontology.digest},
                settings=version.settings.model_dump(mode="json", exclude={"filters", "split", "validation", "formats"}),
            )
            counts = artifact.counts
            rows = [
                {"split": name, "frames": counts["frames"][name], "annotations": counts["annotations"][name]} for name in counts["frames"]
            ]
            return result(
                artifact,
                {
                    "exported": True,
                    "frames": sum(counts["frames"].values()),
                    "annotations": sum(counts["annotations"].values()),
                    "written": table(rows),
                    "files": table([{"what": name, "count": count} for name, count in counts["counts"].items()]),
                    "dataset": dg.MetadataValue.path(f"{artifact.location}/{export_format}"),
                    "download": dg.MetadataValue.url(f"{workspace.settings.report_url}{download_path(version.key, export_format)}"),
                    "sample": _preview(artifact),
                },
            )

    return export


kitti_dataset = _export_asset(
    ExportFormat.kitti, KITTI_VERSION, "The version as KITTI: images, labels with 3D boxes in the camera frame, calibration, clouds, depth."
)
coco_dataset = _export_asset(ExportFormat.coco, COCO_VERSION, "The version as COCO: images and annotations.json with RLE masks.")
huggingface_dataset = _export_asset(
    ExportFormat.huggingface,
    HUGGINGFACE_VERSION,
    "The version as a Hugging Face DatasetDict for load_from_disk: images, masks, boxes, conversations; with a dataset card.",
)
llava_dataset = _export_asset(
    ExportFormat.llava, LLAVA_VERSION, "The version in LLaVA's format: JSON lines with questions and answers about each image."
)

sam2_dataset = _export_asset(
    ExportFormat.sam2, SAM2_VERSION, "The version as SAM2 exports, one ZIP a recording, which can be imported again without loss."
)


@dg.asset(
    partitions_def=partitions.dataset_versions,
    deps=[kitti_dataset, coco_dataset, huggingface_dataset, llava_dataset, sam2_dataset],
    group_name=GROUP,
    code_version=LINEAGE_VERSION,
    retry_policy=IO_RETRIES,
    description="lineage.json: where every frame came from, with counts taken from the files that were written.",
)
def lineage(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Check a version's exports against its split and write their lineage."""
    with sentences_as_failures():
        version = _version(context, workspace)
        selection = workspace.version_artifact(context.partition_key, "curated_dataset")
        split = workspace.version_artifact(context.partition_key, "splits")
        exports = {each: workspace.version_artifact(context.partition_key, f"{each}_dataset") for each in version.settings.formats}
        source_datasets = {workspace.catalog.recordings.get(inputs.recording).dataset_id for inputs in version.recordings}
        source_dataset = source_datasets.pop() if len(source_datasets) == 1 else None

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            written = write_lineage(
                version,
                selection_folder=selection.folder,
                splits_folder=split.folder,
                exports={each: artifact.folder / each for each, artifact in exports.items()},
                draft=draft,
                source_job_id=version.source_job_id,
                source_dataset_id=source_dataset,
            )
            frames = int(written["statistics"]["total_frames"])
            progress(frames, frames)
            return dict(written["statistics"])

        artifact = produce(
            context,
            workspace,
            work,
            scope="datasets",
            config=config,
            code_version=LINEAGE_VERSION,
            inputs={"curated_dataset": selection, "splits": split, **{f"{each}_dataset": artifact for each, artifact in exports.items()}},
            settings={"version": version.model_dump(mode="json"), "source_dataset_id": source_dataset},
        )
        content = json.loads(artifact.file(LINEAGE_FILE).read_text())
        return result(
            artifact,
            {
                **artifact.counts,
                "training_dataset_id": content["training_dataset_id"],
                "curated_dataset_id": content["curated_dataset_id"] or "none: nothing was filtered",
                "recordings": table(_inputs(version)),
                "lineage": dg.MetadataValue.path(f"{artifact.location}/{LINEAGE_FILE}"),
            },
        )


ASSETS: Sequence[dg.AssetsDefinition] = (
    curated_dataset,
    splits,
    validation_report,
    kitti_dataset,
    coco_dataset,
    huggingface_dataset,
    llava_dataset,
    sam2_dataset,
    lineage,
)


def _version(context: dg.AssetExecutionContext, workspace: Workspace) -> VersionManifest:
    workspace.catalog.versions.get(context.partition_key)
    return read_version(Path(workspace.root), context.partition_key)


def _previous_split(workspace: Workspace, previous: PreviousSplit) -> Artifact:
    found = workspace.store.find(ArtifactKey("datasets", previous.version, "splits"), previous.artifact)
    if found is None:
        raise InputError(
            f"The split {previous.artifact} of {previous.version!r}, whose frames are to stay where they are, is not there any more. "
            "Make a version that splits anew."
        )
    return found


def _shares(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How much of each split has each class, percent."""
    return [
        {"class": name} | {split: f"{100 * numbers['share']:.1f} ({numbers['points']:+.1f})" for split, numbers in by_split.items()}
        for name, by_split in summary["class_shares"].items()
    ]


def _sources(workspace: Workspace, version: VersionManifest) -> list[Source]:
    """The recordings of a version, as their pinned frames name them."""
    keys = {ArtifactKey("recordings", inputs.recording, "frames"): inputs.artifacts.frames for inputs in version.recordings}
    frames = [workspace.store.find(key, pinned) for key, pinned in keys.items()]
    return [source for artifact in frames if artifact is not None for source in artifact.manifest.sources]


def _inputs(version: VersionManifest) -> list[dict[str, Any]]:
    rows = [
        {"recording": inputs.recording, **dict(inputs.artifacts), "file": inputs.source.path, "digest": inputs.source.digest[:16]}
        for inputs in version.recordings
    ]
    rows += [
        {
            "recording": each.recording,
            "import": each.key,
            "artifact": each.artifact,
            "file": each.source.path,
            "digest": each.source.digest[:16],
        }
        for each in version.imports
    ]
    return rows


def _preview(artifact: Artifact) -> dg.MetadataValue[Any]:
    """The first training image that was written."""
    names = sorted(
        name
        for name in artifact.manifest.files
        if name.endswith((".png", ".jpg", ".jpeg")) and "/masks/" not in name and "/image_3/" not in name
    )
    if not names:
        return dg.MetadataValue.text("no image files")
    name = next((each for each in names if "/train/" in each), names[0])
    return thumbnail(np.asarray(cv2.imread(str(artifact.file(name)), cv2.IMREAD_COLOR), np.uint8), name)
