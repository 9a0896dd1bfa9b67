"""`lamm decide`, `lamm decisions`, `lamm label`: what people say about a recording's data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.review.carry_over import MIN_IOU
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.decision_files import MaskForm
from lamm_pipeline.review.decision_log import decision_rows
from lamm_pipeline.review.labelling_status import processing_stage
from lamm_pipeline.review.requests import DecisionRequest, carry_out, export_for_labelling

RecordingKey = Annotated[str, typer.Argument(help="Key of the recording.")]
Subjects = list[str] | None


@options.command
def decide(
    recording: RecordingKey,
    exclude: Annotated[Subjects, typer.Option(help="Frame, annotation, sequence or class to leave out; may be repeated.")] = None,
    keep: Annotated[Subjects, typer.Option(help="Frame, annotation, sequence or class to keep as it is; may be repeated.")] = None,
    reviewed_empty: Annotated[Subjects, typer.Option(help="Frame in which there is nothing: a negative; may be repeated.")] = None,
    unreview: Annotated[Subjects, typer.Option(help="Subject to treat as if nobody had looked at it; may be repeated.")] = None,
    set_class: Annotated[Subjects, typer.Option(help="SUBJECT=CLASS: what it really is; may be repeated.")] = None,
    positive: Annotated[Subjects, typer.Option(help="Annotation or sequence that is what was looked for; may be repeated.")] = None,
    negative: Annotated[Subjects, typer.Option(help="Annotation or sequence that is not; may be repeated.")] = None,
    false_positive: Annotated[Subjects, typer.Option(help="SUBJECT=TYPE,TYPE: what it is instead; may be repeated.")] = None,
    note: Annotated[str, typer.Option(help="A note that stands with these decisions.")] = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what is wrong, or right, with what the models found.

    A subject is a frame (000012), an annotation (000012:3), a sequence annotation (s0001) or a class for the whole recording (car); the
    recording's key and a colon may stand before it. Decisions are never changed, only added and undone: see `lamm decisions`.

        lamm decide drive --exclude 000012:3 --set-class 000014:0=truck --note "seen twice"
        lamm decide drive --exclude cone --reviewed-empty 000031
        lamm decide drive --negative s0002 --false-positive s0002=dust,light
    """
    values: dict[str, Any] = {
        "exclude": exclude or [],
        "keep": keep or [],
        "reviewed_empty": reviewed_empty or [],
        "unreview": unreview or [],
        "set_class": _pairs(set_class, "--set-class", "SUBJECT=CLASS"),
        "positive": positive or [],
        "negative": negative or [],
        "false_positive_types": {
            subject: [word for word in words.split(",") if word]
            for subject, words in _pairs(false_positive, "--false-positive", "SUBJECT=TYPE,TYPE").items()
        },
        "note": note,
    }
    if not any(value for name, value in values.items() if name != "note"):
        raise InputError("Nothing is decided. Give at least one of --exclude, --keep, --set-class and the others; see --help.")
    _carry_out(recording, values, root, as_json=as_json)


