"""Makes the segmenter that the settings name."""

from collections.abc import Callable

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.external_segmenter import ExternalSegmenter
from lamm_pipeline.segmentation.sam2_segmenter import Sam2Segmenter
from lamm_pipeline.segmentation.sam3_segmenter import Sam3Segmenter
from lamm_pipeline.segmentation.segmenter import FrameSegmenter, Segmenter
from lamm_pipeline.segmentation.settings import SegmentationSettings

AnySegmenter = Segmenter | FrameSegmenter
BACKENDS: dict[str, Callable[[SegmentationSettings, Ontology], AnySegmenter]] = {
    "detector": DetectorSegmenter,
    "external": ExternalSegmenter,
    "sam2": Sam2Segmenter,
    "sam3": Sam3Segmenter,
}


def make_segmenter(settings: SegmentationSettings, ontology: Ontology) -> AnySegmenter:
    """Make the back end `settings.backend`.

    Args:
        settings: of the stage.
        ontology: its classes are the only ones reported.

    Raises:
        InputError: there is no such back end, it cannot find any of the wanted classes, or a package or file that it needs is missing or
            damaged.
    """
    make = BACKENDS.get(settings.backend)
    if make is None:
        raise InputError(f"There is no segmentation back end {settings.backend!r}; set `backend` to {' or '.join(sorted(BACKENDS))}.")
    return make(settings, ontology)
