"""`lamm prepare`: from annotation exports to training data in one command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.datasets import ratios_of, show_version
from lamm_pipeline.cli.importing import ClassMap, Frames, Images, Limits, Runs, Video, import_config, import_files, show_import
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.datasets.preparing import PREPARED, dataset_name, grow, with_said
from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, ExportFormat, OnConflict, SplitStrategy, StratifiedGroup
from lamm_pipeline.datasets.validation.settings import MaskCheck, ValidationLevel
from lamm_pipeline.datasets.versions import check_name
from lamm_pipeline.imports.settings import RunOrder
from lamm_pipeline.orchestration.config import parse

Formats = Annotated[
    list[ExportFormat] | None,
    typer.Option("--format", help="Format to write; may be repeated. Default: huggingface.", show_default=False),
]


@options.command
def prepare(
    files: Annotated[list[Path], typer.Argument(help="SAM2 export ZIPs.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset; one that exists grows. Default: the first file's name.", show_default=False)
    ] = None,
    formats: Formats = None,
    split: Annotated[str | None, typer.Option(help="Shares of train/val/test. Default: 0.8/0.1/0.1.", show_default=False)] = None,
    strategy: Annotated[
        SplitStrategy | None, typer.Option(help="How frames get into the splits. Default: auto.", show_default=False)
    ] = None,
    group: Annotated[
        StratifiedGroup | None, typer.Option(help="What a stratified split keeps together. Default: auto.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split. Default: 42.", show_default=False)] = None,
    guard_frames: Annotated[
        int | None, typer.Option(help="Frames of a video that lie at least between two of its blocks. Default: 10.", show_default=False)
    ] = None,
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Divide all frames anew; else those of the version before stay where they are.")
    ] = False,
    validation: Annotated[
        ValidationLevel | None, typer.Option(help="How much the data must fulfil. Default: strict.", show_default=False)
    ] = None,
    masks: Annotated[
        MaskCheck | None, typer.Option(help="Decode every mask, or look at its runs only. Default: full.", show_default=False)
    ] = None,
    empty_frames: Annotated[
        EmptyFrames | None, typer.Option(help="What becomes of frames without annotations. Default: auto.", show_default=False)
    ] = None,
    on_conflict: Annotated[
        OnConflict | None, typer.Option(help="Which of two different frames of one id is taken. Default: keep_first.", show_default=False)
    ] = None,
    class_map: ClassMap = None,
    video: Video = None,
    images: Images = None,
    recording: Frames = None,
    runs: Runs = RunOrder.auto,
    limits: Limits = None,
    title: Annotated[str, typer.Option(help="Title for people.")] = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Prepare training data from annotation exports: import, validate, split, convert, save.

    A dataset that exists grows: the new frames are merged with those it has, all are validated again, and the old ones stay in their
    splits. What is not said here is as in its newest version.

        lamm prepare street.zip --format huggingface --split 0.8/0.1/0.1 --validation strict
        lamm prepare more.zip --name street
    """
    said = {
        "split": {
            **(ratios_of(split) if split else {}),
            **_given(strategy=strategy, group=group, seed=seed, guard_frames=guard_frames),
        },
        "validation": _given(level=validation, masks=masks),
        "filters": _given(empty_frames=empty_frames),
        **_given(formats=formats, on_conflict=on_conflict),
    }
    _settings(PREPARED, said)  # so that a wrong value is refused before anything is imported
    config = import_config(class_map, video, images, recording, runs, limits)
    if name is not None:
        check_name(name)
    with open_session(root) as session:
        imported = import_files(session, files, config)
        for facts in imported:
            show_import(facts, options.note)
        dataset = name or dataset_name(imported[0]["key"])
        growth = grow(session.settings.root, session.workspace.catalog, dataset, [facts["key"] for facts in imported])
        if growth.newest is not None:
            options.note(f"{growth.newest} is there already: it grows, and what is not said here is as it is there")
        settings = _settings(growth.settings, said)
        key = session.create_version(
            dataset, growth.recordings, settings, imports=growth.imports, resplit=resplit, after=growth.number, title=title
        )
        show_version(session, key, as_json=as_json)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _settings(settings: DatasetSettings, said: dict[str, Any]) -> DatasetSettings:
    checked: DatasetSettings = parse(DatasetSettings, with_said(settings, said), "the dataset version")
    return checked
