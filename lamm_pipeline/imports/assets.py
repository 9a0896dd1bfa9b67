"""The asset `annotation_export`: a ZIP with annotated images as a table of samples."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions, sample_table
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.drawing import distinct_color, draw_box, draw_mask
from lamm_pipeline.imports import checks
from lamm_pipeline.imports.importing import FILE_NAME, first_problems, labels_by_class, read_summary
from lamm_pipeline.imports.labels import listed
from lamm_pipeline.imports.planning import ASSET, CODE_VERSION, SCOPE, nothing_left, plan
from lamm_pipeline.imports.settings import ImportSettings, ZipLimits
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress


class ImportConfig(ImportSettings, ZipLimits, StageConfig):
    """How an annotation export is read, and what its ZIP may hold at most."""


@dg.asset(
    partitions_def=partitions.annotation_exports,
    group_name="imports",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    pool="io",
    kinds={"zip"},
    check_specs=checks.SPECS,
    description="A SAM2 export (ZIP) as a table of samples: images as they are, masks as COCO's runs at image size.",
)
def annotation_export(context: dg.AssetExecutionContext, config: ImportConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Import an annotation export."""
    with sentences_as_failures():
        settings = ImportSettings(**{name: getattr(config, name) for name in ImportSettings.model_fields})
        limits = ZipLimits(**{name: getattr(config, name) for name in ZipLimits.model_fields})
        planned = plan(workspace.store, workspace.catalog, workspace.ontology, context.partition_key, settings, limits)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return planned.make(draft, progress, workers=config.workers)

        with nothing_left(workspace.store, planned.key):
            artifact = produce(
                context,
                workspace,
                work,
                scope=SCOPE,
                config=config,
                code_version=CODE_VERSION,
                files=planned.files,
                settings=planned.science,
                sources=planned.sources,
            )
        return told(artifact, workspace)


def imported(artifact: Artifact, workspace: Workspace) -> dg.AssetMaterialization:
    """What Dagster is told of an import that was made for a dataset version, outside of a run of its own."""
    said = told(artifact, workspace)
    return dg.AssetMaterialization(
        ASSET, partition=artifact.key.partition, metadata=said.metadata, tags={"dagster/data_version": artifact.version}
    )


def told(artifact: Artifact, workspace: Workspace) -> dg.MaterializeResult:
    """What Dagster is told of an import.

    Args:
        artifact: the import.
        workspace: knows the colours of classes and where the report server is.
    """
    counts = artifact.counts
    summary = read_summary(artifact.file(FILE_NAME))
    labels = labels_by_class(summary)
    classes = [
        {
            "class": class_id,
            "annotations": count,
            "labels": listed(labels.get(class_id, [])),
            "extra": class_id in counts["extra_classes"],
        }
        for class_id, count in counts["classes"].items()
    ]
    return result(
        artifact,
        {
            **{name: counts[name] for name in ("frames", "annotations", "tracks")},
            **{f"frames_{state}": count for state, count in counts["states"].items()},
            "problems": sum(counts["problems"].values()),
            "left_out": sum(counts["left_out"].values()),
            "recording": summary["recording"],
            "video": table([{"fact": name, "value": str(value)} for name, value in summary["video"].items()]),
            "classes": table(classes),
            "flags": table([{"flag": name, "sentence": sentence} for name, sentence in counts["flags"].items()]),
            "first_problems": table(first_problems(summary)),
            "details": dg.MetadataValue.url(f"{workspace.settings.report_url}/files/{artifact.key.path}/{artifact.version}/{FILE_NAME}"),
            "sample": _preview(artifact, workspace.ontology),
        },
        list(checks.evaluate(counts, labels)),
    )


def _preview(artifact: Artifact, ontology: Ontology) -> dg.MetadataValue[Any]:
    """The first frame with its masks and boxes."""
    folder = artifact.file(sample_table.FILE_NAME).parent
    [sample] = islice(sample_table.read(artifact.file(sample_table.FILE_NAME), lambda _: folder), 1)
    image = np.asarray(cv2.imread(str(artifact.file(str(sample.image))), cv2.IMREAD_COLOR), np.uint8)
    _draw(image, sample, ontology)
    return thumbnail(image, f"{sample.frame_id}, {len(sample.annotations)} annotations")


def _draw(image: Any, sample: Sample, ontology: Ontology) -> None:
    colors = {each.id: each.color_rgb for each in ontology.classes}
    for number, each in enumerate(sample.annotations):
        color = colors.get(each.class_id) or distinct_color(number)
        try:
            if each.mask_rle is not None:
                draw_mask(image, each.mask_rle, color)
        except InputError:
            pass  # the validation names it
        draw_box(image, each.box_xyxy, color, each.class_id)
