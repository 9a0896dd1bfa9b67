"""`lamm pause, resume, cancel, restart, checkout, verify, gc`: what keeps a house in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.datasets.versions import list_versions
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.runs import (
    CANCELED_TAG,
    PARENT_TAG,
    PARTITION_TAG,
    PAUSED_TAG,
    ROOT_TAG,
    Action,
    RunState,
    bury,
    find_run,
    is_dead,
    require,
    state_of,
    stop,
)
from lamm_pipeline.orchestration.stages import STAGES
from lamm_pipeline.storage import checkout as checkouts
from lamm_pipeline.storage import garbage
from lamm_pipeline.storage import verify as verification
from lamm_pipeline.storage.artifacts import ArtifactKey

DAMAGED = 1
SHOWN = 50

Target = Annotated[str, typer.Argument(help="A recording or dataset version, whose newest run is meant, or a run by its id.")]


@options.command
def pause(
    target: Target,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Stop a running run so that it can go on later. It loses at most the work since its last checkpoint.

    lamm pause drive --root data
    """
    with _acting(Action.pause, target, root) as (session, run, _):
        stop(session.instance, session.home, run, {PAUSED_TAG: session.actor})
        _tell(session, Action.pause, run, as_json=as_json)


@options.command
def resume(
    target: Target,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Go on with a paused or failed run, in this process and with the same config: from its checkpoint, to the same bytes.

    lamm resume drive --root data
    """
    with _acting(Action.resume, target, root) as (session, run, _):
        _execute_again(session, Action.resume, run, as_json=as_json)


@options.command
def cancel(
    target: Target,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Stop a run for good and throw away what it has not finished. What is published stays.

    lamm cancel drive --root data
    """
    with _acting(Action.cancel, target, root) as (session, run, state):
        if state is RunState.paused:
            session.instance.add_run_tags(run.run_id, {CANCELED_TAG: session.actor})
        else:
            stop(session.instance, session.home, run, {CANCELED_TAG: session.actor})
        _tell(session, Action.cancel, run, as_json=as_json, dropped=_drop_drafts(session, run))


@options.command
def restart(
    target: Target,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Begin a failed or canceled run anew, in this process and with the same config.

    Its checkpoints are thrown away; what is published is used as it is.

    lamm restart drive --root data
    """
    with _acting(Action.restart, target, root) as (session, run, _):
        _drop_drafts(session, run)
        _execute_again(session, Action.restart, run, as_json=as_json)


@options.command
def checkout(
    recording: Annotated[str, typer.Argument(help="Key of the recording.")],
    folder: Annotated[Path, typer.Argument(help="Folder to make the recording's tree in.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Lay everything in force of a recording out as one tree, FOLDER/RECORDING.

    Images, depth and clouds are links and write-protected; labels and other text are copies, so that editing them harms nothing.

        lamm checkout drive out --root data
    """
    with open_session(root) as session:
        session.workspace.catalog.recordings.get(recording)
        keys = [ArtifactKey("recordings", recording, asset) for stage in STAGES.values() for asset in stage.assets]
        artifacts = [artifact for key in keys if (artifact := session.workspace.store.current(key)) is not None]
        if not artifacts:
            raise InputError(f"Nothing is published of {recording!r} yet. Run it first: `lamm run {recording}`.")
        made = checkouts.checkout(artifacts, folder.expanduser().resolve() / recording)
    if as_json:
        options.print_json({"folder": str(made.folder), "linked": made.linked, "copied": made.copied})
    else:
        options.say(f"{made.folder}: {made.linked} files linked, {made.copied} copied")


@options.command
def verify(
    partitions: Annotated[
        list[str] | None, typer.Argument(help="Recordings or dataset versions. Default: everything that is published.", show_default=False)
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Digest every published file again and name those that are damaged, missing or foreign; exit code 1 if there are any.

    lamm verify drive --root data
    """
    with open_session(root) as session:
        store = session.workspace.store
        keys = [key for key in store.all_keys() if not partitions or key.partition in partitions]
        for unknown in sorted(set(partitions or []) - {key.partition for key in keys}):
            raise InputError(f"Nothing is published of {unknown!r}. `lamm status` and `lamm dataset list` show what there is.")
        found = verification.verify(store, keys)
    rows = [{"artifact": each.artifact, "file": each.file, "problem": each.problem} for each in found.damage]
    if as_json:
        options.print_json({"artifacts": found.artifacts, "files": found.files, "bytes": found.bytes, "damage": rows})
    else:
        options.say(f"{found.artifacts} artifacts, {found.files} files, {found.bytes / 1e6:.1f} MB read")
        options.print_table(rows, "Everything is as it was published.")
        if any(each.problem == verification.FOREIGN for each in found.damage):
            options.note("Files that were not published can be deleted, or moved elsewhere.")
        if any(each.problem != verification.FOREIGN for each in found.damage):
            options.note("Run the stages of what is damaged again with `--set ASSET.force=true`, or restore the files from a backup.")
    if rows:
        raise typer.Exit(DAMAGED)


@options.command
def gc(
    remove: Annotated[bool, typer.Option("--yes/--dry-run", help="Remove, or only show what would be removed.")] = False,
    draft_days: Annotated[
        float, typer.Option(min=0, help="Drafts of stopped runs are kept for so many days; a paused run goes on in its draft.")
    ] = 7.0,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Remove versions that nothing refers to: not in force, not pinned by a dataset version, not what a kept one was made from.

    Also old drafts and what killed runs left behind. Shows only, unless --yes is given.

        lamm gc --root data
        lamm gc --root data --yes
    """
    with open_session(root) as session:
        store = session.workspace.store
        collect = garbage.remove_garbage if remove else garbage.find_garbage
        found = collect(store, _pinned(session), draft_days=draft_days)
        root_folder = f"{session.settings.root}/"
        rows: list[dict[str, Any]] = [
            {"path": each.place.removeprefix(root_folder), "bytes": each.size, "reason": each.reason} for each in found.garbage
        ]
        if remove and rows:
            details = {"removed": [row["path"] for row in rows], "bytes": found.size}
            session.workspace.catalog.audit.add(session.actor, "gc", "store", details)
    if as_json:
        options.print_json({"removed": remove, "bytes": found.size, "garbage": rows, "busy": found.busy})
        return
    locks = [row for row in rows if row["path"].endswith(".lock")]
    shown = [row for row in rows if row not in locks]
    options.print_table(shown[:SHOWN], "There is nothing to remove." if not locks else "Nothing but locks that nobody holds.")
    if len(shown) > SHOWN:
        options.say(f"... and {len(shown) - SHOWN} more")
    if rows:
        options.say(f"{'Removed' if remove else 'Would remove'} {len(shown)} items and {len(locks)} locks, {found.size / 1e6:.1f} MB.")
    if rows and not remove:
        options.note("Nothing was removed. Give --yes to remove it.")
    for partition in found.busy:
        options.note(f"{partition} was left alone: a run is writing there.")


@contextmanager
def _acting(action: Action, target: str, root: Path | None) -> Iterator[tuple[Session, dg.DagsterRun, RunState]]:
    """The frame of every action on a run: the run it is meant for, with its state, if the action is legal."""
    with open_session(root) as session:
        run = find_run(session.instance, target)
        state = state_of(session.home, run)
        require(action, state, f"Run {run.run_id[:8]} of {run.tags.get(PARTITION_TAG, run.job_name)}")
        if is_dead(session.home, run):
            bury(session.instance, session.home, run)
        yield session, run, state


def _execute_again(session: Session, action: Action, run: dg.DagsterRun, *, as_json: bool) -> None:
    partition = run.tags.get(PARTITION_TAG)
    if partition is None:
        raise InputError(f"Run {run.run_id} is of no recording or dataset version. Launch its job {run.job_name} again in the UI.")
    session.workspace.catalog.audit.add(session.actor, f"run.{action}", partition, {"run": run.run_id})
    assets = None if run.asset_selection is None else sorted(key.path[-1] for key in run.asset_selection)
    tags = {PARENT_TAG: run.run_id, ROOT_TAG: run.root_run_id or run.run_id}
    operations: dict[str, Any] = dict(run.run_config).get("ops", {})  # type: ignore[assignment]
    session.execute(run.job_name, partition, assets, operations, tags)
    again = find_run(session.instance, partition)
    _show(again, state_of(session.home, again), as_json=as_json)


def _drop_drafts(session: Session, run: dg.DagsterRun) -> list[str]:
    """Throw away the drafts of everything a run was to make; returns what was dropped."""
    assets = None if run.asset_selection is None else {key.path[-1] for key in run.asset_selection}
    store = session.workspace.store
    mine = [key for key in store.all_keys() if key.partition == run.tags.get(PARTITION_TAG) and (assets is None or key.asset in assets)]
    return [f"{key.path}/{version}" for key in mine for version in store.drop_drafts(key)]


def _tell(session: Session, action: Action, run: dg.DagsterRun, *, as_json: bool, **details: Any) -> None:
    """Remember and show what became of a run that was stopped."""
    session.workspace.catalog.audit.add(
        session.actor, f"run.{action}", run.tags.get(PARTITION_TAG, run.job_name), {"run": run.run_id, **details}
    )
    now = session.instance.get_run_by_id(run.run_id) or run
    state = state_of(session.home, now)
    _show(now, state, as_json=as_json, **details)
    if state is RunState.complete:
        options.note("It had finished before it could be stopped.")


def _show(run: dg.DagsterRun, state: RunState, *, as_json: bool, **details: Any) -> None:
    if as_json:
        options.print_json({"run": run.run_id, "partition": run.tags.get(PARTITION_TAG), "state": state, **details})
    else:
        options.say(f"Run {run.run_id} of {run.tags.get(PARTITION_TAG, run.job_name)}: {state}")


def _pinned(session: Session) -> dict[ArtifactKey, frozenset[str]]:
    """What dataset versions rely on."""
    pinned: dict[ArtifactKey, frozenset[str]] = {}
    for version in list_versions(session.settings.root):
        for reference in version.references:
            scope, partition, asset, made = reference.split("/")
            key = ArtifactKey(scope, partition, asset)
            pinned[key] = pinned.get(key, frozenset()) | {made}
    return pinned
