"""The feed of recent activity: what people did, from the catalog, and what runs did, from Dagster, in one list with the newest first.

What one person does to many things in a row is one entry ("ada added drive, night and 48 more recordings").
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lamm_pipeline.catalog.activity import DECISION, ActivityCatalog, Happening, Place
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.run_history import PastRun, RunDeeds
from lamm_pipeline.orchestration.runs import RunState
from lamm_pipeline.scenes.library.dataset_draft import BUILT

NAMED = 3
MAX_GROUP = 20_000
MAX_GAP = timedelta(minutes=30)
_SKIPPED = frozenset({BUILT})  # said by the creation of the version already
_RECORDINGS, _VERSIONS = ("recording", "recordings"), ("dataset version", "dataset versions")
_EVALUATIONS, _EXPORTS = ("evaluation", "evaluations"), ("annotation export", "annotation exports")
_SAID: dict[str, tuple[str, tuple[str, str]]] = {
    "recording.add": ("added", _RECORDINGS),
    "recording.change": ("took in the changed file of", _RECORDINGS),
    "recording.move": ("found the moved file of", _RECORDINGS),
    "recording.missing": ("missed the file of", _RECORDINGS),
    "recording.found": ("found the file again of", _RECORDINGS),
    "dataset.add": ("declared the source dataset", ("source dataset", "source datasets")),
    "version.create": ("made the dataset", _VERSIONS),
    "version.edit": ("edited the title of", _VERSIONS),
    "version.delete": ("deleted the dataset", _VERSIONS),
    "evaluation.add": ("took in the evaluation", _EVALUATIONS),
    "evaluation.change": ("took in again the evaluation", _EVALUATIONS),
    "export.add": ("imported the annotations", _EXPORTS),
    "export.change": ("imported again the annotations", _EXPORTS),
    "export.move": ("found the moved annotations", _EXPORTS),
    "export.missing": ("missed the annotations", _EXPORTS),
    "export.found": ("found again the annotations", _EXPORTS),
    "decisions.import": ("imported decisions on", _RECORDINGS),
    "tag.add": ("tagged", _RECORDINGS),
    "tag.remove": ("untagged", _RECORDINGS),
    "run.pause": ("paused the run of", ("run", "runs")),
    "run.resume": ("resumed the run of", ("run", "runs")),
    "run.cancel": ("canceled the run of", ("run", "runs")),
    "run.restart": ("restarted the run of", ("run", "runs")),
}
_RUN_SAID = {
    RunState.pending: "waits for its turn",
    RunState.running: "is running",
    RunState.paused: "was paused",
    RunState.complete: "finished",
    RunState.failed: "failed",
    RunState.canceled: "was canceled",
}


@dataclass(frozen=True)
class Part:
    """Some words of a sentence, with the address that they lead to."""

    text: str
    href: str | None = None


@dataclass(frozen=True)
class Entry:
    """One entry of the feed.

    Attributes:
        at: when the last of it happened, UTC.
        kind: `people` (labels, tags, decisions), `data` (what came or went), `run` or `check`.
        actor: who; None where nobody knows.
        parts: what, in words.
        bad: something failed.
    """

    at: datetime
    kind: str
    actor: str | None
    parts: tuple[Part, ...]
    bad: bool = False

    @property
    def text(self) -> str:
        """The sentence without links."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True)
