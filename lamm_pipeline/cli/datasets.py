"""`lamm dataset`: create, list, show, validate, edit, delete, diff, zip."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.datasets.comparison import Comparison, Curated, compare, counted
from lamm_pipeline.datasets.deletion import delete_version
from lamm_pipeline.datasets.downloads import find_export, write_zip
from lamm_pipeline.datasets.hard_cases import HardCases
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, ExportFormat, SplitStrategy, StratifiedGroup
from lamm_pipeline.datasets.validation.report import FAILURES_FILE, PAGE_FILE, REPORT_FILE, Status, read_report
from lamm_pipeline.datasets.validation.settings import ValidationLevel
from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.instance import remove_version_partition
from lamm_pipeline.orchestration.runs import RunState, newest_run, state_of

Ratios = Annotated[str, typer.Option("--split", help="Shares of train/val/test; they sum to 1.")]
VersionKey = Annotated[str, typer.Argument(help="Version key, e.g. night_drives.v2.")]
Formats = Annotated[list[ExportFormat] | None, typer.Option("--format", help="Format to write; may be repeated. Default: kitti and coco.")]


@options.command
def create(
    name: Annotated[str, typer.Argument(help="Name of the dataset, e.g. night_drives; the version number is given by the house.")],
    recordings: Annotated[
        list[str] | None,
        typer.Argument(help="Recording keys (see `lamm status`). Default: all that have detections, or none with --import."),
    ] = None,
    split: Ratios = "0.7/0.2/0.1",
    strategy: Annotated[
        SplitStrategy,
        typer.Option(
            help="Whole recordings (temporal: in the order of time), contiguous blocks with a guard gap, or whichever of these fits; "
            "stratified by class; random frames, which leaks."
        ),
    ] = SplitStrategy.auto,
    group: Annotated[StratifiedGroup, typer.Option(help="What --strategy stratified keeps together.")] = StratifiedGroup.auto,
    seed: Annotated[int, typer.Option(help="Seed of the split; the same seed gives the same split.")] = 42,
    guard_frames: Annotated[
        int, typer.Option(help="Frames of a recording that lie at least between two of its blocks in different splits.")
    ] = 10,
    formats: Formats = None,
    include: Annotated[list[str] | None, typer.Option("--class", help="Class to keep; may be repeated. Default: all.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude-class", help="Class to leave out; may be repeated.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out annotations with a lower score.")] = None,
    empty_frames: Annotated[EmptyFrames, typer.Option(help="What becomes of frames without annotations.")] = EmptyFrames.auto,
    validation: Annotated[
        ValidationLevel,
        typer.Option(help="What the version has to fulfil: strict takes frames without annotations and invalid boxes as errors."),
    ] = ValidationLevel.lenient,
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="Key of an import (see `lamm import --list`); may be repeated.", show_default=False)
    ] = None,
    hard_cases_top: Annotated[
        int | None, typer.Option(help="Only so many frames: those that models are least sure of (see `lamm hotspots`).", show_default=False)
    ] = None,
    hard_cases_per_recording: Annotated[
        int | None, typer.Option(help="Of each recording only so many frames, the least sure ones.", show_default=False)
    ] = None,
    hard_cases_per_tag: Annotated[
        int | None, typer.Option(help="Of each tag only so many frames, the least sure ones.", show_default=False)
    ] = None,
    hard_cases_above: Annotated[float | None, typer.Option(help="Only frames with a higher score.", show_default=False)] = None,
    hard_cases_gap: Annotated[int, typer.Option(help="Of frames nearer than so many indices only the least sure one.")] = 0,
    hard_cases_model: Annotated[list[str] | None, typer.Option(help="Model whose scores count; may be repeated. Default: all.")] = None,
    hard_cases_score: Annotated[
        str | None, typer.Option(help="Kind of score that counts, where there are several.", show_default=False)
    ] = None,
    hard_cases_tag: Annotated[list[str] | None, typer.Option(help="Only recordings with this tag; may be repeated. Default: all.")] = None,
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Divide all frames anew; else those of the version before stay where they are.")
    ] = False,
    title: Annotated[str, typer.Option(help="Title for people.")] = "",
    description: Annotated[str, typer.Option(help="Description for people.")] = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Create the next version of a dataset and export it.

    The version pins the recordings' artifacts, the filters and the split; it never changes. When nothing differs from the newest version of
    this name, that one is used again.

        lamm dataset create night_drives rec_001 rec_002 --split 0.8/0.1/0.1 --class car --class person
        lamm dataset create hard_nights --hard-cases-top 200 --hard-cases-gap 30 --hard-cases-tag night
    """
    hard_cases: HardCases = parse(
        HardCases,
        {
            "top": hard_cases_top,
            "top_per_recording": hard_cases_per_recording,
            "top_per_tag": hard_cases_per_tag,
            "above": hard_cases_above,
            "min_gap_frames": hard_cases_gap,
            "models": hard_cases_model or [],
            "score_kind": hard_cases_score,
            "tags": hard_cases_tag or [],
        },
        "the hard cases",
    )
    settings = dataset_settings(
        split,
        formats,
        strategy=strategy,
        group=group,
        seed=seed,
        guard_frames=guard_frames,
        filters={
            "include_classes": include or [],
            "excluded_classes": exclude or [],
            "min_score": min_score,
            "empty_frames": empty_frames,
        },
        validation={"level": validation},
    )
    with open_session(root) as session:
        key = session.create_version(
            name,
            recordings or [],
            settings,
            imports=imports or [],
            hard_cases=hard_cases,
            resplit=resplit,
            title=title,
            description=description,
        )
        show_version(session, key, as_json=as_json)


