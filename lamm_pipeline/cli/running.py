"""`lamm run`, `lamm status`, `lamm up`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import typer
import yaml

from lamm_pipeline.cli import options
from lamm_pipeline.cli.datasets import Formats, Ratios, dataset_settings, show_version
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.settings import StereoQuality
from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.orchestration.stages import STAGES, USUAL, assets_of, needs_of
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.segmentation.settings import TileProfile
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey

FAILED = 1

FAST = {"frames.stereo.quality": StereoQuality.half.value, "detections.tiles": TileProfile.fast.value}
"""What `--fast` sets."""


@options.command
def run(
    targets: Annotated[
        list[str] | None, typer.Argument(help="SVO2 files, or keys of recordings that are known already; or choose by --from and --to.")
    ] = None,
    root: options.Root = None,
    from_: options.From = None,
    to: options.To = None,
    stages: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", help=f"Stage to run with all it needs; may be repeated. Stages: {', '.join(STAGES)}. Default: {', '.join(USUAL)}."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the dataset version to make. Default: the first recording's key.", show_default=False)
    ] = None,
    export: Annotated[bool, typer.Option(help="Make a dataset version and export it when all stages have run.")] = True,
    split: Ratios = "0.7/0.2/0.1",
    formats: Formats = None,
    fps: Annotated[float | None, typer.Option(help="Extract frames at this rate instead of all.")] = None,
    frame_skip: Annotated[int | None, typer.Option(help="Extract every Nth frame.")] = None,
    start: Annotated[int | None, typer.Option(help="First frame index.")] = None,
    end: Annotated[int | None, typer.Option(help="Frame index to stop before.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file SN<serial>.conf. Default: beside the file, LAMM_CALIBRATION_DIR, the SDK's folder."),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Trade accuracy for speed: stereo at half size and few looks, like --stereo half --tiles fast."),
    ] = False,
    stereo: Annotated[StereoQuality | None, typer.Option(help="Stereo matching at full or half size.")] = None,
    tiles: Annotated[TileProfile | None, typer.Option(help="How hard the detector looks.")] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Class to detect; may be repeated. Default: all.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Smallest score of a detection.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings by asset, as in the Launchpad's `ops`.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. --set tracks.min_hits=2; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show frames, disk space and time that this would take, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Run recordings through the pipeline: the whole main job, or the stages you name.

    Reads and checks each recording, extracts frames and depth, detects objects, rebuilds 3D boxes and tracks them; then makes a dataset
    version of the recordings and exports it. What is published already is not computed again, and an interrupted run goes on where it was.
    With --stage, what these stages need keeps the settings that it was made with, unless others are given.

        lamm run drive.svo2 --root data
        lamm run data/*.svo2 --root data --fps 5 --dataset night_drives --split 0.8/0.1/0.1
        lamm run drive --root data --stage tracking --set tracks.min_hits=2
        lamm run drive.svo2 --root data --fast
        lamm run --root data --from 2026-11-01 --to 2026-11-03
    """
    given = {
        "frames.target_fps": fps,
        "frames.frame_skip": frame_skip,
        "frames.start_frame": start,
        "frames.end_frame": end,
        "frames.calibration_file": str(calibration.expanduser().resolve()) if calibration else None,
        "frames.stereo.quality": stereo.value if stereo else None,
        "detections.tiles": tiles.value if tiles else None,
        "detections.classes": classes,
        "detections.confidence_threshold": confidence,
    }
    asset_config = asset_config_of(config, sets or [], given, fast=fast)
    assets = assets_of(stages or USUAL)
    export = export and not stages
    exports = dataset_settings(split, formats) if export else None
    # the assets read the environment when they load, and a wrong variable is to end in a sentence
    from lamm_pipeline.cli.estimate import estimate  # noqa: PLC0415

    with open_session(root) as session:
        targets = _chosen(session, targets or [], options.day(from_), options.day(to))
        expected = estimate(session, targets, assets, asset_config)
        if dry_run:
            if as_json:
                options.print_json(asdict(expected))
            else:
                options.say(expected.sentence)
            return
        options.note(expected.sentence)
        keys = _keys(session, targets)
        failed = _run_recordings(session, keys, assets, asset_config, keep=needs_of(stages or []))
        done = [key for key in keys if key not in failed]
        version = session.create_version(dataset or done[0].replace(".", "_"), done, exports) if exports is not None and done else None
        if as_json:
            facts = [session.recording_facts(key) | {"error": failed.get(key)} for key in keys]
            options.print_json(
                {"root": str(session.settings.root), "recordings": facts, "dataset": session.version_facts(version) if version else None}
            )
        else:
            options.print_table([_row(session.recording_facts(key)) for key in keys], "")
            if version is not None:
                show_version(session, version, as_json=False)
        if failed:
            for sentence in failed.values():
                options.note(f"Error: {sentence}")
            raise typer.Exit(FAILED)


