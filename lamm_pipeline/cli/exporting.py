"""`lamm dataset sam2`: a dataset version as SAM2 export ZIPs in a folder of one's own, with fewer frames if wanted."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.formats import sam2_export
from lamm_pipeline.datasets.formats.files import Export
from lamm_pipeline.datasets.formats.frame_rates import FrameRate
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.splits.split_table import SplitSample, split_samples
from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.storage.draft import Draft


@options.command
def sam2(
    version: Annotated[str, typer.Argument(help="Key of the dataset version, such as night_drives.v2.")],
    out: Annotated[Path, typer.Argument(help="Folder for the ZIPs, one a recording.", file_okay=False)],
    fps: Annotated[FrameRate, typer.Option(help="Frames a second; auto: 5 for recordings of 30 or more, else 1.")] = FrameRate.auto,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however large it gets.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a dataset version as SAM2 export ZIPs, sampled by time. How large they get is said first.

    lamm dataset sam2 night_drives.v2 exports --fps 2
    """
    with open_session(root) as session:
        workspace = session.workspace
        workspace.catalog.versions.get(version)
        manifest = read_version(session.settings.root, version)
        curated = workspace.version_artifact(version, "curated_dataset").file("samples.parquet").parent
        splits = workspace.version_artifact(version, "splits").folder
        classes = version_classes(manifest, workspace.ontology)

        def samples() -> Iterator[SplitSample]:
            return split_samples(curated, splits, pinned_folders(workspace.store))

        expected = sam2_export.estimate(samples(), fps)
        options.note(f"{expected.frames} frames, about {expected.megabytes:.1f} MB")
        if expected.untimed:
            options.note(f"All frames of {', '.join(expected.untimed)}: they have no time stamps to choose by.")
        taken = next((name for each in expected.recordings if (out / (name := f"{each}.zip")).exists()), None)
        if taken is not None:
            raise InputError(f"{out} has {taken} already. Move it away, or give another folder.")
        _confirm(expected.megabytes, yes=yes)
        progress = StageProgress(options.note, "sam2")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".lamm-", dir=out) as folder:
            draft = Draft.open(Path(folder))
            try:
                summary = sam2_export.write_sam2(Export(samples(), manifest, classes, draft, expected.frames, progress=progress), fps)
            finally:
                draft.close()
            written = sorted((Path(folder) / sam2_export.FOLDER).glob("*.zip"))
            files = [str(shutil.move(path, out / path.name)) for path in written]
    if as_json:
        options.print_json({"files": files, "frames": dict(summary.frames), "annotations": dict(summary.annotations), **summary.counts})
        return
    for file in files:
        options.say(file)


def _confirm(megabytes: float, *, yes: bool) -> None:
    """Say that an export gets large, and ask where somebody can answer.

    Raises:
        InputError: it gets too large to be written unasked, and nobody has agreed.
    """
    if megabytes <= sam2_export.WARN_MB or yes:
        return
    options.note(f"This is more than {sam2_export.WARN_MB:g} MB; a lower --fps gives less.")
    if megabytes <= sam2_export.CONFIRM_MB:
        return
    if not typer.get_text_stream("stdin").isatty():
        raise InputError(f"The export takes about {megabytes:.0f} MB, more than {sam2_export.CONFIRM_MB:g}. Give --yes, or a lower --fps.")
    if not typer.confirm("Write it?", err=True):
        raise InputError("Nothing was written.")
