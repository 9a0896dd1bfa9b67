"""The classes the pipeline speaks of: ids, prompts, colours, KITTI types, size priors, and what a detector's labels mean.

Read from YAML (`default.yaml` beside this file, or a user's own in the same form). A file is checked completely when it is read, so that
stages need not doubt it.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from lamm_pipeline.errors import InputError

KITTI_TYPES = frozenset({"Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc"})
LARGEST_SIZE_M = 1000.0
REQUIRED_KEYS = ("id", "category_id", "name", "prompt", "color", "kitti_type", "group")
OPTIONAL_KEYS = ("size_prior", "detector_labels")
AXES = ("length", "width", "height")


@dataclass(frozen=True)
class SizePrior:
    """Plausible sizes of a class in metres, `(smallest, largest)` along each axis of its box."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]

    def allows(self, width_m: float, height_m: float, thickness_m: float) -> bool:
        """Whether an object of such a size, standing upright and turned any way, can look like this.

        Args:
            width_m: seen from left to right: at least the shorter of length and width, at most the diagonal.
            height_m: seen from top to bottom.
            thickness_m: from the nearest to the farthest point seen; at most the diagonal, and little where only one side is seen.
        """
        diagonal = math.hypot(self.length[1], self.width[1])
        narrowest = min(self.length[0], self.width[0])
        return narrowest <= width_m <= diagonal and self.height[0] <= height_m <= self.height[1] and thickness_m <= diagonal


