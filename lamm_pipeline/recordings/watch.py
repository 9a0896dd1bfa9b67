"""Which files below watched folders are new or changed: what a sensor on folders decides at one tick.

`new_recordings` watches for recordings, `new_annotation_exports` for exports; what differs between them is a `Shelf`. The folders are
compared with the catalog by path, size and stamp, so nothing depends on stamps growing: a file replaced by an older one is noticed like any
other. The state between two ticks is small, whatever the number of files: where the page of candidates ended, what those
on the page looked like, and the runs asked for.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.exports import ExportCatalog
from lamm_pipeline.catalog.files import KnownFile
from lamm_pipeline.catalog.recordings import RecordingCatalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import SUFFIX, Added, take_in

BUDGET_S = 20.0
"""A tick takes no further file in after this time; a sensor has 60 seconds."""

Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True)
class WatchState:
    """What is remembered from one tick to the next.

    Attributes:
        after: path of the last candidate of the page.
        seen: stamps of the candidates of the page; one that has the same at the next tick is stable.
        asked: run keys that were asked for.
    """

    after: str = ""
    seen: Mapping[str, Stamp] = field(default_factory=dict)
    asked: tuple[str, ...] = ()

    def to_cursor(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "WatchState":
        """The inverse of `to_cursor`; no cursor, or one that is not ours, gives the first state."""
        try:
            stored = json.loads(cursor or "{}")
            seen = {str(path): (int(size), int(mtime_ns)) for path, (size, mtime_ns) in stored.get("seen", {}).items()}
            return cls(str(stored.get("after", "")), seen, tuple(map(str, stored.get("asked", ()))))
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Tick:
    """What one tick found.

    Attributes:
        added: what became of the files taken in.
        missing: keys of those whose file has gone since the tick before.
        waiting: candidates that are not stable yet or have to wait for their page.
        problems: a sentence for each file or folder that cannot be read.
        wanted: partition and run key of the runs to ask for.
        state: for the next tick.
    """

    added: list[Added]
    missing: list[str]
    waiting: int
    problems: list[str]
    wanted: list[tuple[str, str]]
    state: WatchState


@dataclass(frozen=True)
class Shelf:
    """Where files of one kind are taken in.

    Attributes:
        files: what is known of them.
        folders: are watched, whatever the settings say.
        suffix: of the files, in small letters.
        take_in: takes in the file at a path for an actor, and wants a run for it when its content is new; raises `InputError` when the
            file does not exist any more.
    """

    files: RecordingCatalog | ExportCatalog
    folders: Sequence[Path]
    suffix: str
    take_in: Callable[[Path, str], Added]


def recording_shelf(catalog: Catalog) -> Shelf:
    """Where recordings are taken in; one belongs to the source dataset whose folder is nearest above it."""
    datasets = {Path(dataset.folder).resolve(): dataset.id for dataset in catalog.source_datasets.all()}

    def take_in_recording(path: Path, actor: str) -> Added:
        return take_in(catalog, path, next((datasets[folder] for folder in path.parents if folder in datasets), None), actor)

    return Shelf(catalog.recordings, list(datasets), SUFFIX, take_in_recording)


def tick(shelf: Shelf, folders: Sequence[Path], root: Path, state: WatchState, *, batch: int, actor: str) -> Tick:
    """Take in the files that are new or changed, and stable.

    A run is wanted in the catalog from the moment its file is taken in until the tick after it was asked for: when a tick dies in between,
    the next one asks again under the same run key.

    Args:
        shelf: what is known, and where files are taken in.
        folders: the folders to watch.
        root: files below it are the pipeline's own.
        state: of the tick before.
        batch: most files to take in, and most runs to ask for.
        actor: who does it.
    """
    started = time.monotonic()
    shelf.files.runs_asked_for(state.asked)
    watched = list(dict.fromkeys(folders))
    found, problems, blind = _walk(watched, root.resolve(), shelf.suffix)
    known = shelf.files.known_files()
    candidates = sorted(path for path, stamp in found.items() if path not in known or (known[path].size, known[path].mtime_ns) != stamp)
    missing = _note_missing(shelf.files, known, found, [str(folder) for folder in watched], blind, actor)
    stable = [path for path in candidates if state.seen.get(path) == found[path]]
    added: list[Added] = []
    taken: set[str] = set()
    for number, path in enumerate(stable[:batch]):
        if number and time.monotonic() - started > BUDGET_S:
            break
        try:
            added.append(shelf.take_in(Path(path), actor))
            taken.add(path)
        except (OSError, InputError) as error:
            problems.append(f"{path} cannot be taken in: {error}")
    waiting = [path for path in candidates if path not in taken]
    page = _page(waiting, state.after, batch)
    return Tick(
        added=added,
        missing=missing,
        waiting=len(waiting),
        problems=problems,
        wanted=shelf.files.wanted_runs(batch),
        state=WatchState(page[-1] if page else "", {path: found[path] for path in page}),
    )


def _walk(folders: Sequence[Path], root: Path, suffix: str) -> tuple[dict[str, Stamp], list[str], list[str]]:
    """Stamps of all files by path, a sentence for everything that cannot be read, and the folders among that."""
    found: dict[str, Stamp] = {}
    problems: list[str] = []
    blind: list[str] = []

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read: {error.strerror}")
        blind.append(str(error.filename))

    for folder in folders:
        if folder.is_relative_to(root):
            problems.append(f"{folder} is not watched: it lies in the root {root}, whose files are the pipeline's own")
            continue
        for place, below, names in os.walk(folder, onerror=unreadable):
            below[:] = [name for name in below if Path(place, name) != root]
            for path in _files(place, names, suffix, problems):
                try:
                    stat = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of files doubles the time
                except OSError as error:
                    problems.append(f"{path} cannot be read: {error.strerror}")
                    continue
                found[path] = (stat.st_size, stat.st_mtime_ns)
    return found, problems, blind


def _files(place: str, names: Sequence[str], suffix: str, problems: list[str]) -> Iterator[str]:
    for name in names:
        if not name.lower().endswith(suffix):
            continue
        path = f"{place}/{name}"
        try:
            path.encode()
        except UnicodeEncodeError:
            problems.append(f"{path!r} is no text in UTF-8; rename the file")
            continue
        yield os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 - as above


def _note_missing(
    files: RecordingCatalog | ExportCatalog,
    known: Mapping[str, KnownFile],
    found: Mapping[str, Stamp],
    watched: Sequence[str],
    blind: Sequence[str],
    actor: str,
) -> list[str]:
    """Note which known files below folders that could be read are gone or there again; returns the keys of those newly gone."""
    gone = [
        file.key
        for path, file in known.items()
        if path not in found and not file.missing and _is_below(path, watched) and not _is_below(path, blind) and not os.path.lexists(path)
    ]
    back = [known[path].key for path in found.keys() & known.keys() if known[path].missing]
    if gone:
        files.set_missing(gone, actor, missing=True)
    if back:
        files.set_missing(sorted(back), actor, missing=False)
    return gone


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def _page(candidates: Sequence[str], after: str, size: int) -> list[str]:
    """The next `size` candidates in the order of paths, from the first behind `after` on and round to the start."""
    behind = [path for path in candidates if path > after]
    return [*behind, *candidates[: len(candidates) - len(behind)]][:size]
