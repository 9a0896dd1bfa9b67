"""Which evaluations in the watched folders are new or changed, and which recordings are to be scored: one tick of `new_evaluations`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import digest_json
from lamm_pipeline.uncertainty import evaluation_files
from lamm_pipeline.uncertainty.taking_in import Added, add_evaluation


@dataclass(frozen=True)
class WatchState:
    """What is remembered from one tick to the next.

    Attributes:
        seen: stamp of every evaluation by its folder; one that has the same at the next tick is whole.
        asked: by recording, the run key that was asked for last.
    """

    seen: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)

    def to_cursor(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "WatchState":
        """The inverse of `to_cursor`; no cursor, or one that is not ours, gives the first state."""
        try:
            stored = json.loads(cursor or "{}")
            return cls(*({str(a): str(b) for a, b in stored.get(name, {}).items()} for name in ("seen", "asked")))
        except (ValueError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Tick:
    """What one tick found.

    Attributes:
        added: evaluations that were taken in.
        waiting: evaluations that may still be being written.
        problems: a sentence for each folder that cannot be taken in.
        wanted: recording and run key of the runs to ask for.
        state: for the next tick.
    """

    added: list[Added]
    waiting: int
    problems: list[str]
    wanted: list[tuple[str, str]]
    state: WatchState


def tick(
    catalog: Catalog, folders: Sequence[Path], frames_version: Callable[[str], str | None], state: WatchState, *, batch: int, actor: str
) -> Tick:
    """Take in evaluations that are new or changed and have not changed since the tick before.

    Args:
        catalog: what is known.
        folders: watched; each is an evaluation or has evaluations in it.
        frames_version: version in force of a recording's frames, None without.
        state: of the tick before.
        batch: most runs to ask for.
        actor: who does it.
    """
    seen: dict[str, str] = {}
    added: list[Added] = []
    problems: list[str] = []
    waiting = 0
    watched: set[str] = set()
    for folder in [path for top in folders for path in _evaluations(top, problems)]:
        try:
            stamp = _stamp(folder)
            seen[str(folder)] = stamp
            if state.seen.get(str(folder)) != stamp:
                waiting += 1
                continue
            found = add_evaluation(catalog, folder, actor)
        except (OSError, InputError) as error:
            problems.append(f"{folder} cannot be taken in: {error}")
            continue
        watched.add(found.id)
        if found.status != "unchanged":
            added.append(found)
    wanted = _wanted(catalog, watched, frames_version, state.asked)[:batch]
    return Tick(added, waiting, problems, wanted, WatchState(seen, {**state.asked, **dict(wanted)}))


def _evaluations(top: Path, problems: list[str]) -> list[Path]:
    """The folder itself, or the evaluations in it; there need not be one yet."""
    try:
        if (top / evaluation_files.FILE_NAME).is_file():
            return [top]
        return sorted(path for path in top.iterdir() if (path / evaluation_files.FILE_NAME).is_file())
    except OSError as error:
        problems.append(f"{top} cannot be read: {error.strerror}")
        return []


def _stamp(folder: Path) -> str:
    return digest_json({name: evaluation_files.stamp(folder, name) for name in evaluation_files.recordings_of(folder)})


def _wanted(
    catalog: Catalog, watched: set[str], frames_version: Callable[[str], str | None], asked: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Recordings whose evaluations or frames are others than when a run was last asked for."""
    stamps: dict[str, list[str]] = {}
    for name in sorted(watched):
        for part in catalog.evaluations.recordings(name):
            stamps.setdefault(part.recording, []).append(f"{name} {part.stamp}")
    wanted = []
    for recording, each in sorted(stamps.items()):
        version = frames_version(recording) if catalog.recordings.has(recording) else None
        key = f"{recording}:{digest_json([*each, version])[:16]}"
        if version is not None and asked.get(recording) != key:
            wanted.append((recording, key))
    return wanted
