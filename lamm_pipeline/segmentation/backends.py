"""Makes the segmenter that the settings name."""

from collections.abc import Callable

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.segmenter import Segmenter
from lamm_pipeline.segmentation.settings import SegmentationSettings

BACKENDS: dict[str, Callable[[SegmentationSettings, Ontology], Segmenter]] = {"detector": DetectorSegmenter}


def make_segmenter(settings: SegmentationSettings, ontology: Ontology) -> Segmenter:
    """Make the back end `settings.backend`.

    Args:
        settings: of the stage.
        ontology: its classes are the only ones reported.

    Raises:
        InputError: there is no such back end, it cannot find any of the wanted classes, or its weights are damaged.
    """
    make = BACKENDS.get(settings.backend)
    if make is None:
        raise InputError(f"There is no segmentation back end {settings.backend!r}; set `backend` to {' or '.join(sorted(BACKENDS))}.")
    return make(settings, ontology)