@dataclass(frozen=True)
class ObjectClass:
    """One class of objects.

    Attributes:
        id: short name used in files and settings.
        name: for people.
        category_id: fixed number in COCO exports, 1 or more.
        prompt: text for open-vocabulary models, alternatives separated by commas.
        color: `#rrggbb`.
        kitti_type: type in KITTI labels.
        group: classes of one group compete for the same box.
        size_prior: plausible sizes, None where there are none.
        detector_labels: labels of the embedded detector that mean this class.
    """

    id: str
    name: str
    category_id: int
    prompt: str
    color: str
    kitti_type: str
    group: str
    size_prior: SizePrior | None = None
    detector_labels: tuple[str, ...] = ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """The alternatives of `prompt`, each a text of its own."""
        return tuple(text for part in self.prompt.split(",") if (text := part.strip()))

    @property
    def color_rgb(self) -> tuple[int, int, int]:
        """The colour as red, green, blue in 0..255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Ontology:
    """The classes of one file, in the order of their category ids.

    Attributes:
        classes: sorted by category id.
        digest: SHA-256 of the file's bytes, hex; part of the version of everything made with it.
    """

    classes: tuple[ObjectClass, ...]
    digest: str

    @cached_property
    def by_label(self) -> Mapping[str, ObjectClass]:
        """Classes by id, then name, then detector label, in small letters; a label of several classes means the first of them."""
        known: dict[str, ObjectClass] = {}
        for texts in (
            [(each.id, each) for each in self.classes],
            [(each.name, each) for each in self.classes],
            [(label, each) for each in self.classes for label in each.detector_labels],
        ):
            for text, each in texts:
                known.setdefault(text.casefold(), each)
        return known

    def by_id(self, class_id: str) -> ObjectClass:
        """Return the class with this id.

        Args:
            class_id: such as `car`.

        Raises:
            InputError: there is none.
        """
        return self.select([class_id])[0]

    def select(self, wanted: Iterable[int | str]) -> tuple[ObjectClass, ...]:
        """Pick classes by id or by category id.

        Args:
            wanted: class ids (`car`) and category ids (`1`, or the text `"1"`), mixed as one likes.

        Returns:
            The classes, sorted by category id, each once.

        Raises:
            InputError: one of them is not in the ontology.
        """
        names = {known.id: known for known in self.classes} | {str(known.category_id): known for known in self.classes}
        chosen: dict[int, ObjectClass] = {}
        for key in wanted:
            found = names.get(str(key))
            if found is None:
                known = ", ".join(f"{each.id} ({each.category_id})" for each in self.classes)
                raise InputError(f"The class {key!r} is not in the ontology; it has {known}.")
            chosen[found.category_id] = found
        return tuple(chosen[number] for number in sorted(chosen))

    def for_detector_label(self, label: str, height_m: float | None = None) -> ObjectClass | None:
        """Tell what a detector's label means.

        Where several classes name the label, the one with the smallest category id is meant, unless the object is measured to be higher
        than that class can be and suits another one better: a `Vehicle` of 3 m is a truck. Of ranges that it lies between, the one nearer
        in ratio counts, because errors of distance and box scale the height.

        Args:
            label: as the detector writes it.
            height_m: measured height of the object, None when unknown.

        Returns:
            The class, or None when no class names the label.
        """
        candidates = [known for known in self.classes if label in known.detector_labels]
        if not candidates:
            return None
        default = candidates[0]
        if height_m is None or default.size_prior is None or height_m <= default.size_prior.height[1]:
            return default
        sized = [(known.size_prior.height, known) for known in candidates if known.size_prior is not None]
        return min(sized, key=lambda each: max(each[0][0] / height_m, height_m / each[0][1], 1.0))[1]

    def of_size(self, width_m: float, height_m: float, thickness_m: float) -> tuple[ObjectClass, ...]:
        """The classes that an object may be of, as far as its size tells; those without a size prior are not among them.

        Args:
            width_m: seen from left to right, metres.
            height_m: seen from top to bottom, metres.
            thickness_m: from the nearest to the farthest point seen, metres.
        """
        return tuple(
            each for each in self.classes if each.size_prior is not None and each.size_prior.allows(width_m, height_m, thickness_m)
        )


def load_ontology(path: Path | None = None) -> Ontology:
    """Read and check an ontology.

    Args:
        path: YAML file; None means the one that comes with the package.

    Raises:
        InputError: the file is missing or something in it is wrong.
    """
    if path is None:
        return _parse(resources.files(__package__).joinpath("default.yaml").read_bytes(), "default.yaml")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"The ontology {path} does not exist; give the path of a YAML file with a list `classes`.") from error
    return _parse(content, str(path))


def _parse(content: bytes, source: str) -> Ontology:
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"The ontology {source} is not valid YAML: {error}") from error
    entries = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"The ontology {source} has no list `classes`; each class in it has the keys {', '.join(REQUIRED_KEYS)}.")
    classes = [_object_class(entry, position, source) for position, entry in enumerate(entries, start=1)]
    for field in ("id", "category_id"):
        _refuse_duplicates([getattr(each, field) for each in classes], field, source)
    return Ontology(tuple(sorted(classes, key=lambda each: each.category_id)), hashlib.sha256(content).hexdigest())


def _refuse_duplicates(values: list[Any], field: str, source: str) -> None:
    doubled = sorted({value for value in values if values.count(value) > 1})
    if doubled:
        raise InputError(f"In the ontology {source} several classes have the {field} {doubled[0]!r}; give each its own.")


def _object_class(entry: Any, position: int, source: str) -> ObjectClass:
    if not isinstance(entry, dict):
        raise InputError(f"Class {position} of the ontology {source} is not a mapping; write `- id: car` and its other keys below it.")
    where = f"Class {entry.get('id', position)!r} of the ontology {source}"
    missing = [key for key in REQUIRED_KEYS if key not in entry]
    unknown = [str(key) for key in entry if key not in REQUIRED_KEYS + OPTIONAL_KEYS]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}.")
    if unknown:
        raise InputError(f"{where} has unknown keys: {', '.join(unknown)}; allowed are {', '.join(REQUIRED_KEYS + OPTIONAL_KEYS)}.")
    texts = {key: _text(entry[key], key, where) for key in REQUIRED_KEYS if key != "category_id"}
    if not re.fullmatch(r"[a-z][a-z0-9_]*", texts["id"]):
        raise InputError(f"{where}: an id is made of small letters, digits and underscores and starts with a letter.")
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", texts["color"]):
        raise InputError(f"{where} has the color {texts['color']!r}; write it as '#rrggbb' with six hexadecimal digits, in quotes.")
    if texts["kitti_type"] not in KITTI_TYPES:
        raise InputError(f"{where} has the kitti_type {texts['kitti_type']!r}; KITTI knows {', '.join(sorted(KITTI_TYPES))}.")
    if not texts["prompt"].replace(",", "").strip():
        raise InputError(f"{where} has no text between the commas of its prompt.")
    number = entry["category_id"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"{where} has the category_id {number!r}; it must be a whole number of 1 or more.")
    labels = entry.get("detector_labels") or []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{where}: detector_labels must be a list of texts.")
    prior = entry.get("size_prior")
    return ObjectClass(
        category_id=number,
        size_prior=None if prior is None else _size_prior(prior, where),
        detector_labels=tuple(labels),
        **{**texts, "color": texts["color"].lower()},
    )


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key} must be a text that is not empty.")
    return value.strip()


def _size_prior(prior: Any, where: str) -> SizePrior:
    if not isinstance(prior, Mapping) or set(prior) != set(AXES):
        raise InputError(f"{where}: size_prior must have length, width and height, each as [smallest, largest] in metres, or be null.")
    return SizePrior(**{axis: _size_range(prior[axis], axis, where) for axis in AXES})


def _size_range(value: Any, axis: str, where: str) -> tuple[float, float]:
    numbers = value if isinstance(value, list) and len(value) == 2 else []
    if not numbers or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise InputError(f"{where}: the {axis} of size_prior must be [smallest, largest] in metres.")
    smallest, largest = float(numbers[0]), float(numbers[1])
    if not 0.0 < smallest <= LARGEST_SIZE_M or not 0.0 < largest <= LARGEST_SIZE_M:
        raise InputError(f"{where}: the {axis} of size_prior must lie above 0 and up to {LARGEST_SIZE_M:g} metres.")
    if smallest > largest:
        raise InputError(f"{where}: the {axis} of size_prior has its smallest value {smallest:g} above its largest {largest:g}.")
    return smallest, largest