@options.command
def status(
    root: options.Root = None,
    from_: options.From = None,
    to: options.To = None,
    as_json: options.AsJson = False,
) -> None:
    """Show every recording with the state of its newest run and what is published of it."""
    with open_session(root) as session:
        if from_ is None and to is None:
            keys = session.workspace.catalog.recordings.all_keys()
        else:
            keys = session.recorded_between(options.day(from_), options.day(to))
        facts = [session.recording_facts(key) for key in keys]
    if as_json:
        options.print_json(facts)
    else:
        options.print_table([_row(each) for each in facts], "No recordings yet. Add some with `lamm add FILE...` or `lamm scan FOLDER`.")


def _chosen(session: Session, targets: list[str], first: date | None, last: date | None) -> list[str]:
    """The recordings named, or those of a range of days."""
    dated = first is not None or last is not None
    if dated == bool(targets):
        raise InputError("Name recordings (files or keys), or choose them by --from and --to; one of the two.")
    if targets:
        return targets
    keys = session.recorded_between(first, last)
    if not keys:
        raise InputError(f"No known recording was recorded from {first or 'the beginning'} to {last or 'today'}. See `lamm status`.")
    return keys


def _keys(session: Session, targets: list[str]) -> list[str]:
    catalog = session.workspace.catalog
    keys: dict[str, None] = {}
    for target in targets:
        if Path(target).expanduser().exists() or not catalog.recordings.has(target):
            keys[add_files(catalog, [Path(target)], session.actor)[0].key] = None
        else:
            keys[target] = None
    add_recording_partitions(session.instance, keys)
    return list(keys)


def _run_recordings(session: Session, keys: list[str], assets: list[str], config: Mapping[str, Any], keep: Iterable[str]) -> dict[str, str]:
    """Run each recording; returns the sentences of those that failed. One bad recording does not stop the others.

    Assets to `keep` have the settings that those in force were made with, where no others are given.
    """
    failed = {}
    for number, key in enumerate(keys, start=1):
        options.note(f"[{number}/{len(keys)}] {key}")
        try:
            session.materialize("production", key, assets, {**config, **_settings_in_force(session, key, keep, config)})
        except (InputError, *FAULTS) as error:
            failed[key] = str(error) if isinstance(error, InputError) else fault_sentence(error)
            options.note(f"  failed: {failed[key]}")
    return failed


