"""What the labels of an export mean: classes of the ontology, and slugs for those it does not know."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology

UNKNOWN = "unknown"
MAX_LENGTH = 80
_SHOWN = 5


class Labels:
    """Finds the class of a label; labels are told apart without regard to capital letters."""

    def __init__(self, ontology: Ontology, class_map: Mapping[str, str]) -> None:
        """Labels of one import.

        Args:
            ontology: the classes there are.
            class_map: class by label, a class id, name or detector label of the ontology, or a new class id.

        Raises:
            InputError: a class in the map cannot be one.
        """
        self._known = ontology.by_label
        self._mapped = {label.strip().casefold(): self._named(class_name) for label, class_name in class_map.items()}

    def class_of(self, label: str) -> str:
        """The class id of a label: as the map says, else the ontology, else the label as a slug."""
        folded = label.strip().casefold()
        if folded in self._mapped:
            return self._mapped[folded]
        known = self._known.get(folded) or self._known.get(slug := class_slug(label))
        return slug if known is None else known.id

    def class_without_label(self, default_label: str) -> str:
        """The class id of an object without a label, which is called `default_label`: as the map says, else unknown."""
        return self._mapped.get(default_label.casefold(), UNKNOWN)

    def is_extra(self, class_id: str) -> bool:
        """Whether the ontology lacks a class."""
        known = self._known.get(class_id)
        return known is None or known.id != class_id

    def _named(self, class_name: str) -> str:
        known = self._known.get(class_name.strip().casefold())
        if known is None and re.fullmatch(r"[a-z][a-z0-9_]*", class_name) is None:
            raise InputError(
                f"class_map names the class {class_name!r}, which the ontology lacks. Name one of its classes, or a new id of small "
                "letters, digits and underscores."
            )
        return class_name if known is None else known.id


def class_slug(label: str) -> str:
    """A class id from a label: small ASCII letters, digits and underscores, beginning with a letter.

    Letters of other scripts have no place in it; a piece of the label's digest tells such labels apart.
    """
    folded = unicodedata.normalize("NFKD", label.strip().casefold())
    slug = re.sub(r"[^a-z0-9]+", "_", folded.encode("ascii", "ignore").decode()).strip("_")[:MAX_LENGTH].rstrip("_")
    if any(letter.isalnum() and not letter.isascii() for letter in folded):
        slug = f"{slug or 'class'}_{hashlib.sha256(folded.encode()).hexdigest()[:8]}"
    if slug and not slug[0].isalpha():
        slug = f"class_{slug}"
    return slug or UNKNOWN


def listed(labels: Sequence[str]) -> str:
    """The first few labels, for people."""
    return ", ".join(labels[:_SHOWN]) + (f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else "")
