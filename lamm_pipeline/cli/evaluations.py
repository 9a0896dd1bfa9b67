"""`lamm evaluation`: predictions of models, and how unsure the models are."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.orchestration.metadata import frame_link
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline.uncertainty.ground_ensemble import write_ensemble
from lamm_pipeline.uncertainty.planning import ASSET
from lamm_pipeline.uncertainty.score_recording import SUMMARY, part_folder
from lamm_pipeline.uncertainty.taking_in import Added, add_evaluation, evaluation_folders

FAILED = 1
ENSEMBLE = "ground-filters"
"""Evaluation that `lamm evaluation ensemble` writes unless another one is named."""

Score = Annotated[bool, typer.Option("--score/--no-score", help="Score the recordings that are there now, or leave it for later.")]


@options.command
def add(
    folders: Annotated[list[Path], typer.Argument(help="Folder with an evaluation.json, or with several such folders.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Truth in SemanticKITTI's layout: <recording>/<frame index, 6 digits>.label.", show_default=False),
    ] = None,
    class_map: Annotated[
        Path | None, typer.Option(help="YAML or JSON with the class of each number in the label files: `40: ground`.", show_default=False)
    ] = None,
    score: Score = True,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Take in what a model predicts for recordings, and score how unsure it is. docs/uncertainty.md describes the files.

    The files stay where they are. Add a folder again when something in it has changed.

        lamm evaluation add predictions/night-v3
        lamm evaluation add predictions/night-v3 --labels truth --class-map classes.yaml
    """
    with open_session(root) as session:
        catalog = session.workspace.catalog
        found = [
            add_evaluation(catalog, each, session.actor, labels_folder=labels, class_map=class_map)
            for folder in folders
            for each in evaluation_folders(folder)
        ]
        outcome = _scored(session, found) if score else {}
    _report(found, outcome, as_json=as_json)


@options.command
def list_evaluations(
    recording: Annotated[str | None, typer.Option(help="Only those that predict for this recording.", show_default=False)] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """List the evaluations that were taken in, oldest model run first.

    lamm evaluation list --recording drive
    """
    with open_session(root) as session:
        catalog = session.workspace.catalog.evaluations
        chosen = catalog.all() if recording is None else [row for row, _ in catalog.of_recording(recording)]
        rows = []
        for row in chosen:
            parts = catalog.recordings(row.id)
            rows.append(
                {
                    "evaluation": row.id,
                    "model": row.model_id,
                    "evaluated_at": utc(row.created_at).isoformat(timespec="seconds"),
                    "members": row.members,
                    "classes": len(row.classes),
                    "recordings": len(parts),
                    "frames": sum(part.frames for part in parts),
                    "added_by": row.added_by,
                    "folder": row.path,
                }
            )
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "No evaluation was taken in. `lamm evaluation add FOLDER` takes one in.")


