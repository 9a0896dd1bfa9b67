"""From annotation exports to the next version of a dataset: import every ZIP, put it beside what the dataset has, keep the old split.

A dataset grows by versions. Every step is published as a whole: the imports, the manifest, each artifact of the version. So a crash in the
middle leaves the versions before as they are, and the same command goes on where it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        settings: of the newest version, None when there is none.
    """

    recordings: tuple[str, ...]
    imports: tuple[str, ...]
    settings: DatasetSettings | None


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
    return Growth(recordings, tuple(dict.fromkeys([*before, *imports])), newest.settings if newest else None)


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
