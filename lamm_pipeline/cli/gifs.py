"""`lamm gifs`."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.review import gifs as review_gifs
from lamm_pipeline.review import sequence_annotations as annotations_file
from lamm_pipeline.review.gif_encoder import GifQuality
from lamm_pipeline.review.gif_settings import GifSettings
from lamm_pipeline.review.labelling_status import LabellingStatus
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey

FAILED = 1


@options.command
def gifs(
    recordings: Annotated[
        list[str] | None, typer.Argument(help="Keys of recordings (see `lamm status`); or choose by one of the options below.")
    ] = None,
    annotation_ids: Annotated[
        list[str] | None,
        typer.Option(
            "--annotation", help="Sequence annotation to make GIFs of, e.g. drive:s0003; may be repeated, or separated by commas."
        ),
    ] = None,
    from_: options.From = None,
    to: options.To = None,
    all_imported: Annotated[
        bool, typer.Option("--all-imported", help="All recordings with sequence annotations that nobody has begun to review.")
    ] = False,
    quality: Annotated[
        GifQuality, typer.Option(help="`high` finds colours about 1.5 dB closer, and takes about four times as long.")
    ] = GifQuality.standard,
    max_width: Annotated[int, typer.Option(help="Shrink wider pictures to this; 0 keeps the size of the images.")] = 640,
    max_frames: Annotated[int, typer.Option(help="Thin longer sequences evenly to this many frames; 0 keeps all.")] = 60,
    max_concurrent: Annotated[int, typer.Option(help="Sequences worked on at the same time, 1 to 10.")] = 3,
    update_stage: Annotated[
        bool, typer.Option("--update-stage", help="Note that a recording is ready to be annotated, if a GIF of it was made.")
    ] = False,
    continue_on_error: Annotated[
        bool, typer.Option("--continue-on-error", help="Go on with other sequences and recordings where one fails.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Make them again although they are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be made, and make nothing.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Make GIFs of sequence annotations: whole frames with the box in green, and the part of them around it, at two frames a second.

    lamm gifs drive --root data

    lamm gifs --annotation drive:s0003 --quality high

    lamm gifs --from 2024-01-01 --to 2024-01-02 --update-stage
    """
    settings: GifSettings = parse(
        GifSettings,
        {
            "quality": quality,
            "max_width": max_width or None,
            "max_frames": max_frames or None,
            "max_concurrent": max_concurrent,
            "continue_on_error": continue_on_error,
        },
        "review GIFs",
    )
    with open_session(root) as session:
        wanted = _chosen(session, recordings or [], annotation_ids or [], options.day(from_), options.day(to), all_imported=all_imported)
        if dry_run:
            _print([row for key, ids in wanted.items() for row in _planned(session, key, ids, settings)], as_json=as_json)
            return
        add_recording_partitions(session.instance, wanted)
        failed = _make(session, wanted, {**settings.model_dump(mode="json"), "update_stage": update_stage, "force": force})
        facts = [_facts(session, key) for key in wanted if key not in failed]
    _print(facts, as_json=as_json)
    if failed:
        raise typer.Exit(FAILED)


def _chosen(
    session: Session, recordings: list[str], annotation_ids: list[str], first: date | None, last: date | None, *, all_imported: bool
) -> dict[str, list[str]]:
    """The recordings, and of each the sequence annotations asked for; none means all."""
    if [bool(recordings), bool(annotation_ids), first is not None or last is not None, all_imported].count(True) != 1:
        raise InputError("Choose by one of these: keys of recordings, --annotation, --from and --to, --all-imported.")
    if recordings:
        return {session.workspace.catalog.recordings.get(key).key: [] for key in recordings}
    if annotation_ids:
        ids: dict[str, list[str]] = {}
        for each in (part.strip() for given in annotation_ids for part in given.split(",")):
            recording, found, _ = each.rpartition(":s")
            if not found:
                raise InputError(f"{each!r} is no id of a sequence annotation; those are of the form drive:s0003.")
            ids.setdefault(session.workspace.catalog.recordings.get(recording).key, []).append(each)
        return ids
    if all_imported:
        begun = {key for key, row in session.workspace.catalog.labelling.all().items() if row.status != LabellingStatus.unlabelled}
        keys = [key for key in session.workspace.catalog.recordings.all_keys() if key not in begun]
    else:
        keys = session.recorded_between(first, last)
    store = session.workspace.store
    without = [key for key in keys if store.current(ArtifactKey("recordings", key, "sequence_annotations")) is None]
    if without:
        options.note(f"left out, because they have no sequence annotations yet: {', '.join(without)}")
    return {key: [] for key in keys if key not in without}


