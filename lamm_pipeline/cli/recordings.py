"""`lamm browse, info, sample, pack, add, scan`: recordings on disk and in the catalog."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from lamm_pipeline.cli import options
from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.calib_txt import read_calib
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.recordings.calibration import read_conf
from lamm_pipeline.recordings.ingest import Added, Prepare, add_files, find_recordings
from lamm_pipeline.recordings.ingest import scan as scan_dataset
from lamm_pipeline.recordings.integrity import check
from lamm_pipeline.recordings.metadata import camera_serial, describe
from lamm_pipeline.recordings.open_recording import open_recording
from lamm_pipeline.recordings.pack import pack as pack_images
from lamm_pipeline.recordings.svo2_format import Codec
from lamm_pipeline.recordings.svo2_reader import open_svo2

KITTI_PAIRS = {"image_0": ("P0", "P1"), "image_00": ("P0", "P1"), "image_2": ("P2", "P3"), "image_02": ("P2", "P3")}


@options.command
def browse(
    folder: Annotated[Path, typer.Argument(help="Folder to look into, with all folders below it.")],
    as_json: options.AsJson = False,
) -> None:
    """List the SVO2 files below a folder, with camera, size, frames and date. Nothing is remembered or decoded."""
    rows = [_brief(path) for path in find_recordings(folder)]
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, f"There are no .svo2 files below {folder}.")


@options.command
def info(
    file: Annotated[Path, typer.Argument(help="An SVO2 file.")],
    as_json: options.AsJson = False,
) -> None:
    """Show what a recording holds and whether it is sound: camera, size, frames, rates, IMU, gaps, damage."""
    with open_recording(file) as reader:
        facts = asdict(describe(reader, file)) | {"integrity": asdict(check(reader))}
    if as_json:
        options.print_json(facts)
        return
    header, integrity = facts.pop("header"), facts.pop("integrity")
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        options.say(f"{name:<{width}}  {_short(value)}")
    options.say(f"{'header':<{width}}  {', '.join(header)}")
    problems = integrity["problems"]
    options.say(f"{'integrity':<{width}}  {'; '.join(problems) if problems else 'complete and readable'}")


@options.command
def sample(
    out: Annotated[Path, typer.Argument(help="The recording to write, *.svo2. Calibration and truth are written beside it.")],
    frames: Annotated[int, typer.Option(help="Number of stereo frames.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of textures and noise.")] = 7,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 15.0,
    size: Annotated[str, typer.Option(help="Size of one eye: VGA, HD720, HD1080 or WIDTHxHEIGHT.")] = "HD720",
    as_json: options.AsJson = False,
) -> None:
    """Render a synthetic recording that real models can see, with its truth: depth, masks, 3D boxes, tracks.

    The same options give the same bytes. The file is marked as synthetic.

        lamm sample demo.svo2 && lamm run demo.svo2 --root data && lamm evaluate data --truth demo.truth
    """
    from lamm_pipeline.sample.render import render_sample  # noqa: PLC0415
    from lamm_pipeline.sample.settings import SampleSettings, parse_size  # noqa: PLC0415

    width, height = parse_size(size)
    values = {"frames": frames, "seed": seed, "fps": fps, "width": width, "height": height}
    settings: SampleSettings = parse(SampleSettings, values, "the sample")
    written = render_sample(out, settings, StageProgress(options.note, "sample"))
    if as_json:
        options.print_json(asdict(written))
    else:
        options.say(f"Recording    {written.recording}  ({written.frames} frames, {written.duration_s:.1f} s)")
        options.say(f"Calibration  {written.calibration_file}")
        options.say(f"Truth        {written.truth}")


@options.command
def pack(
    left: Annotated[Path, typer.Argument(help="Folder of the left images.")],
    right: Annotated[Path, typer.Argument(help="Folder of the right images, with the same names.")],
    out: Annotated[Path, typer.Argument(help="The recording to write, *.svo2; its calibration is written beside it.")],
    calibration: Annotated[Path, typer.Option(help="KITTI calib.txt of the rectified pair, or a SN<serial>.conf.")],
    fps: Annotated[float | None, typer.Option(help="Frame rate, when there are no times.")] = None,
    times: Annotated[Path | None, typer.Option(help="Text file with one time a frame, as KITTI's times.txt.")] = None,
    serial: Annotated[int, typer.Option(help="Serial number to give the camera.")] = 800000,
    codec: Annotated[Codec, typer.Option(help="Codec of the video.")] = "h264",
    overwrite: Annotated[bool, typer.Option(help="Replace a recording of that name.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Pack folders of stereo images into an SVO2 recording, so that any stereo data can go through the pipeline.

    lamm pack kitti/image_0 kitti/image_1 kitti.svo2 --calibration kitti/calib.txt --times kitti/times.txt
    """
    packed = pack_images(left, right, _calibration(calibration, left, serial), out, fps=fps, times=times, codec=codec, overwrite=overwrite)
    if as_json:
        options.print_json(asdict(packed))
    else:
        options.say(f"Recording    {packed.recording}  ({packed.frames} frames)")
        options.say(f"Calibration  {packed.calibration_file}")