@options.command
def decisions(
    recording: RecordingKey,
    undo: Annotated[list[int] | None, typer.Option(help="Id of a decision to take back; may be repeated. An undo can be undone.")] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show all decisions on a recording, who took them and which are in force, or take some back.

    Decisions that were taken on data that has been computed again are shown at the annotation that they have been carried over to; those
    that find none are `lost`, and stay in the list.

        lamm decisions drive
        lamm decisions drive --undo 17
    """
    with open_session(root) as session:
        catalog = session.workspace.catalog
        catalog.recordings.get(recording)
        for each in undo or ():
            if each not in {known.id for known in catalog.decisions.of(recording)}:
                raise InputError(f"Recording {recording} has no decision {each}. `lamm decisions {recording}` lists them.")
            catalog.decisions.undo(each, session.actor)
        rows = decision_rows(catalog.decisions.of(recording), decisions_now(session.workspace.store, catalog, recording))
    if as_json:
        options.print_json(rows)
    else:
        shown = [{name: value for name, value in row.items() if name not in ("data_version", "value")} for row in rows]
        options.print_table(shown, f"Nobody has decided anything on {recording}. Use `lamm decide {recording}` or the review page.")


@options.command
def show_labels(
    recordings: Annotated[list[str] | None, typer.Argument(help="Keys of recordings. Default: all.", show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only recordings with this tag; may be repeated.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Show who changed what instead.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show labelling status, labeler, tags and number of decisions in force, by recording.

    lamm label show --tag night
    """
    with open_session(root) as session:
        catalog = session.workspace.catalog
        keys = [catalog.recordings.get(key).key for key in recordings] if recordings else catalog.recordings.all_keys()
        tags, labellings = catalog.tags.all(), catalog.labelling.all()
        keys = [key for key in keys if set(tag or ()) <= set(tags.get(key, ()))]
        rows: list[dict[str, Any]] = []
        if history:
            rows = [
                {"at": f"{event.at:%Y-%m-%d %H:%M:%S}", "actor": event.actor, "recording": key, "action": event.action, **event.details}
                for key in keys
                for event in catalog.audit.events(key)
                if event.action.startswith(("labelling.", "tag.", "decisions."))
            ]
        else:
            for key in keys:
                row = labellings.get(key) or catalog.labelling.of(key)
                rows.append(
                    {
                        "recording": key,
                        "status": row.status,
                        "stage": processing_stage(row.status),
                        "labeler": row.labeler,
                        "tags": tags.get(key, []) if as_json else ", ".join(tags.get(key, [])),
                        "in_force": len(decisions_now(session.workspace.store, catalog, key).state.decisions()),
                    }
                )
    if as_json:
        options.print_json(rows)
    elif history:
        for event_row in rows:
            options.say("  ".join(str(value) for value in event_row.values()))
    else:
        options.print_table(rows, "There are no such recordings. `lamm status` lists all.")


@options.command
def set_status(
    recording: RecordingKey,
    status: Annotated[str, typer.Argument(help="unlabelled, in_progress, in_review or labelled; other tools' words are understood.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say how far labelling of a recording is.

    lamm label status drive in_review
    """
    _carry_out(recording, {"status": status}, root, as_json=as_json)


@options.command
def set_labeler(
    recording: RecordingKey,
    name: Annotated[str, typer.Argument(help="Who labels it; an empty text for nobody.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say who labels a recording.

    lamm label labeler drive eve
    """
    _carry_out(recording, {"labeler": name}, root, as_json=as_json)


@options.command
def set_tags(
    recording: RecordingKey,
    tags: Annotated[list[str], typer.Argument(help="Words to put on the recording.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take them off instead.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Put tags on a recording, or take them off.

    lamm label tag drive night rain
    """
    _carry_out(recording, {"untag" if remove else "tags": tags}, root, as_json=as_json)


@options.command
def export_labels(
    recording: RecordingKey,
    folder: Annotated[Path, typer.Argument(help="New folder for images and annotations.json.")],
    masks: Annotated[MaskForm, typer.Option(help="Exact runs, polygons for tools that know no runs, or boxes alone.")] = MaskForm.rle,
    frames: Annotated[list[str] | None, typer.Option("--frame", help="Only this frame; may be repeated. Default: all.")] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a recording as COCO for a labelling tool: images, and annotations with the decisions in force.

    lamm label export drive to_label --masks polygons
    """
    with open_session(root) as session:
        workspace = session.workspace
        workspace.catalog.recordings.get(recording)
        counts = export_for_labelling(
            workspace.store, workspace.catalog, workspace.ontology, recording, folder.expanduser(), masks=masks, frame_ids=frames
        )
    if as_json:
        options.print_json({"folder": str(folder), **counts})
    else:
        options.say(f"{folder}: {counts['images']} images, {counts['annotations']} annotations")


@options.command
def import_labels(
    recording: RecordingKey,
    file: Annotated[Path, typer.Argument(help="COCO file that came back.")],
    min_iou: Annotated[float, typer.Option(help="Least overlap of an annotation without id with the one that it is.")] = MIN_IOU,
    corrections_only: Annotated[
        bool, typer.Option("--corrections-only", help="Take only changes: the images have not been looked at completely.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Take in a COCO file that came back from a labelling tool, as decisions and corrected classes, boxes and masks.

    Images are known by name, frame index or time. An image in the file counts as looked at: what is unchanged is kept, what is gone is
    excluded, an image without annotations is a negative. What does not match is reported.

        lamm label import drive from_labelling/instances_default.json
    """
    values = {"import_file": str(file), "min_iou": min_iou, "corrections_only": corrections_only}
    _carry_out(recording, values, root, as_json=as_json)


def _carry_out(recording: str, values: dict[str, Any], root: Path | None, *, as_json: bool) -> None:
    request: DecisionRequest = parse(DecisionRequest, values, "the decisions")
    with open_session(root) as session:
        workspace, catalog = session.workspace, session.workspace.catalog
        catalog.recordings.get(recording)
        report = carry_out(workspace.store, catalog, workspace.ontology, workspace.false_positive_types, recording, request, session.actor)
        row = catalog.labelling.of(recording)
        facts = {"recording": recording, **report, "status": row.status, "labeler": row.labeler, "tags": catalog.tags.of(recording)}
    if as_json:
        options.print_json(facts)
        return
    ids = report["decisions"]
    taken = f"{len(ids)} decisions ({ids[0]} to {ids[-1]})" if ids else "no decision"
    options.say(f"{recording}: {taken}; {row.status}, labeler {row.labeler or 'nobody'}, tags {', '.join(facts['tags']) or 'none'}")
    for name, value in report.get("import", {}).items():
        options.say(f"  {name:<32} {value}")


def _pairs(given: list[str] | None, option: str, form: str) -> dict[str, str]:
    pairs = {}
    for each in given or ():
        subject, equals, value = each.partition("=")
        if not (subject and equals and value):
            raise InputError(f"{option} {each!r} is not {form}.")
        pairs[subject] = value
    return pairs