def _make(session: Session, wanted: Mapping[str, list[str]], config: Mapping[str, Any]) -> dict[str, str]:
    """Make the GIFs of each recording; returns the sentences of those that failed."""
    failed = {}
    for number, (key, ids) in enumerate(wanted.items(), start=1):
        try:
            shown = _with_former(session, key, ids)
            options.note(f"[{number}/{len(wanted)}] {key}")
            session.materialize("gifs", key, ["review_gifs"], {"review_gifs": {**config, "annotation_ids": shown}})
        except (InputError, *FAULTS) as error:
            if not config["continue_on_error"]:
                raise
            failed[key] = str(error) if isinstance(error, InputError) else fault_sentence(error)
            options.note(f"  {key} failed: {failed[key]}")
    return failed


def _with_former(session: Session, key: str, ids: Iterable[str]) -> list[str]:
    """The sequence annotations asked for, and those of the same annotations that have GIFs already, so that these stay in force."""
    annotated, annotations = _annotations(session, key)
    review_gifs.chosen(annotations, ids)
    asked = set(ids)
    former = session.workspace.store.current(ArtifactKey("recordings", key, "review_gifs"))
    if asked and former is not None and former.manifest.identity.inputs["sequence_annotations"] == annotated.version:
        asked |= set(review_gifs.read(former.file(review_gifs.FILE_NAME)))
    return sorted(asked)


def _annotations(session: Session, key: str) -> tuple[Artifact, SequenceAnnotations]:
    annotated = session.workspace.recording_artifact(key, "sequence_annotations")
    return annotated, annotations_file.read(annotated.file(annotations_file.FILE_NAME))


def _planned(session: Session, key: str, ids: list[str], settings: GifSettings) -> list[dict[str, Any]]:
    frames, (_, annotations) = session.workspace.recording_artifact(key, "frames"), _annotations(session, key)
    if annotations.reason is not None:
        options.note(f"{key}: no sequence annotations: {annotations.reason}")
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    return review_gifs.planned(registry, review_gifs.chosen(annotations, ids), settings, frames.manifest.files.__contains__)


def _facts(session: Session, key: str) -> dict[str, Any]:
    """What there is now, as JSON values; files as keys within the artifact."""
    artifact = session.workspace.recording_artifact(key, "review_gifs")
    made = review_gifs.read(artifact.file(review_gifs.FILE_NAME))
    counts = artifact.counts
    for each in made.values():
        for skipped in each.skipped_images:
            options.note(f"  {each.sequence_id}: {skipped.frame_id} is left out: {skipped.reason}")
        if each.reason is not None:
            options.note(f"  {each.sequence_id} has no GIFs: {each.reason}")
    return {
        "recording": key,
        "gifs": counts["gifs"],
        "frames": counts["frames"],
        "skipped images": counts["skipped_images"],
        "stage": session.workspace.catalog.labelling.of(key).status,
        "folder": artifact.location,
        "files": {name: {"main": each.main, "crop": each.crop} for name, each in made.items()},
        "links": review_gifs.links(session.workspace.store, artifact),
    }


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        options.print_json(rows)
    else:
        short = [{name: value for name, value in row.items() if name not in {"files", "links"}} for row in rows]
        options.print_table(short, "There is nothing to make GIFs of.")
