"""The artifacts of one recording laid out as one tree, for people and for tools that expect it."""

import errno
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact

LINKED = frozenset({".png", ".jpg", ".npy", ".bin"})
"""Images, depth and clouds: large, never edited by hand, and write-protected where they are published."""


@dataclass(frozen=True)
class Checkout:
    """What was laid out: names of files by how they came there."""

    folder: Path
    linked: int
    copied: int


def checkout(artifacts: Iterable[Artifact], folder: Path) -> Checkout:
    """Lay the files of artifacts out in `folder`, under the names they have in their artifacts.

    Images, depth and clouds are links (hard links; symbolic ones to another disk), everything else is a copy that may be edited without
    harm to what is published.

    Raises:
        InputError: the folder exists and is not empty, or two artifacts have a file of the same name.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already. Name another folder, or remove it first.")
    sources: dict[str, Path] = {}
    for artifact in artifacts:
        published = artifact.folder
        for name in artifact.manifest.files:
            if name in sources:
                raise InputError(f"Both {sources[name]} and {published / name} would become {folder / name}.")
            sources[name] = published / name
    linked = 0
    for name, source in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix in LINKED:
            link(source, target)
            linked += 1
        else:
            shutil.copyfile(source, target)  # without the write protection
    return Checkout(folder, linked, len(sources) - linked)


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a symbolic one where that cannot be."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        target.symlink_to(source)
