"""The classes of a dataset version: those of the ontology, and after them the labels of imports that the ontology lacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lamm_pipeline.datasets.versions import VersionManifest, check_ontology
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.labels import UNKNOWN
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.sample_table import Annotation

EXTRA_COLOR = "#808080"
EXTRA_GROUP = "imported"
EXTRA_KITTI_TYPE = "Misc"


@dataclass(frozen=True)
class VersionClasses:
    """All classes that annotations of a version may be of.

    Attributes:
        all: in the order of their category ids.
    """

    all: tuple[ObjectClass, ...]

    @cached_property
    def _by_id(self) -> Mapping[str, ObjectClass]:
        return {known.id: known for known in self.all}

    def of(self, annotation: Annotation) -> ObjectClass:
        """The class of an annotation.

        Raises:
            InputError: the version has no such class.
        """
        known = self._by_id.get(annotation.class_id)
        if known is None:
            raise InputError(
                f"The annotation {annotation.detection_id!r} is a {annotation.class_id!r}, which is not in the ontology. Use the ontology "
                "the annotations were made with, or leave the class out by a filter."
            )
        return known


def version_classes(manifest: VersionManifest, ontology: Ontology) -> VersionClasses:
    """The classes of a version.

    Args:
        manifest: the version.
        ontology: the one it was created with.

    Raises:
        InputError: the ontology is another one.
    """
    check_ontology(manifest, ontology)
    last = max(known.category_id for known in ontology.classes)
    extra = (
        ObjectClass(label, label.replace("_", " "), number, _phrase(label), EXTRA_COLOR, EXTRA_KITTI_TYPE, EXTRA_GROUP)
        for number, label in enumerate(manifest.extra_classes, start=last + 1)
    )
    return VersionClasses((*ontology.classes, *extra))


def _phrase(label: str) -> str:
    """What conversations call an object of such a class; that of objects without a label is no noun."""
    return f"{UNKNOWN} object" if label == UNKNOWN else label