@options.command
def show(
    evaluation: Annotated[str, typer.Argument(help="Id of the evaluation.")],
    recording: Annotated[str | None, typer.Option(help="Only this recording.", show_default=False)] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how unsure an evaluation's model is: mean, 95th percentile, histogram, the most uncertain frames; and whether it errs there.

    lamm evaluation show night-v3 --recording drive
    """
    with open_session(root) as session:
        row = session.workspace.catalog.evaluations.get(evaluation)
        parts = session.workspace.catalog.evaluations.recordings(row.id)
        summaries = {}
        for part in parts:
            if recording in (None, part.recording):
                summaries[part.recording] = _summary(session, part.recording, row.id)
        if recording is not None and recording not in summaries:
            raise InputError(f"{row.id!r} predicts nothing for {recording!r}, but for {', '.join(part.recording for part in parts)}.")
        settings = session.settings
    if as_json:
        options.print_json({"evaluation": row.id, "model_id": row.model_id, "recordings": summaries})
        return
    options.print_table([_line(name, summary) for name, summary in summaries.items()], "It predicts for no recording.")
    for name, summary in summaries.items():
        if summary is not None and summary["frames"]:
            options.say(f"\n{name}: frames by score")
            options.print_table([{f"{b['from']:.1f}-{b['to']:.1f}": b["frames"] for b in summary["histogram"]}], "")
            options.say(f"\n{name}: most uncertain frames")
            links = [{**top, "link": frame_link(settings, name, top["frame_index"])} for top in summary["top"]]
            options.print_table([{**top, "score": f"{top['score']:.4f}", "iou": _digits(top["iou"])} for top in links], "")


@options.command
def ensemble(
    recordings: Annotated[list[str], typer.Argument(help="Recording keys.")],
    evaluation: Annotated[str, typer.Option("--id", help="Id of the evaluation that is written.")] = ENSEMBLE,
    out: Annotated[
        Path | None, typer.Option(help="Folder that gets the evaluation's folder. Default: `predictions` in the root.", show_default=False)
    ] = None,
    score: Score = True,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Separate ground from obstacles by an ensemble of ground filters, as an evaluation: no trained model is needed.

    Planes by RANSAC and morphological filters with different seeds and parameters; where they disagree, the scene is hard.

        lamm evaluation ensemble drive
    """
    with open_session(root) as session:
        folder = (out or session.settings.root / "predictions") / evaluation
        for key in recordings:
            session.workspace.catalog.recordings.get(key)
            frames = session.workspace.recording_artifact(key, "frames")
            run = write_ensemble(folder, frames, progress=StageProgress(options.note, f"{key} ground"))
            share = run.differing / run.points if run.points else 0.0
            options.note(f"  {key}: {run.frames} frames, {run.without_cloud} without a cloud; members differ on {share:.1%} of the points")
        added = [add_evaluation(session.workspace.catalog, folder, session.actor)]
        outcome = _scored(session, added, recordings) if score else {}
    _report(added, outcome, as_json=as_json)


def _scored(session: Session, added: Iterable[Added], only: Iterable[str] | None = None) -> dict[str, str | None]:
    """Score the recordings that are there; by recording, why it was not, None where it was."""
    wanted = sorted({recording for each in added for recording in each.recordings if only is None or recording in set(only)})
    outcome: dict[str, str | None] = {}
    for recording in wanted:
        if not session.workspace.catalog.recordings.has(recording):
            outcome[recording] = "no recording is called so; it is scored once there is one and `lamm evaluation add` is called again"
        elif session.workspace.store.current_version(ArtifactKey("recordings", recording, "frames")) is None:
            outcome[recording] = f"its frames are not extracted; `lamm run {recording} --stage extraction`, then add the evaluation again"
        else:
            add_recording_partitions(session.instance, [recording])
            try:
                session.materialize("uncertainty", recording, [ASSET])
                outcome[recording] = None
            except InputError as error:
                outcome[recording] = str(error)
    return outcome


def _report(added: Iterable[Added], outcome: Mapping[str, str | None], *, as_json: bool) -> None:
    rows = [
        {"evaluation": each.id, "status": each.status, "recordings": len(each.recordings), "frames": sum(each.recordings.values())}
        for each in added
    ]
    not_scored = {recording: why for recording, why in outcome.items() if why is not None}
    if as_json:
        options.print_json({"evaluations": rows, "scored": [each for each in outcome if each not in not_scored], "not_scored": not_scored})
    else:
        options.print_table(rows, "")
    for recording, why in not_scored.items():
        options.note(f"{recording} is not scored: {why}")
    if not_scored and len(not_scored) == len(outcome):
        raise typer.Exit(FAILED)


def _summary(session: Session, recording: str, evaluation: str) -> dict[str, Any] | None:
    artifact = session.workspace.store.current(ArtifactKey("recordings", recording, ASSET))
    name = f"{part_folder(evaluation)}/{SUMMARY}"
    if artifact is None or name not in artifact.manifest.files:
        return None
    found: dict[str, Any] = json.loads(artifact.file(name).read_text())
    return found


def _line(recording: str, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("frames", "bad_frames", "mean", "p95", "max")
    if summary is None:
        return {"recording": recording, "status": "not scored", **dict.fromkeys((*names, "mean_iou", "ece", "ause", "ause_random"), "")}
    labels = summary["labels"] or {}
    numbers = {name: summary[name] if isinstance(summary[name], int) else _digits(summary[name]) for name in names}
    against = {name: _digits(labels.get(name)) for name in ("mean_iou", "ece", "ause", "ause_random")}
    return {"recording": recording, "status": summary["status"], **numbers, **against}


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