@options.command
def add(
    files: Annotated[list[Path], typer.Argument(help="SVO2 files to take in.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Take picked recordings in: each becomes a partition that the UI and `lamm run` know by its key.

    The files stay where they are. For whole folders with provenance use `lamm scan`.
    """
    with open_session(root) as session:
        _register(session, add_files(session.workspace.catalog, files, session.actor), as_json=as_json)


@options.command
def scan(
    folder: Annotated[Path, typer.Argument(help="Folder to scan, with all folders below it.")],
    name: Annotated[str | None, typer.Option(help="Name of the source dataset. Default: the folder's name.", show_default=False)] = None,
    prepare: Annotated[
        Prepare | None,
        typer.Option(
            help="Leave the files (reference, the default), or lay them out below the root, one folder per camera.", show_default=False
        ),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Take in every recording below a folder as one source dataset; scan again to pick up new and changed files.

    Everything made of these recordings names the source dataset in its lineage.
    """
    with open_session(root) as session:
        catalog = session.workspace.catalog
        sources, folder = catalog.source_datasets, folder.expanduser().resolve()
        known = name or folder.name
        dataset = sources.find(known) or sources.add(known, folder, prepare or Prepare.reference, session.actor)
        if Path(dataset.folder) != folder:
            raise InputError(f"The source dataset {known!r} is the folder {dataset.folder}. Give this one another --name.")
        if prepare not in {None, Prepare(dataset.prepare)}:
            raise InputError(f"The source dataset {known!r} is prepared by {dataset.prepare}. Leave --prepare out, or use another --name.")
        _register(session, scan_dataset(catalog, dataset, session.settings.root, camera_serial, session.actor), as_json=as_json)


def _calibration(file: Path, left: Path, serial: int) -> StereoCalibration:
    """Calibration of the images in `left`: read from a vendor file, or made of a KITTI `calib.txt` of rectified images.

    KITTI's grey pair is P0 and P1, its colour pair P2 and P3; the folder's name (`image_0`, `image_2`) tells which.
    """
    first = next((path for path in sorted(left.iterdir()) if path.is_file()), None) if left.is_dir() else None
    image = cv2.imread(str(first)) if first is not None else None
    if image is None:
        raise InputError(f"{left} holds no images. Give the folder of the left images.")
    if not file.is_file():
        raise InputError(f"{file} does not exist. Give the calibration of the images: a KITTI calib.txt or a SN<serial>.conf.")
    height, width = image.shape[:2]
    if file.suffix.lower() == ".conf":
        return read_conf(file, width, height)
    camera = read_calib(file).camera(width, height, KITTI_PAIRS.get(left.resolve().name))
    eye = CameraModel(camera.fx, camera.fy, camera.cx, camera.cy)
    return StereoCalibration(serial, width, height, eye, eye, (0.0, 0.0, 0.0), (-camera.baseline_m, 0.0, 0.0), str(file))


def _register(session: Session, added: list[Added], *, as_json: bool) -> None:
    add_recording_partitions(session.instance, [each.key for each in added])
    rows = [{"recording": each.key, "status": each.status, "file": str(each.path)} for each in added]
    if as_json:
        options.print_json(rows)
    else:
        options.print_table(rows, "No recordings were found.")


def _brief(path: Path) -> dict[str, Any]:
    """One line about a file; a file that cannot be read says why."""
    row: dict[str, Any] = {"file": str(path), "size_mb": round(path.stat().st_size / 1e6, 1)}
    try:
        with open_svo2(path) as reader:
            facts = reader.info
            return row | {
                "camera": f"{facts.model} SN{facts.serial}",
                "eye": f"{facts.width}x{facts.height}",
                "frames": facts.frame_count,
                "problem": "",
            }
    except InputError as error:
        return row | {"camera": "", "eye": "", "frames": None, "problem": str(error)}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
