"""Drafts of datasets: scenes that people have put together and not saved yet. A draft changes; what it is saved as does not.

    <root>/drafts/<name>.json

A draft belongs to the root, so that all who look at it work on the same one.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.catalog.models import now
from lamm_pipeline.datasets.versions import check_name
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.drafts import locked

FOLDER = "drafts"
BUILT = "version.build"
"""What the audit trail calls the saving of a draft as a dataset version."""

MAX_SCENES = 100_000


@dataclass(frozen=True)
class DatasetDraft:
    """Scenes for the next version of a dataset.

    Attributes:
        name: of the dataset.
        scenes: their ids, in alphabetical order.
        changed_at, changed_by: the last change; None where there was none yet.
    """

    name: str
    scenes: tuple[str, ...] = ()
    changed_at: str | None = None
    changed_by: str | None = None


def read_draft(root: Path, name: str) -> DatasetDraft:
    """The draft of a dataset; an empty one where there is none.

    Raises:
        InputError: a dataset cannot be called so, or the file is damaged.
    """
    path = _path(root, name)
    if not path.is_file():
        return DatasetDraft(name)
    try:
        content = json.loads(path.read_bytes())
        return DatasetDraft(name, tuple(map(str, content["scenes"])), str(content["changed_at"]), str(content["changed_by"]))
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is no draft of a dataset. Remove the file and begin again.") from None


def drafts(root: Path) -> list[DatasetDraft]:
    """All drafts with scenes, by name."""
    found = [read_draft(root, path.stem) for path in sorted((root / FOLDER).glob("*.json"))]
    return [each for each in found if each.scenes]


def change_draft(root: Path, name: str, actor: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> DatasetDraft:
    """Put scenes into a draft and take others out; what others did meanwhile stays.

    Raises:
        InputError: a dataset cannot be called so, or there are too many scenes.
    """
    path = _path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        scenes = tuple(sorted({*read_draft(root, name).scenes, *add} - {*remove}))
        if len(scenes) > MAX_SCENES:
            raise InputError(f"A draft has at most {MAX_SCENES} scenes.")
        draft = DatasetDraft(name, scenes, now().isoformat(timespec="seconds"), actor)
        write_json(path, {"scenes": list(scenes), "changed_at": draft.changed_at, "changed_by": actor})
    return draft


def discard_draft(root: Path, name: str) -> None:
    """Throw a draft away; one that is not there makes no difference."""
    path = _path(root, name)
    if path.parent.is_dir():
        with locked(path.with_suffix(".lock")):
            path.unlink(missing_ok=True)


def _path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{check_name(name)}.json"