class Cursor:
    """How far the feed was read: runs by their last change, the rest by place."""

    runs: datetime | None
    place: Place

    def __str__(self) -> str:
        micros = 0 if self.runs is None else round(self.runs.timestamp() * 1e6)
        return f"{micros}-{self.place.audit}-{self.place.decision}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The inverse of `str`.

        Raises:
            InputError: it is none.
        """
        parts = text.split("-")
        if len(parts) != 3 or not all(each.isascii() and each.isdecimal() and len(each) < 18 for each in parts):
            raise InputError("`before` is no place in the feed.")
        micros, audit, decision = map(int, parts)
        runs = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros) if micros else None
        return cls(runs, Place(audit, decision))


@dataclass(frozen=True)
class Feed:
    """Some entries; `after` is where to go on, None where that was all."""

    entries: tuple[Entry, ...]
    after: Cursor | None


@dataclass
class Told:
    """What people did as entries, each with the place after it, the newest `limit` before a place; it changes with the place alone."""

    before: Place | None = None
    limit: int = 0
    entries: tuple[tuple[Entry, Place], ...] = ()


def read_feed(
    catalog: ActivityCatalog,
    runs: Sequence[tuple[PastRun, RunDeeds]],
    limit: int,
    before: Cursor | None = None,
    *,
    told: Told | None = None,
    place_of: Callable[[str], str | None],
    run_url: Callable[[str], str],
) -> Feed:
    """The newest entries.

    Args:
        catalog: what people did.
        runs: what runs did, those that changed last first; one more than `limit`, where there are so many.
        limit: how many entries at most.
        before: only what is older; `runs` are.
        told: of the last time, brought up to the present.
        place_of: address of the page of a recording or dataset version; None where it has none.
        run_url: address of a run.
    """
    cursor = before or Cursor(None, catalog.start())
    told = told or Told()
    if (told.before, told.limit) != (cursor.place, limit):
        groups = itertools.islice(_groups(catalog.newest(cursor.place)), limit + 1)  # one more tells whether there is more
        told.entries = tuple((_told(group, place_of), group[-1].after) for group in groups)
        told.before, told.limit = cursor.place, limit
    found: list[tuple[list[Entry], datetime | None, Place | None]] = [
        *(([entry], None, place) for entry, place in told.entries),
        *((_run_entries(run, deeds, place_of, run_url), run.changed_at, None) for run, deeds in runs),
    ]
    found.sort(key=lambda each: each[0][0].at, reverse=True)
    entries: list[Entry] = []
    taken = 0
    for some, changed_at, place in found:
        if entries and len(entries) + len(some) > limit:
            break
        entries += some
        taken += 1
        cursor = Cursor(changed_at or cursor.runs, place or cursor.place)
    return Feed(tuple(entries), cursor if taken < len(found) else None)


def _groups(happenings: Iterator[Happening]) -> Iterator[list[Happening]]:
    """What belongs together, the newest first."""
    group: list[Happening] = []
    for each in happenings:
        if each.action in _SKIPPED:
            continue
        if group and (_key(each) != _key(group[-1]) or group[-1].at - each.at > MAX_GAP or len(group) == MAX_GROUP):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _key(each: Happening) -> tuple[Any, ...]:
    if each.action == DECISION:
        return each.action, each.actor, each.subject
    if each.action == "labelling.set":
        return each.action, each.actor, str(_labelled(each))
    return each.action, each.actor, each.details.get("tag"), each.subject if each.action == "gc" else None


def _told(group: Sequence[Happening], place_of: Callable[[str], str | None]) -> Entry:
    first = group[0]

    def entry(kind: str, *parts: Part) -> Entry:
        return Entry(first.at, kind, first.actor, parts)

    if first.action == DECISION:
        times = "" if len(group) == 1 else f", {len(group)} decisions"
        return entry("people", Part("reviewed "), Part(first.subject, place_of(first.subject)), Part(times))
    if first.action == "gc":
        removed = sum(len(each.details.get("removed", ())) for each in group)
        size = sum(each.details.get("bytes", 0) for each in group)
        return entry("data", Part(f"removed {removed} things that nothing referred to, {size / 1e6:.1f} MB"))
    if first.action == "labelling.set":
        before, after = _labelled(first)
        return entry("people", Part(f"{before} "), *_subjects(group, _RECORDINGS, place_of), Part(after))
    said, nouns = _SAID.get(first.action, (f"{first.action}:", ("thing", "things")))
    kind = "people" if first.action.startswith(("tag.", "run.", "decisions.")) else "data"
    tag = [Part(f" {first.details['tag']}")] if "tag" in first.details else []
    return entry(kind, Part(f"{said} "), *_subjects(group, nouns, place_of), *tag)


def _subjects(group: Sequence[Happening], nouns: tuple[str, str], place_of: Callable[[str], str | None]) -> list[Part]:
    """The subjects in words: the first few by name."""
    names = list(dict.fromkeys(each.subject for each in group))
    shown = names[:NAMED]
    parts: list[Part] = []
    for number, name in enumerate(shown):
        if number:
            parts.append(Part(" and " if number == len(names) - 1 else ", "))
        parts.append(Part(name, place_of(name)))
    more = len(names) - len(shown)
    return [*parts, Part(f" and {more:,} more {nouns[more > 1]}")] if more else parts


def _labelled(each: Happening) -> tuple[str, str]:
    """What is said before and after the recordings of a change of labelling."""
    before, after = each.details.get("before", {}), each.details.get("after", {})
    status = str(after.get("status", "")).replace("_", " ")
    labeler = after.get("labeler")
    if before.get("labeler") == labeler:
        return "set", f" to {status}"
    if before.get("status") == after.get("status"):
        return ("assigned", f" to {labeler}") if labeler else ("took", f" from {before.get('labeler')}")
    return "set", f" to {status}, labeler {labeler or 'nobody'}"


def _run_entries(run: PastRun, deeds: RunDeeds, place_of: Callable[[str], str | None], run_url: Callable[[str], str]) -> list[Entry]:
    href = run_url(run.run_id)
    subject = [] if run.partition is None else [Part(" of "), Part(run.partition, place_of(run.partition))]
    failed = run.state is RunState.failed
    said = f" {_RUN_SAID[run.state]}"
    if failed and deeds.failed_steps:
        said += f" at {', '.join(deeds.failed_steps[:NAMED])}"
    if failed and deeds.error:
        said += f": {shortened(deeds.error)}"
    elif run.state is RunState.running and run.progress:
        said += f", {run.progress}"
    elif deeds.assets:
        said += f": {_few(deeds.assets)}"
    entries = [Entry(run.changed_at, "run", run.actor, (Part(run.job, href), *subject, Part(said)), bad=failed)]
    wrong = [each.check for each in deeds.checks if not each.passed]
    if wrong:
        words = "1 check" if len(wrong) == 1 else f"{len(wrong)} checks"
        of = [] if run.partition is None else [Part(" of "), Part(run.partition, place_of(run.partition))]
        parts = (Part(words, href), *of, Part(f" failed: {_few(wrong)}"))
        entries.append(Entry(run.changed_at, "check", None, parts, bad=True))
    return entries


def shortened(text: str, most: int = 240) -> str:
    """The first line of a text, not longer than so many characters."""
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _few(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
