"""`lamm dataset`: create, list, show."""

from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, ExportFormat, SplitStrategy
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse

Ratios = Annotated[str, typer.Option("--split", help="Shares of train/val/test; they sum to 1.")]
Formats = Annotated[list[ExportFormat] | None, typer.Option("--format", help="Format to write; may be given twice. Default: all.")]


@options.command
def create(
    name: Annotated[str, typer.Argument(help="Name of the dataset, e.g. night_drives; the version number is given by the house.")],
    recordings: Annotated[
        list[str] | None, typer.Argument(help="Recording keys (see `lamm status`). Default: all that have detections.")
    ] = None,
    split: Ratios = "0.7/0.2/0.1",
    strategy: Annotated[
        SplitStrategy, typer.Option(help="Whole recordings, or contiguous blocks with a guard gap, or whichever fits.")
    ] = SplitStrategy.auto,
    seed: Annotated[int, typer.Option(help="Seed of the split; the same seed gives the same split.")] = 42,
    formats: Formats = None,
    include: Annotated[list[str] | None, typer.Option("--class", help="Class to keep; may be repeated. Default: all.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude-class", help="Class to leave out; may be repeated.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out annotations with a lower score.")] = None,
    empty_frames: Annotated[EmptyFrames, typer.Option(help="What becomes of frames without annotations.")] = EmptyFrames.drop,
    title: Annotated[str, typer.Option(help="Title for people.")] = "",
    description: Annotated[str, typer.Option(help="Description for people.")] = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Create the next version of a dataset and export it.

    The version pins the recordings' artifacts, the filters and the split; it never changes. When nothing differs from the newest version of
    this name, that one is used again.

        lamm dataset create night_drives rec_001 rec_002 --split 0.8/0.1/0.1 --class car --class person
    """
    settings = dataset_settings(
        split,
        formats,
        strategy=strategy,
        seed=seed,
        filters={
            "include_classes": include or [],
            "excluded_classes": exclude or [],
            "min_score": min_score,
            "empty_frames": empty_frames,
        },
    )
    with open_session(root) as session:
        key = session.create_version(name, recordings or [], settings, title=title, description=description)
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
            for row in session.workspace.catalog.versions(name)
        ]
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "There are no dataset versions yet. Make one with `lamm dataset create NAME`.")


@options.command
def show(
    version: Annotated[str, typer.Argument(help="Version key, e.g. night_drives.v2.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a dataset version consists of and where its exports are."""
    with open_session(root) as session:
        session.workspace.catalog.version(version)
        show_version(session, version, as_json=as_json)


def dataset_settings(split: str, formats: list[ExportFormat] | None, **values: Any) -> DatasetSettings:
    """Dataset settings from the command line's options.

    Raises:
        InputError: a value is not allowed.
    """
    try:
        train, val, test = (float(part) for part in split.split("/"))
    except ValueError:
        raise InputError(f"--split {split!r} is not three shares such as 0.7/0.2/0.1.") from None
    parts: dict[str, Any] = {"train_ratio": train, "val_ratio": val, "test_ratio": test}
    parts |= {name: values.pop(name) for name in ("strategy", "seed", "balance_by", "guard_frames") if name in values}
    settings: DatasetSettings = parse(
        DatasetSettings, {"split": parts, **({"formats": formats} if formats else {}), **values}, "the dataset version"
    )
    return settings


def show_version(session: Session, key: str, *, as_json: bool) -> None:
    """Print a version: its lineage when it is exported, and where its files are."""
    facts = session.version_facts(key)
    if as_json:
        options.print_json(facts)
        return
    statistics = facts["statistics"]
    options.say(f"Dataset version {key}, created {facts['created_at']} by {facts['created_by']}")
    options.say(f"  recordings   {', '.join(facts['recordings'])}")
    if statistics is None:
        options.say("  not exported yet; materialize the assets of this version, or launch the job `export`")
        return
    options.say(
        f"  frames       {statistics['total_frames']} (train {statistics['train_frames']}, val {statistics['val_frames']}, "
        f"test {statistics['test_frames']})"
    )
    options.say(f"  annotations  {statistics['total_annotations']}")
    for name, folder in facts["exports"].items():
        options.say(f"  {name:<12} {folder}")
