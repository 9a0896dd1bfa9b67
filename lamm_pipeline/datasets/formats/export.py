"""One way to write a dataset version in any format."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.formats.coco import write_coco
from lamm_pipeline.datasets.formats.files import Export, ExportSummary
from lamm_pipeline.datasets.formats.huggingface import write_huggingface
from lamm_pipeline.datasets.formats.kitti import write_kitti
from lamm_pipeline.datasets.formats.llava import write_llava
from lamm_pipeline.datasets.formats.sam2_export import write_sam2
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.datasets.splits.split_table import read_summary, split_samples
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.sample_table import ArtifactFolder
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress, no_progress

WRITERS: Mapping[ExportFormat, Callable[[Export], ExportSummary]] = {
    ExportFormat.kitti: write_kitti,
    ExportFormat.coco: write_coco,
    ExportFormat.huggingface: write_huggingface,
    ExportFormat.llava: write_llava,
    ExportFormat.sam2: write_sam2,
}


def export_version(
    manifest: VersionManifest,
    export_format: ExportFormat,
    *,
    artifact_folder: ArtifactFolder,
    curated_folder: Path,
    splits_folder: Path,
    ontology: Ontology,
    draft: Draft,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> ExportSummary:
    """Write a dataset version in one format.

    Args:
        manifest: the version.
        export_format: which format.
        artifact_folder: tells where the artifacts lie that hold the frames' files.
        curated_folder: of its artifact `curated_dataset`.
        splits_folder: of its artifact `splits`.
        ontology: the classes the version was created with.
        draft: gets the dataset, in a folder named after the format.
        workers: number of threads, None for one per processor.
        progress: told after every frame.

    Raises:
        InputError: the ontology is another one, or samples and split do not belong together.
    """
    classes = version_classes(manifest, ontology)
    samples = split_samples(curated_folder, splits_folder, artifact_folder)
    total = int(read_summary(splits_folder)["total_frames"])
    return WRITERS[export_format](Export(samples, manifest, classes, draft, total, workers, progress))
