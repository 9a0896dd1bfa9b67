"""From annotation exports to the next version of a dataset: import every ZIP, put it beside what the dataset has, keep the old split.

A dataset grows by versions. Every step is published as a whole: the imports, the manifest, each artifact of the version. So a crash in the
middle leaves the versions before as they are, and the same command goes on where it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, SplitSettings
from lamm_pipeline.datasets.validation.settings import ValidationLevel, ValidationSettings
from lamm_pipeline.datasets.versions import MAX_NAME, VersionManifest, check_name, list_versions

PREPARED = DatasetSettings(
    split=SplitSettings(train_ratio=0.8, val_ratio=0.1, test_ratio=0.1),
    formats=[ExportFormat.huggingface],
    validation=ValidationSettings(level=ValidationLevel.strict),
)
"""What a dataset of imports is made with, unless somebody says otherwise."""


@dataclass(frozen=True)
class Growth:
    """What the next version of a dataset consists of.

    Attributes:
        recordings: keys.
        imports: keys, in the order in which they were added.
        newest: key of the version that grows, None when there is none.
        number: of that version, 0 when there is none.
        settings: of that version, else those of `PREPARED`.
    """

    recordings: tuple[str, ...]
    imports: tuple[str, ...]
    newest: str | None
    number: int
    settings: DatasetSettings


def grow(root: Path, catalog: Catalog, name: str, imports: Iterable[str]) -> Growth:
    """What dataset `name` consists of once imports are added to its newest version.

    Args:
        root: the root folder.
        catalog: knows which versions are deleted.
        name: of the dataset; it need not exist yet.
        imports: keys of the imports to add, in this order.

    Raises:
        InputError: no dataset can be called so.
    """
    newest = newest_version(root, catalog, check_name(name))
    before: Sequence[str] = [each.key for each in newest.imports] if newest else ()
    recordings = tuple(each.recording for each in newest.recordings) if newest else ()
    key, number, settings = (newest.key, newest.number, newest.settings) if newest else (None, 0, PREPARED)
    return Growth(recordings, tuple(dict.fromkeys([*before, *imports])), key, number, settings)


def with_said(settings: DatasetSettings, said: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which only what somebody has said is another, as values that have still to be checked.

    Args:
        settings: those that hold where nothing is said.
        said: values of `DatasetSettings`; of a group of settings, such as `split`, those of its fields that are said.
    """
    values = settings.model_dump(mode="json")
    for name, value in said.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return values


def newest_version(root: Path, catalog: Catalog, name: str) -> VersionManifest | None:
    """The newest version of a dataset that is not deleted."""
    gone = {row.number for row in catalog.versions.all(name, deleted=True) if row.deleted_at is not None}
    return next((each for each in reversed(list_versions(root, name)) if each.number not in gone), None)


def dataset_name(key: str) -> str:
    """What a dataset is called that is named after an import.

    Args:
        key: of the import.
    """
    return key.replace(".", "_")[:MAX_NAME]
