"""`lamm sequences`: make, compare and export what is to be reviewed."""

import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.orchestration.stages import assets_of
from lamm_pipeline.review import gifs
from lamm_pipeline.review import sequence_annotations as sequences_file
from lamm_pipeline.review.annotate import INPUTS, annotate
from lamm_pipeline.review.clustering import Algorithm
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.labelling_status import processing_stage
from lamm_pipeline.review.reviewed import reviewed
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.review.sequence_comparison import compare as compare_sequences
from lamm_pipeline.review.sequence_settings import Preset, SequenceParameters, SequenceSettings, Source
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.storage.atomic import write_json

ASSET = "sequence_annotations"
JOB = "annotate_only"
LINK_SECONDS = 24 * 3600
FAILED = 1
STAGES = ("imported", "ready_to_annotate", "annotated")
_LOG = logging.getLogger("lamm.sequences")

Keys = Annotated[list[str] | None, typer.Argument(help="Keys of recordings; or choose by --from and --to.", show_default=False)]


@options.command
def run(
    recordings: Keys = None,
    root: options.Root = None,
    from_: options.From = None,
    to: options.To = None,
    without_annotations: Annotated[
        bool, typer.Option("--without-annotations", help="Of these, or else of all, the recordings without sequence annotations.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Take the boxes of this file or folder (S4 JSON or COCO) as detections first; see `detections` with backend external."
        ),
    ] = None,
    source: Annotated[Source | None, typer.Option(help="What makes boxes of several frames to one object.")] = None,
    preset: Annotated[Preset | None, typer.Option(help="Thresholds that go together. Default: balanced.", show_default=False)] = None,
    confidence_threshold: Annotated[float | None, typer.Option(help="Least confidence; 0 = no filter.")] = None,
    iou_threshold: Annotated[float | None, typer.Option(help="Boxes of one object overlap by more than this; 0 = any overlap.")] = None,
    min_cluster_size: Annotated[int | None, typer.Option(help="Least frames of an object.")] = None,
    algorithm: Annotated[Algorithm | None, typer.Option(help="Single link, or the first tool's scan.")] = None,
    max_gap: Annotated[int | None, typer.Option(help="Most frames between two boxes that are linked.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where people have decided on the present ones.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, write nothing.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make the sequence annotations of recordings: each object once for the whole time it is seen.

    What a recording lacks for it (frames, detections) is made first. With `--log-level debug` every step is told.

        lamm sequences run drive --root data
        lamm sequences run --from 2026-11-01 --to 2026-11-07 --preset conservative
        lamm sequences run --without-annotations --confidence-threshold 0.5 --iou-threshold 0.3
        lamm sequences run camera_7 --predictions predictions.json --algorithm greedy_s4
    """
    given = {
        "source": source.value if source else None,
        "preset": preset.value if preset else None,
        "confidence_threshold": confidence_threshold,
        "iou_threshold": iou_threshold,
        "min_cluster_size": min_cluster_size,
        "algorithm": algorithm.value if algorithm else None,
        "max_gap": max_gap,
    }
    values = {name: value for name, value in given.items() if value is not None}
    parameters = parse(SequenceSettings, values, "the sequence annotations").parameters()
    if dry_run and predictions is not None:
        raise InputError("A dry run looks at the detections there are; --predictions would replace them. Leave one of the two out.")
    with open_session(root) as session:
        keys = _chosen(session, recordings or [], options.day(from_), options.day(to), without=without_annotations)
        add_recording_partitions(session.instance, keys)
        rows = []
        for number, key in enumerate(keys, start=1):
            options.note(f"[{number}/{len(keys)}] {key}")
            try:
                if dry_run:
                    row = _plan(session, key, parameters)
                else:
                    row = _make(session, key, parameters, {**values, "force": force}, predictions)
            except (InputError, *FAULTS) as error:
                row = {"recording": key, "error": str(error) if isinstance(error, InputError) else fault_sentence(error)}
                options.note(f"  failed: {row['error']}")
            rows.append(row)
    if as_json:
        options.print_json(rows)
    else:
        shown = ("recording", "sequences", "boxes", "longest", "version", "error")
        options.print_table([{name: row.get(name) for name in shown} for row in rows], "No recording lacks sequence annotations.")
    if any("error" in row for row in rows):
        raise typer.Exit(FAILED)


@options.command
def export(
    recordings: Keys = None,
    root: options.Root = None,
    from_: options.From = None,
    to: options.To = None,
    stage: Annotated[
        str | None, typer.Option(help="Only recordings in this stage: imported, ready_to_annotate or annotated.", show_default=False)
    ] = None,
    s4: Annotated[bool, typer.Option("--s4", help="In the keys of the annotation tool that the format comes from (is_smoke ...).")] = False,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.", show_default=False)] = None,
) -> None:
    """Export sequence annotations as JSON, with what people have said about them and without what they excluded.

    With --s4 also the addresses of their GIFs: those of a bucket are signed now and hold for a day, others are the report server's.

    lamm sequences export --root data --stage annotated --output annotated.json
    lamm sequences export drive --s4
    """
    if stage not in (None, *STAGES):
        raise InputError(f"{stage!r} is no processing stage. There are: {', '.join(STAGES)}.")
    with open_session(root) as session:
        documents = []
        for key in _chosen(session, recordings or [], options.day(from_), options.day(to), every=True):
            found = _reviewed(session, key)
            if found is None and recordings:
                raise InputError(f"There are no sequence annotations of {key!r} yet. Make them with `lamm sequences run {key}`.")
            if found is not None and stage in (None, found.processing_stage):
                if s4:
                    documents.append({"sequence_id": key, **sequences_file.s4_document(found, _gif_urls(session, key))})
                else:
                    documents.append(sequences_file.document(found))
    if output is None:
        options.print_json(documents)
    else:
        write_json(output, documents)
        options.say(f"{len(documents)} recordings, {output}")


@options.command
def compare(
    recording: Annotated[str, typer.Argument(help="Key of a recording.")],
    before: Annotated[str | None, typer.Argument(help="A version. Default: the one before the newest.", show_default=False)] = None,
    after: Annotated[str | None, typer.Argument(help="Another one. Default: the newest.", show_default=False)] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two versions of a recording's sequence annotations: which are the same, changed, gone, new.

    lamm sequences run drive --iou-threshold 0.1
    lamm sequences compare drive
    """
    with open_session(root) as session:
        store = session.workspace.store
        key = ArtifactKey("recordings", recording, ASSET)
        versions = store.versions(key)
        if len(versions) < 2 and (before is None or after is None):
            raise InputError(f"Recording {recording!r} has {len(versions)} versions of sequence annotations; two are compared.")
        names = (before or versions[-2], after or versions[-1])
        found = compare_sequences(*(_version(session, key, name) for name in names))
    if as_json:
        options.print_json({"before": names[0], "after": names[1], **found.counts(), **vars(found)})
        return
    options.say(f"{recording}: version {names[0]} and version {names[1]}")
    for name, (old, new) in found.parameters.items():
        options.say(f"  {name}: {old} -> {new}")
    options.say("  " + ", ".join(f"{count} {what}" for what, count in found.counts().items()))
    pairs: list[Mapping[str, Any]] = [{"before": old, "after": new} for old, new in found.changed]
    rows = [*pairs, *({"before": name, "after": None} for name in found.gone), *({"before": None, "after": name} for name in found.new)]
    options.print_table(rows, "  Every sequence has the same boxes in both.")


def _chosen(
    session: Session, keys: list[str], first: date | None, last: date | None, *, without: bool = False, every: bool = False
) -> list[str]:
    """The recordings named, those of a range of days, or all; of them those without annotations, if so wanted."""
    dated = first is not None or last is not None
    if keys and dated:
        raise InputError("Name recordings, or choose them by --from and --to; one of the two.")
    if keys:
        chosen = [session.workspace.catalog.recordings.get(key).key for key in keys]
    elif dated:
        chosen = session.recorded_between(first, last)
    elif without or every:
        chosen = session.workspace.catalog.recordings.all_keys()
    else:
        raise InputError("Name recordings, or choose them by --from and --to, or take all --without-annotations.")
    if not without:
        return chosen
    return [key for key in chosen if session.workspace.store.current(ArtifactKey("recordings", key, ASSET)) is None]


def _plan(session: Session, key: str, parameters: SequenceParameters) -> dict[str, Any]:
    inputs = session.workspace.recording_artifacts(key, *INPUTS[parameters.source])
    found = annotate(key, inputs, parameters, _LOG.debug)
    return _row(found) | {"version": None, "dry_run": True}


def _make(
    session: Session, key: str, parameters: SequenceParameters, config: Mapping[str, Any], predictions: Path | None
) -> dict[str, Any]:
    def lacks(asset: str) -> bool:
        return session.workspace.store.current(ArtifactKey("recordings", key, asset)) is None

    assets = [ASSET]
    if any(map(lacks, INPUTS[parameters.source])):
        stages = ["review", "tracking"] if parameters.source is Source.track else ["review"]
        assets += [asset for asset in assets_of(stages) if lacks(asset) and asset != ASSET]
    operations: dict[str, Mapping[str, Any]] = {ASSET: config}
    if predictions is not None:
        assets += ["detections"] * ("detections" not in assets)
        given = {"backend": "external", "predictions": str(predictions.expanduser().resolve())}
        operations["detections"] = {**given, "confidence_threshold": 0.0}  # the threshold of the sequence annotations decides
    session.materialize(JOB, key, assets, operations)
    made = session.workspace.recording_artifact(key, ASSET)
    found = _read(made)
    return _row(found) | {
        "version": made.version,
        "folder": str(made.folder),
        "dry_run": False,
        "skipped": dict(found.parameters) != parameters.to_json(),
    }


def _row(found: SequenceAnnotations) -> dict[str, Any]:
    return {
        "recording": found.recording,
        "sequences": len(found.sequences),
        "boxes": found.summary["sequence_boxes"],
        "longest": max((len(each.boxes) for each in found.sequences), default=0),
        "summary": dict(found.summary),
        "parameters": dict(found.parameters),
        "reason": found.reason,
    }


def _reviewed(session: Session, key: str) -> SequenceAnnotations | None:
    artifact = session.workspace.store.current(ArtifactKey("recordings", key, ASSET))
    if artifact is None:
        return None
    state = decisions_now(session.workspace.store, session.workspace.catalog, key).state
    return reviewed(_read(artifact), state.sequences, processing_stage(session.workspace.catalog.labelling.of(key).status))


def _gif_urls(session: Session, key: str) -> dict[str, dict[str, str | None]]:
    """Addresses of the GIFs of the sequence annotations in force, `main` and `crop` by sequence annotation."""
    store = session.workspace.store
    annotated, made = (store.current(ArtifactKey("recordings", key, asset)) for asset in (ASSET, "review_gifs"))
    if annotated is None or made is None or made.manifest.identity.inputs["sequence_annotations"] != annotated.version:
        return {}
    server = f"{session.workspace.settings.report_url}/files/recordings/{quote(key)}/review_gifs/{made.version}"
    names, signed = gifs.read(made.file(gifs.FILE_NAME)), gifs.links(store, made, LINK_SECONDS)

    def address(sequence_id: str, kind: str, name: str | None) -> str | None:
        return None if name is None else signed[sequence_id][kind] or f"{server}/{quote(name)}"

    return {
        sequence_id: {kind: address(sequence_id, kind, name) for kind, name in (("main", each.main), ("crop", each.crop))}
        for sequence_id, each in names.items()
    }


def _version(session: Session, key: ArtifactKey, name: str) -> SequenceAnnotations:
    artifact = session.workspace.store.find(key, name)
    if artifact is None:
        raise InputError(f"There is no version {name!r} of the sequence annotations of {key.partition!r}.")
    return _read(artifact)


def _read(artifact: Artifact) -> SequenceAnnotations:
    return sequences_file.read(artifact.file(sequences_file.FILE_NAME))
