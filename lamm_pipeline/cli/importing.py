"""`lamm import`: annotated images from elsewhere."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.importing import FILE_NAME, first_problems, read_summary
from lamm_pipeline.imports.planning import ASSET, SCOPE
from lamm_pipeline.imports.problems import LEFT_OUT
from lamm_pipeline.imports.settings import ImportSettings, RunOrder, ZipLimits
from lamm_pipeline.imports.taking_in import add_exports, current_digest
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.instance import add_export_partitions
from lamm_pipeline.storage.artifacts import ArtifactKey

ClassMap = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="LABEL=CLASS", help="Class of a label; may be given several times.", show_default=False),
]
Video = Annotated[str | None, typer.Option(help="Name of the video the exports are of. Default: what they say.", show_default=False)]
Images = Annotated[Path | None, typer.Option(help="Folder of clean images that take the place of those in the ZIP.", show_default=False)]
Frames = Annotated[
    str | None,
    typer.Option("--recording", help="Recording whose extracted frames take the place of the images in the ZIP.", show_default=False),
]
Runs = Annotated[RunOrder, typer.Option(help="Order of the runs in masks that are bare lists of numbers.")]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help=f"Limit for the ZIP, of {', '.join(ZipLimits.model_fields)}; may be given several times.",
        show_default=False,
    ),
]


@options.command
def import_(
    files: Annotated[
        list[Path] | None, typer.Argument(help="SAM2 export ZIPs: annotations.json, metadata.json, images/frame_000012.png.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List what was imported, and import nothing.")] = False,
    class_map: ClassMap = None,
    video: Video = None,
    images: Images = None,
    recording: Frames = None,
    runs: Runs = RunOrder.auto,
    limits: Limits = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Import annotated images: each ZIP becomes a table of samples that datasets are made of.

    Nothing in a ZIP is trusted: one that leads outside, holds links or unpacks to too much is refused.

        lamm import export.zip --class automobile=car --root data
    """
    config = import_config(class_map, video, images, recording, runs, limits)
    if bool(files) == list_:
        raise InputError("Give the ZIPs to import, or --list alone to see what was imported.")
    with open_session(root) as session:
        if list_:
            _list(session, as_json=as_json)
            return
        imported = import_files(session, files or [], config)
    if as_json:
        options.print_json(imported)
        return
    for facts in imported:
        show_import(facts, options.say)


def import_config(
    class_map: Iterable[str] | None,
    video: str | None,
    images: Path | None,
    recording: str | None,
    runs: RunOrder,
    limits: Iterable[str] | None,
) -> dict[str, Any]:
    """The config of an import that options on the command line make; what was not given is left at its default.

    Raises:
        InputError: one of them makes no sense.
    """
    values = {
        "class_map": dict(_pair("--class", each, "LABEL=CLASS, such as automobile=car") for each in class_map or ()),
        "video": video,
        "run_order": runs.value,
        "from_recording": recording,
        "images_folder": None if images is None else str(images.expanduser().resolve()),
    }
    given = {name: value for name, value in values.items() if value}
    parse(ImportSettings, given, "the import")
    raised = dict(_pair("--limit", each, "NAME=NUMBER, such as max_ratio=500") for each in limits or ())
    checked: ZipLimits = parse(ZipLimits, raised, "the limits of the ZIP")
    return given | checked.model_dump(include=set(raised))


def import_files(session: Session, files: Iterable[Path], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Import ZIPs.

    Args:
        session: the house.
        files: the ZIPs.
        config: see `import_config`.

    Returns:
        What became of each, as JSON values.

    Raises:
        InputError: a file or a setting cannot be used.
    """
    catalog = session.workspace.catalog
    added = add_exports(catalog, files, session.actor)
    with ThreadPoolExecutor(1) as pool:  # the catalog keeps the digests for the runs; a large file's takes as long as to open the house
        digests = [pool.submit(current_digest, catalog, catalog.exports.get(each.key)) for each in added]
        add_export_partitions(session.instance, [each.key for each in added])
        _ = session.definitions
        for digest in digests:
            digest.result()
    imported = []
    for each in added:
        session.materialize("import_exports", each.key, [ASSET], {ASSET: dict(config)})
        imported.append(_facts(session, each.key))
    return imported


def show_import(facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Print what became of an import."""
    counts = facts["counts"]
    say(f"{facts['key']}: {counts['frames']} frames and {counts['annotations']} annotations of {facts['recording']}")
    for class_id, count in counts["classes"].items():
        say(f"  {class_id:<20} {count:>8}" + ("  (not in the ontology)" if class_id in counts["extra_classes"] else ""))
    for sentence in counts["flags"].values():
        say(f"  warning: {sentence}")
    problems = facts["first_problems"]
    for problem in problems:
        say(f"  problem: {problem['sentence']}")
    if sum(counts["problems"].values()) > len(problems):
        say(f"  ... {sum(counts['problems'].values())} problems in all; {facts['details']} lists them.")
    for kind, count in counts["left_out"].items():
        say(f"  left out: {count:,} times: {LEFT_OUT[kind]}")
    if counts["ignored_files"]:
        say(f"  {counts['ignored_files']:,} other files in the ZIP are not read.")


def _list(session: Session, *, as_json: bool) -> None:
    rows = []
    for row in session.workspace.catalog.exports.all():
        artifact = session.workspace.store.current(ArtifactKey(SCOPE, row.key, ASSET))
        counts = {} if artifact is None else artifact.counts
        facts = {name: counts.get(name) for name in ("recording", "frames", "annotations")}
        rows.append({"key": row.key, **facts, "version": None if artifact is None else artifact.version, "file": row.path})
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "Nothing was imported yet.")


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    name, sign, value = text.rpartition("=")
    if not sign or not name.strip() or not value.strip():
        raise InputError(f"{option} {text!r} is no pair. Write {form}.")
    return name, value.strip()


def _facts(session: Session, key: str) -> dict[str, Any]:
    """What became of an import, as JSON values."""
    artifact = session.workspace.store.current(ArtifactKey(SCOPE, key, ASSET))
    if artifact is None:
        raise InputError(f"There is no import of {key!r} although its run has ended well. Import it again.")
    summary = read_summary(artifact.file(FILE_NAME))
    return {
        "key": key,
        "recording": summary["recording"],
        "version": artifact.version,
        "folder": artifact.location,
        "details": f"{artifact.location}/{FILE_NAME}",
        "video": summary["video"],
        "counts": summary["counts"],
        "first_problems": first_problems(summary),
    }
