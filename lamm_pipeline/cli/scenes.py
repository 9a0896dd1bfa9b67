"""`lamm scenes`: the scene library in a terminal: ask, tag, label, refresh; and scenes in 3D."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.scenes.library.changes import change_labelling, change_tag
from lamm_pipeline.scenes.library.collect import KEY, collect, known, published
from lamm_pipeline.scenes.library.query import Question, SceneQueries
from lamm_pipeline.scenes.library.scene_table import Scene

LISTED = 50
VIEW = "scene_view"
Where = Annotated[
    str,
    typer.Option(
        "--where", help="Only scenes of which this is true, e.g. \"max_uncertainty > 0.6 and 'rain' in tags\".", show_default=False
    ),
]
Search = Annotated[str, typer.Option("--search", help="Only scenes with these words in id, name or tags.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="All scenes, where no condition is given.")]


@options.command
def scenes(
    context: typer.Context,
    where: Where = "",
    search: Search = "",
    sort: Annotated[str, typer.Option("--sort", help="Column to sort by; with a minus in front the highest come first.")] = "scene_id",
    listed: Annotated[int, typer.Option("--list", min=0, help="How many scenes to list; --json and --ids tell all.")] = LISTED,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids only, one a line, for other commands.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """List scenes: recordings with length, place, labelling, tags, uncertainty, datasets and storage, as they are now.

    A condition compares columns with values: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `is None`, joined by `and`, `or`, `not`.
    With --ids a dataset can be made of the scenes that fit: the keys go to `lamm dataset create`.

        lamm scenes --where "max_uncertainty > 0.6 and 'rain' in tags" --sort -max_uncertainty
        lamm scenes --where "status == 'labelled' and gps" --ids
    """
    if context.invoked_subcommand is not None:
        return
    question = Question(where, search, sort)
    with open_session(root) as session:
        queries = _queries(session)
        found, totals = queries.page(question), queries.totals(question)
    if as_json:
        options.print_json([asdict(each) for each in found])
    elif ids:
        for each in found:
            options.say(each.scene_id)
    else:
        options.print_table([_row(each) for each in found[:listed]], "No scene fits." if queries.scenes else "There are no scenes yet.")
        more = f", {len(found) - listed} of them not listed" if len(found) > listed else ""
        options.say(
            f"\n{totals.scenes} scenes{more}: {totals.duration_s / 60:.1f} min, {totals.frames} frames, {totals.storage_bytes / 1e6:.1f} MB"
        )


@options.command
def refresh(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """Bring the summaries up to the present: the assets `scene_library` (with previews for pages), `uncertainty_hotspots`, `dashboard`.

    lamm scenes refresh
    """
    with open_session(root) as session:
        session.execute("refresh_scenes", None, None, {})
        artifact = session.workspace.store.current(KEY)
    counts = {} if artifact is None else dict(artifact.counts)
    if as_json:
        options.print_json(counts)
    else:
        options.print_table([counts], "There is no library.")


@options.command
def view(
    recordings: Annotated[list[str], typer.Argument(help="Recording keys.")],
    force: Annotated[bool, typer.Option("--force", help="Make them again even if nothing has changed.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Make scenes in 3D for the report server: the asset `scene_view`, of what is there already.

    lamm scenes view drive
    """
    rows = []
    with open_session(root) as session:
        for key in recordings:
            session.workspace.catalog.recordings.get(key)
        add_recording_partitions(session.instance, recordings)
        for key in recordings:
            session.materialize("scene", key, [VIEW], {VIEW: {"force": force}})
            counts = session.workspace.recording_artifact(key, VIEW).counts
            link = f"{session.settings.report_url}/scenes/{quote(key)}/view"
            rows.append({"scene": key, "frames": counts["frames"], "megabytes": counts["megabytes"], "link": link})
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "")


@options.command
def add_tag(
    tag: Annotated[str, typer.Argument(help="Word to put on the scenes.")],
    where: Where = "",
    search: Search = "",
    everything: Everything = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Put a tag on all scenes that fit.

    lamm scenes tag add hard --where "max_uncertainty > 0.6"
    """
    _tag(tag, where, search, root, everything=everything, as_json=as_json, remove=False)


@options.command
def remove_tag(
    tag: Annotated[str, typer.Argument(help="Word to take off the scenes.")],
    where: Where = "",
    search: Search = "",
    everything: Everything = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a tag off all scenes that fit.

    lamm scenes tag remove hard --where "status == 'labelled'"
    """
    _tag(tag, where, search, root, everything=everything, as_json=as_json, remove=True)


@options.command
def label(
    status: Annotated[
        str | None,
        typer.Option(help="unlabelled, in_progress, in_review or labelled; other tools' words are understood.", show_default=False),
    ] = None,
    labeler: Annotated[str | None, typer.Option(help="Who labels them; an empty text for nobody.", show_default=False)] = None,
    where: Where = "",
    search: Search = "",
    everything: Everything = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how far labelling of all scenes that fit is, who does it, or both.

    lamm scenes label --labeler eve --status in_progress --where "'rain' in tags"
    """
    with open_session(root) as session:
        chosen = _chosen(session, where, search, everything=everything)
        changed = change_labelling(session.workspace.catalog, chosen, session.actor, status=status, labeler=labeler)
    _tell(len(chosen), changed, as_json=as_json)


def _tag(tag: str, where: str, search: str, root: Path | None, *, everything: bool, as_json: bool, remove: bool) -> None:
    with open_session(root) as session:
        chosen = _chosen(session, where, search, everything=everything)
        changed = change_tag(session.workspace.catalog, chosen, tag, session.actor, remove=remove)
    _tell(len(chosen), changed, as_json=as_json)


def _chosen(session: Session, where: str, search: str, *, everything: bool) -> list[str]:
    if not (where.strip() or search.strip() or everything):
        raise InputError("Say which scenes: give --where, --search, or --all.")
    return _queries(session).ids(Question(where, search))


def _queries(session: Session) -> SceneQueries:
    workspace = session.workspace
    told = known(workspace.catalog, session.settings.root)
    for sentence in told.problems:
        options.note(sentence)
    found = collect(workspace.store, told, published(workspace.store))
    for each in found:
        if each.problem:
            options.note(f"{each.scene_id}: {each.problem}")
    return SceneQueries(found)


def _tell(chosen: int, changed: int, *, as_json: bool) -> None:
    if as_json:
        options.print_json({"chosen": chosen, "changed": changed})
    else:
        options.say(f"{changed} of {chosen} scenes changed.")


def _row(scene: Scene) -> dict[str, object]:
    return {
        "scene": scene.scene_id,
        "captured": None if scene.captured_at is None else f"{scene.captured_at:%Y-%m-%d %H:%M}",
        "seconds": None if scene.duration_s is None else round(scene.duration_s, 1),
        "frames": scene.frames,
        "max_uncertainty": None if scene.max_uncertainty is None else f"{scene.max_uncertainty:.3f}",
        "status": scene.status,
        "labeler": scene.labeler,
        "tags": ", ".join(scene.tags),
        "gps": "no GPS" if scene.gps_start_lat is None else f"{scene.gps_start_lat:.5f}, {scene.gps_start_lon:.5f}",
        "datasets": ", ".join(scene.datasets),
        "MB": round(scene.storage_bytes / 1e6, 1),
    }