def _settings_in_force(session: Session, key: str, assets: Iterable[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a recording's assets in force were made with, and those given over them; says which are no defaults."""
    found = {}
    for asset in assets:
        artifact = session.workspace.store.current(ArtifactKey("recordings", key, asset))
        if artifact is None:
            continue
        defaults = _config_classes().get(asset, StageConfig).model_validate({})
        usual = science(defaults)
        made_with = {name: value for name, value in artifact.manifest.identity.config.items() if name in usual}
        made_with |= {name: value for name, value in _asked_for(session, artifact).items() if name in defaults.OPERATIONAL}
        given = config.get(asset, {})
        others = {name: value for name, value in made_with.items() if value != usual.get(name) and name not in given}
        if others:
            told = ", ".join(f"{name} {json.dumps(value)}" for name, value in others.items())
            options.note(f"  {asset} keep the settings they were made with: {told} (--set gives others)")
        found[asset] = _over(made_with, given)
    return found


def _asked_for(session: Session, artifact: Artifact) -> Mapping[str, Any]:
    """The config of the run that made an artifact, which has the files and weights that its version knows only by their content."""
    run = session.instance.get_run_by_id(str((session.workspace.store.run(artifact) or {}).get("run_id")))
    config: Any = {} if run is None else run.run_config
    asked: Mapping[str, Any] = config.get("ops", {}).get(artifact.key.asset, {}).get("config", {})
    return asked


def _over(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those given in their place, also within parts of them."""
    parts = {name: _over(settings[name], value) for name, value in given.items() if isinstance(settings.get(name), Mapping) and value}
    return {**settings, **given, **parts}


def _row(facts: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: artifact["counts"] for name, artifact in facts["artifacts"].items()}
    return {
        "recording": facts["key"],
        "last run": facts["run"]["state"] if facts["run"] else None,
        "frames": counts.get("frames", {}).get("extracted_frames"),
        "detections": counts.get("detections", {}).get("detections"),
        "3D boxes": counts.get("boxes_3d", {}).get("boxes"),
        "tracks": counts.get("tracks", {}).get("tracks"),
        "file": facts["path"],
    }


def asset_config_of(file: Path | None, sets: list[str], given: Mapping[str, Any], *, fast: bool = False) -> dict[str, Any]:
    """Settings by asset: the file's, then `--set`, then the named options; `--fast` gives way to none of them."""
    config: dict[str, Any] = {}
    if file is not None:
        try:
            config = yaml.safe_load(file.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{file} cannot be read as YAML: {error}") from None
        if not isinstance(config, dict) or not all(isinstance(part, dict) for part in config.values()):
            raise InputError(f"{file} must map asset names to settings, for example `frames: {{frame_skip: 2}}`.")
    for text in sets:
        path, found, value = text.partition("=")
        if not found or "." not in path:
            raise InputError(f"--set {text!r} is not of the form ASSET.SETTING=VALUE, for example tracks.min_hits=2.")
        _put(config, path, yaml.safe_load(value))
    for path, value in given.items():
        if value is not None:
            _put(config, path, value)
    _check(config)
    for path, value in FAST.items() if fast else ():
        if _get(config, path) not in (None, value):
            raise InputError(f"--fast means {path}={value}, and {path}={_get(config, path)} is given besides. Leave one of the two out.")
        _put(config, path, value)
    return config


def _check(config: Mapping[str, Any]) -> None:
    """Refuse wrong settings before any work, with the sentence their asset would fail with."""
    known = assets_of(STAGES)
    for asset, values in config.items():
        if asset not in known:
            raise InputError(f"There is no asset {asset!r} to configure; there are {', '.join(known)}.")
        try:
            _config_classes().get(asset, StageConfig)(**values)
        except dg.Failure as error:
            raise InputError(str(error.description)) from None


def _config_classes() -> dict[str, type[StageConfig]]:
    """The config class of each asset that has settings of its own."""
    # the assets read the environment when they load, and a wrong variable is to end in a sentence
    from lamm_pipeline.curation.assets import SelectionConfig  # noqa: PLC0415
    from lamm_pipeline.extraction.assets import FramesConfig  # noqa: PLC0415
    from lamm_pipeline.reconstruction.assets import Boxes3DConfig  # noqa: PLC0415
    from lamm_pipeline.recordings.assets import RecordingConfig  # noqa: PLC0415
    from lamm_pipeline.review.assets import SequenceAnnotationsConfig  # noqa: PLC0415
    from lamm_pipeline.segmentation.assets import DetectionsConfig, MaskCandidatesConfig  # noqa: PLC0415
    from lamm_pipeline.tracking.assets import IdentitiesConfig, MaskletsConfig, TracksConfig  # noqa: PLC0415

    return {
        "recording": RecordingConfig,
        "frames": FramesConfig,
        "detections": DetectionsConfig,
        "boxes_3d": Boxes3DConfig,
        "tracks": TracksConfig,
        "mask_candidates": MaskCandidatesConfig,
        "masklets": MaskletsConfig,
        "identities": IdentitiesConfig,
        "sequence_annotations": SequenceAnnotationsConfig,
        "selection": SelectionConfig,
    }


def _get(config: Mapping[str, Any], path: str) -> Any:
    """The setting, None where it is not given."""
    value: Any = config
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(config: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    config[last] = value