@options.command
def list_versions(
    name: Annotated[str | None, typer.Argument(help="Only versions of this dataset.")] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """List dataset versions with their creator and date."""
    with open_session(root) as session:
        rows = [
            {"version": row.key, "created_at": f"{row.created_at:%Y-%m-%d %H:%M}", "created_by": row.created_by, "title": row.title}
            for row in session.workspace.catalog.versions.all(name)
        ]
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "There are no dataset versions yet. Make one with `lamm dataset create NAME`.")


@options.command
def show(
    version: VersionKey,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a dataset version consists of and where its exports are."""
    with open_session(root) as session:
        session.workspace.catalog.versions.get(version)
        show_version(session, version, as_json=as_json)


@options.command
def validate(
    version: VersionKey,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the validation report of a dataset version. Ends with code 1 when the version failed.

    lamm dataset validate night_drives.v2
    """
    with open_session(root) as session:
        session.workspace.catalog.versions.get(version)
        artifact = session.workspace.version_artifact(version, "validation_report")
        report = read_report(artifact.file(REPORT_FILE).parent)
    if as_json:
        options.print_json({**report, "folder": artifact.location})
    else:
        _show_report(report)
        options.say(f"\n  report    {artifact.location}/{PAGE_FILE}\n  failures  {artifact.location}/{FAILURES_FILE}")
    if report["status"] == Status.failed:
        raise typer.Exit(1)


def _show_report(report: dict[str, Any]) -> None:
    options.say(f"{report['dataset']}: {report['status']}, {report['frames']} frames, {report['annotations']} annotations")
    options.say()
    rows = [
        {"rule": rule["name"], "result": "passed" if rule["passed"] else rule["severity"], "finding": rule["sentence"]}
        for rule in report["rules"]
    ]
    rows += [{"rule": name, "result": "off", "finding": ""} for name in report["switched_off"]]
    options.print_table(rows, "no rules")
    for rule in report["rules"]:
        if rule["first"]:
            more = rule["failures"] - len(rule["first"])
            options.say(f"\n{rule['name']}: {', '.join(rule['first'])}" + (f" and {more} more" if more else ""))
    if report["recommendations"]:
        options.say()
    for advice in report["recommendations"]:
        options.say(f"- {advice}")


@options.command
def edit(
    version: VersionKey,
    title: Annotated[str | None, typer.Option(help="Another title for people.", show_default=False)] = None,
    description: Annotated[str | None, typer.Option(help="Another description for people.", show_default=False)] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Give a dataset version another title or description. Nothing else of it can change.

    lamm dataset edit night_drives.v2 --title "Night, without posters"
    """
    if title is None and description is None:
        raise InputError("There is nothing to change: give --title, --description or both.")
    with open_session(root) as session:
        row = session.workspace.catalog.versions.edit(version, session.actor, title=title, description=description)
    if as_json:
        options.print_json({"version": row.key, "title": row.title, "description": row.description})
    else:
        options.say(f"{row.key}: {row.title or 'no title'}; {row.description or 'no description'}")


@options.command
def delete(
    version: VersionKey,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete a dataset version with its exports. Recordings and what was made of them stay; its number is not used again.

    lamm dataset delete night_drives.v1
    """
    with open_session(root) as session:
        run = newest_run(session.instance, version)
        if run is not None and state_of(session.home, run) in (RunState.pending, RunState.running):
            raise InputError(f"Run {run.run_id[:8]} works on {version}. Wait for it, or cancel it (`lamm cancel {version}`).")
        if not yes:
            row = session.workspace.catalog.versions.get(version)
            options.note(f"{version}, created {row.created_at:%Y-%m-%d} by {row.created_by}: {row.title or 'no title'}")
            typer.confirm("Delete it with its exports?", abort=True, err=True)
        size = delete_version(session.settings.root, session.workspace.store, session.workspace.catalog, version, session.actor)
        remove_version_partition(session.instance, version)
    if as_json:
        options.print_json({"deleted": version, "bytes": size})
    else:
        options.say(f"Deleted {version}, {size / 1e6:.1f} MB.")


@options.command
def diff(
    old: Annotated[str, typer.Argument(help="Version to start from, e.g. night_drives.v1.")],
    new: Annotated[str, typer.Argument(help="Version to look at, e.g. night_drives.v2.")],
    listed: Annotated[int, typer.Option("--list", min=0, help="How many frames and annotations to name.")] = 20,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what differs between two dataset versions: frames and annotations in, out and changed, by class, and why.

    lamm dataset diff night_drives.v1 night_drives.v2
    """
    with open_session(root) as session:
        found = compare(_curated(session, old), _curated(session, new))
    if as_json:
        options.print_json(found.to_json())
    else:
        _show_comparison(found, listed)


@options.command
def zip_export(
    version: VersionKey,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Which of its formats.")],
    to: Annotated[Path | None, typer.Option(help="The ZIP. Default: <version>-<format>.zip here.", show_default=False)] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a dataset version in one format as one ZIP, the same that the report server gives to browsers.

    lamm dataset zip night_drives.v1 --format coco --to night.zip
    """
    path = to or Path(f"{version}-{export_format}.zip")
    with open_session(root) as session:
        session.workspace.catalog.versions.get(version)
        export = find_export(session.workspace.store, version, export_format)
        if export is None:
            raise InputError(f"{version} is not written as {export_format}. See `lamm dataset show {version}` for what there is.")
        size = write_zip(export, path)
    if as_json:
        options.print_json({"version": version, "format": export_format, "file": str(path), "bytes": size})
    else:
        options.say(f"{path}: {size / 1e6:.1f} MB.")


def _curated(session: Session, key: str) -> Curated:
    session.workspace.catalog.versions.get(key)
    manifest = read_version(session.settings.root, key)
    folders = pinned_folders(session.workspace.store)
    return Curated(manifest, folders, session.workspace.version_artifact(key, "curated_dataset").folder)


def _show_comparison(found: Comparison, listed: int) -> None:
    options.say(f"{found.old}: {found.total_frames[0]} frames. {found.new}: {found.total_frames[1]} frames.")
    for name, (before, after) in found.settings.items():
        options.say(f"  {name}: {before} -> {after}")
    for (recording, asset), (old_version, new_version) in found.artifacts.items():
        options.say(f"  {recording}: {asset} {old_version or 'none'} -> {new_version or 'none'}")
    for what, changes in (("frames", found.frames), ("annotations", found.annotations)):
        options.say()
        options.print_table([{what: row["change"], "why": row["reason"], "count": row["count"]} for row in counted(changes)], f"no {what}")
    options.say()
    columns = ("before", "in", "out", "from_other_class", "to_other_class", "corrected", "after")
    classes = [{"class": name, **{each: found.classes[name][each] for each in columns}} for name in sorted(found.classes)]
    options.print_table(classes, "no annotations in either")
    rows = [
        {"what": each.frame_id, "change": each.change, "class": None, "why": each.reason, "detail": each.detail} for each in found.frames
    ]
    rows += [
        {
            "what": each.annotation_id,
            "change": "+".join(each.what) or each.change,
            "class": " -> ".join(dict.fromkeys(str(name) for name in (each.class_before, each.class_after) if name)),
            "why": each.reason,
            "detail": each.detail,
        }
        for each in found.annotations
    ]
    if rows and listed:
        options.say()
        options.print_table(rows[:listed], "")
    if len(rows) > listed:
        options.say(f"... and {len(rows) - listed} more; --json tells all.")


def dataset_settings(split: str, formats: list[ExportFormat] | None, **values: Any) -> DatasetSettings:
    """Dataset settings from the command line's options.

    Raises:
        InputError: a value is not allowed.
    """
    parts: dict[str, Any] = ratios_of(split)
    parts |= {name: values.pop(name) for name in ("strategy", "group", "seed", "balance_by", "guard_frames") if name in values}
    settings: DatasetSettings = parse(
        DatasetSettings, {"split": parts, **({"formats": formats} if formats else {}), **values}, "the dataset version"
    )
    return settings


def ratios_of(split: str) -> dict[str, float]:
    """The ratios of `SplitSettings`, from text such as 0.7/0.2/0.1.

    Raises:
        InputError: it is no such text.
    """
    try:
        train, val, test = (float(part) for part in split.split("/"))
    except ValueError:
        raise InputError(f"--split {split!r} is not three shares such as 0.7/0.2/0.1.") from None
    return {"train_ratio": train, "val_ratio": val, "test_ratio": test}


def show_version(session: Session, key: str, *, as_json: bool) -> None:
    """Print a version: its lineage when it is exported, and where its files are."""
    facts = session.version_facts(key)
    if as_json:
        options.print_json(facts)
        return
    statistics = facts["statistics"]
    options.say(f"Dataset version {key}, created {facts['created_at']} by {facts['created_by']}")
    for what in ("recordings", "imports"):
        if facts[what]:
            options.say(f"  {what:<12} {', '.join(facts[what])}")
    if facts["hard_cases"] is not None:
        hard = facts["hard_cases"]
        limits = ", ".join(f"{name} {value}" for name, value in hard["condition"].items() if value not in (None, [], 0))
        options.say(f"  hard cases   {len(hard['frame_ids'])} frames: {limits}")
    if facts["validation"] is not None:
        findings = facts["validation"]
        options.say(f"  validation   {findings['status']}")
        for sentence in (*findings["errors"], *findings["warnings"]):
            options.say(f"    {sentence}")
    if statistics is None:
        options.say("  not exported yet; materialize the assets of this version, or launch the job `export`")
        return
    options.say(
        f"  frames       {statistics['total_frames']} (train {statistics['train_frames']}, val {statistics['val_frames']}, "
        f"test {statistics['test_frames']})"
    )
    _show_split(facts)
    options.say(f"  annotations  {statistics['total_annotations']}")
    for name, folder in facts["exports"].items():
        options.say(f"  {name:<12} {folder}")


def _show_split(facts: dict[str, Any]) -> None:
    if facts["split"] is not None:
        options.say(f"  split        {facts['split']['strategy_used']}")
        for sentence in (*facts["in_no_split"]["why"], *facts["split"]["notes"]):
            options.say(f"    {sentence}")
