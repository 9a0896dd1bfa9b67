"""`lamm curate, near-duplicates`: which frames and annotations are for datasets, and which frames of other recordings look alike."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.curation.near_duplicates import MAX_RADIUS, RADIUS, twins_across
from lamm_pipeline.curation.selecting import ASSET, settings_in_force
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.datasets.creation import wanted_recordings
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.diversity import FILE_NAME, read_metrics
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.storage.artifacts import ArtifactKey

FAILED = 1


@options.command
def curate(
    recordings: Annotated[list[str] | None, typer.Argument(help="Recording keys. Default: all that have detections.")] = None,
    exclude_classes: Annotated[list[str] | None, typer.Option("--exclude-class", help="Class to leave out; may be repeated.")] = None,
    exclude_frames: Annotated[
        list[str] | None, typer.Option("--exclude-frame", help="Frame to leave out, e.g. drive:000012; may be repeated.")
    ] = None,
    exclude_annotations: Annotated[
        list[str] | None, typer.Option("--exclude-annotation", help="Annotation to leave out, e.g. drive:000012:3; may be repeated.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out annotations with a lower score that nobody has reviewed.")] = None,
    diversity: Annotated[
        bool | None,
        typer.Option("--diversity/--no-diversity", help="Leave out frames that repeat others.", show_default=False),
    ] = None,
    similarity_threshold: Annotated[float | None, typer.Option(help="More similar images repeat each other, 0 to 1.")] = None,
    motion_threshold: Annotated[float | None, typer.Option(help="Frames with less motion are still, 0 to 1.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Begin with the defaults; else what is not given stays as it was.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Select frames and annotations of recordings again, from what is there already: other settings, the latest decisions.

    No image is read. The next dataset version takes these selections.

        lamm curate drive --diversity --similarity-threshold 0.9
        lamm curate --exclude-class cone --min-score 0.4
    """
    given = {
        "excluded_classes": exclude_classes,
        "excluded_frame_ids": exclude_frames,
        "excluded_detection_ids": exclude_annotations,
        "min_score": min_score,
        "diversity": diversity,
        "similarity_threshold": similarity_threshold,
        "motion_threshold": motion_threshold,
    }
    given = {name: value for name, value in given.items() if value is not None}
    parse(SelectionSettings, given, "the selection")
    failed = {}
    rows: list[dict[str, Any]] = []
    with open_session(root) as session:
        store = session.workspace.store
        catalog = session.workspace.catalog
        keys = [catalog.recordings.get(key).key for key in wanted_recordings(store, catalog, recordings or [])]
        add_recording_partitions(session.instance, keys)
        for key in keys:
            before = SelectionSettings() if reset else settings_in_force(store, key)
            try:
                session.materialize("curate", key, [ASSET], {ASSET: {**before.model_dump(mode="json"), **given}})
            except InputError as error:
                failed[key] = str(error)
                continue
            artifact = session.workspace.recording_artifact(key, ASSET)
            rows.append({"recording": key, "version": artifact.version, **artifact.counts})
    if as_json:
        options.print_json({"selections": rows, "failed": failed})
    else:
        shown = [
            {"recording": row["recording"], **row["states"], "annotations": row["filtered"]["annotations"], "decisions": row["decisions"]}
            for row in rows
        ]
        options.print_table(shown, "No selection was made.")
    for sentence in failed.values():
        options.note(f"Error: {sentence}")
    if failed:
        raise typer.Exit(FAILED)


@options.command
def near_duplicates(
    recordings: Annotated[list[str] | None, typer.Argument(help="Recording keys. Default: all that have diversity metrics.")] = None,
    radius: Annotated[int, typer.Option(min=0, max=MAX_RADIUS, help="Most bits of 64 in which the hashes of two images differ.")] = RADIUS,
    listed: Annotated[int, typer.Option("--list", min=0, help="How many pairs of frames to name.")] = 10,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Find frames that look like frames of other recordings, by their image hashes: the same drive twice, copies, cuts.

    Each frame is told with the most similar frame of each other recording. No pair within the radius is missed.

        lamm near-duplicates --radius 3
    """
    with open_session(root) as session:
        workspace, known = session.workspace, session.workspace.catalog.recordings
        keys = [known.get(key).key for key in recordings or ()] or known.all_keys()
        artifacts = {key: workspace.store.current(ArtifactKey("recordings", key, "diversity_metrics")) for key in keys}
        for key in recordings or ():
            if artifacts[key] is None:
                raise InputError(f"There is no 'diversity_metrics' of {key!r} yet. `lamm run {key} --stage extraction` makes it.")
        metrics = {key: read_metrics(artifact.file(FILE_NAME)) for key, artifact in artifacts.items() if artifact is not None}
    found = twins_across({key: (each.frame_ids, each.dhash64) for key, each in metrics.items()}, radius)
    rows = [
        {
            "recording": one,
            "other": other,
            "frames": len(twins),
            "of": len(metrics[one].frame_ids),
            "closest": min(each.bits for each in twins),
        }
        for (one, other), twins in found.items()
    ]
    if as_json:
        options.print_json({"radius": radius, "recordings": rows, "frames": [asdict(each) for twins in found.values() for each in twins]})
        return
    options.print_table(rows, f"No frames of different recordings look alike ({len(metrics)} recordings).")
    if rows and listed:
        options.say()
        every = sorted((each for twins in found.values() for each in twins), key=lambda each: each.bits)
        options.print_table([asdict(each) for each in every[:listed]], "")
