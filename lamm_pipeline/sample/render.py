"""Render a synthetic stereo recording with its calibration, and the truth beside it.

    OUT.svo2            the recording, marked as synthetic
    SN<serial>.conf     the calibration of its camera
    OUT.truth/          calib.txt, label_2/000000.txt, tracks.txt, depth/000000.npy, masks/000000.png, poses.txt, objects.json, truth.json

The pictures are cast through the lens model of the raw eyes, not resampled from rectified ones, so the calibration is needed to find the
true disparities. Truth is given in the rectified left camera that OpenCV's recipe makes of that calibration.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.calib_txt import write_calib
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.reconstruction.kitti_labels import KittiObject
from lamm_pipeline.recordings.calibration import read_conf, write_conf
from lamm_pipeline.recordings.svo2_writer import Svo2Writer
from lamm_pipeline.sample.imu_stream import FRAME_IMU_LEAD_NS, frame_stamp_ns, imu_at, imu_between
from lamm_pipeline.sample.motion import CameraPose, SceneClock, camera_pose
from lamm_pipeline.sample.picture import expose, ground_light, picture
from lamm_pipeline.sample.rig import Rig, build_rig, sample_calibration
from lamm_pipeline.sample.scene import ACTORS, boxes_in_camera, footprints_at, surfaces_at
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.sample.textures import Atlas, build_atlas
from lamm_pipeline.sample.truth import frame_truth, truncation_level
from lamm_pipeline.storage.atomic import write_json, write_text
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

Picture = NDArray[np.uint8]

TRUTH_FILE = "truth.json"

_TILE_PX = 2048
_SMALL_TILE_PX = 1024
_SMALL_WIDTH = 1000
_NOTE = (
    "Synthetic: rendered from scikit-image's pictures, not recorded by a camera. Truth is in the rectified left camera. Boxes in label_2 "
    "enclose the whole object, cut to the image; masks hold track id + 1; depth is in metres, NaN in the sky; poses.txt holds "
    "camera-to-world matrices, row by row. A frame of the duplicate stretch shows, and has the truth of, the first of the stretch, while "
    "its stamp and the IMU go on."
)


@dataclass(frozen=True)
class SampleResult:
    """What was written.

    Attributes:
        recording: the SVO2 file.
        calibration_file: `SN<serial>.conf` beside it.
        truth: the folder with the truth.
        serial: serial number of the synthetic camera.
        frames: number of frames.
        duration_s: from the first to the last frame.
        camera: the rectified pair in which the truth is given.
    """

    recording: Path
    calibration_file: Path
    truth: Path
    serial: int
    frames: int
    duration_s: float
    camera: RectifiedCamera


@dataclass(frozen=True)
class RenderedFrame:
    """One picture pair and the labels that belong to it."""

    left: Picture
    right: Picture
    objects: tuple[KittiObject, ...]
    pose: CameraPose


def render_sample(
    out: Path, settings: SampleSettings | None = None, progress: Progress = no_progress, workers: int | None = None
) -> SampleResult:
    """Render a recording, its calibration and its truth. The same settings give the same bytes.

    Args:
        out: the recording to write, `*.svo2`; an earlier sample of that name is replaced.
        settings: None means the defaults.
        progress: told after every frame.
        workers: rendering threads; None means one a processor.

    Raises:
        InputError: `out` is not an `.svo2` path, or its truth folder holds something else.
    """
    wanted = settings or SampleSettings()
    truth = _truth_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    conf = out.with_name(f"SN{wanted.serial}.conf")
    write_conf(conf, sample_calibration(wanted.serial, wanted.width, wanted.height))
    # what the file says is what is rendered, to the last digit
    rig = build_rig(replace(read_conf(conf, wanted.width, wanted.height), source=conf.name))
    partial = truth.with_name(f".{truth.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    renderer = FrameRenderer(wanted, rig, partial)
    labels: dict[int, tuple[KittiObject, ...]] = {}
    poses: list[CameraPose] = []
    with _writer(out, wanted) as writer:
        before: int | None = None
        for frame, rendered in _all_frames(renderer, workers):
            stamp = frame_stamp_ns(frame, wanted.fps)
            writer.add_sensors(imu_between(before, stamp, renderer.clock, rig.raw_to_rectified, wanted.seed))
            writer.add_frame(
                rendered.left, rendered.right, stamp, imu_at(stamp - FRAME_IMU_LEAD_NS, renderer.clock, rig.raw_to_rectified, wanted.seed)
            )
            before = stamp
            labels[frame] = rendered.objects
            poses.append(rendered.pose)
            progress(frame + 1, wanted.frames)
    _write_truth(partial, wanted, rig, renderer.clock, labels, poses)
    shutil.rmtree(truth, ignore_errors=True)
    partial.replace(truth)
    duration_s = (frame_stamp_ns(wanted.frames - 1, wanted.fps) - frame_stamp_ns(0, wanted.fps)) / 1e9
    return SampleResult(out, conf, truth, wanted.serial, wanted.frames, duration_s, rig.camera)


class FrameRenderer:
    """Renders single frames, from several threads if need be, and writes their depth and masks.

    Args:
        settings: of the sample.
        rig: the camera.
        truth: folder for depth and masks.

    Attributes:
        settings: of the sample.
        truth: folder for depth and masks.
        clock: the scene's clock.
    """

    def __init__(self, settings: SampleSettings, rig: Rig, truth: Path) -> None:
        self.settings = settings
        self.truth = truth
        self.clock = SceneClock.for_static_frames(settings.static_frames, settings.fps)
        self._rig = rig
        self._atlas: Atlas = build_atlas(settings.seed, _SMALL_TILE_PX if settings.width < _SMALL_WIDTH else _TILE_PX)
        for folder in ("depth", "masks"):
            (truth / folder).mkdir(parents=True)

    def scene_time(self, frame: int) -> float:
        """Time of the scene in the picture of a frame, seconds."""
        return float(self.clock.scene_time(np.array([frame / self.settings.fps]))[0])

    def render(self, frame: int) -> RenderedFrame:
        """Render a frame and write its depth and masks."""
        scene_s = self.scene_time(frame)
        pose = camera_pose(self.clock, frame / self.settings.fps)
        surfaces = surfaces_at(scene_s)
        light = ground_light(footprints_at(scene_s))
        eyes = []
        for eye, rays in enumerate((self._rig.left, self._rig.right)):
            image = picture(rays, surfaces, pose, self._atlas, light)
            rng = np.random.default_rng([self.settings.seed, 4, frame, eye])
            eyes.append(expose(image, scene_s, right=eye == 1, noise=self.settings.noise, rng=rng))
        truth = frame_truth(self._rig, surfaces, boxes_in_camera(pose, scene_s), pose)
        np.save(self.truth / "depth" / f"{frame:06d}.npy", truth.depth)
        _write_png(self.truth / "masks" / f"{frame:06d}.png", truth.instances)
        return RenderedFrame(eyes[0], eyes[1], truth.objects, pose)


def _truth_folder(out: Path) -> Path:
    if out.suffix.lower() != ".svo2":
        raise InputError(f"{out} does not end in .svo2; name the recording to write, for example sample.svo2.")
    truth = out.with_name(f"{out.stem}.truth")
    if truth.exists() and not (truth / TRUTH_FILE).is_file():
        raise InputError(f"{truth} is there but is not the truth of a sample; choose another name for the recording or move it away.")
    return truth


def _writer(out: Path, settings: SampleSettings) -> Svo2Writer:
    metadata = {"generator": "lamm sample", "settings": settings.model_dump_json()}
    return Svo2Writer(
        out, serial=settings.serial, width=settings.width, height=settings.height, fps=settings.fps, synthetic=True, metadata=metadata
    )


def _all_frames(renderer: FrameRenderer, workers: int | None) -> Iterator[tuple[int, RenderedFrame]]:
    """Every frame in order; those of the duplicate stretch repeat what was rendered for its first."""
    settings = renderer.settings
    own = [frame for frame in range(settings.frames) if settings.source_frame(frame) == frame]
    for source, rendered in map_ordered(renderer.render, own, workers):
        yield source, rendered
        for repeat in settings.duplicate_frames[1:] if source == settings.duplicate_frames.start else ():
            for name in ("depth/{:06d}.npy", "masks/{:06d}.png"):
                shutil.copyfile(renderer.truth / name.format(source), renderer.truth / name.format(repeat))
            yield repeat, rendered


def _write_png(path: Path, image: Picture) -> None:
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise AssertionError(f"OpenCV could not encode {path.name}")
    path.write_bytes(data.tobytes())


def _write_truth(
    folder: Path, settings: SampleSettings, rig: Rig, clock: SceneClock, labels: dict[int, tuple[KittiObject, ...]], poses: list[CameraPose]
) -> None:
    write_calib(folder / "calib.txt", rig.camera)
    for frame, objects in labels.items():
        kitti_labels.write(folder / "label_2" / f"{frame:06d}.txt", objects)
    levels = {
        frame: [replace(item, truncated=float(truncation_level(item.truncated))) for item in objects] for frame, objects in labels.items()
    }
    kitti_labels.write_tracking(folder / "tracks.txt", levels)
    rows = (np.column_stack([pose.rotation, pose.position]).ravel() for pose in poses)
    write_text(folder / "poses.txt", "".join(f"{' '.join(f'{value:.9e}' for value in row)}\n" for row in rows))
    write_json(folder / "objects.json", _objects(settings, clock))
    write_json(folder / TRUTH_FILE, _description(settings, rig))


def _objects(settings: SampleSettings, clock: SceneClock) -> dict[str, Any]:
    """Who is who, and where they are in the world in every frame."""
    times = clock.scene_time(np.array([settings.source_frame(frame) / settings.fps for frame in range(settings.frames)])).tolist()
    described: dict[str, Any] = {}
    for actor in ACTORS:
        boxes = [actor.box_at(scene_s) for scene_s in times]
        described[str(actor.track_id)] = {
            "class_id": actor.class_id,
            "kitti_type": actor.kitti_type,
            "size_m": {"length": actor.length, "width": actor.width, "height": actor.height},
            "photograph": actor.photograph,
            "path_world": [[round(value, 6) for value in (box.x, box.y, box.z, box.rotation_y)] for box in boxes],
        }
    return described


def _description(settings: SampleSettings, rig: Rig) -> dict[str, Any]:
    return {
        "note": _NOTE,
        "settings": settings.model_dump(),
        "serial": settings.serial,
        "calibration": asdict(rig.calibration),
        "rectified_camera": asdict(rig.camera),
        "duplicate_frames": list(settings.duplicate_frames),
        "static_frames": list(settings.static_frames),
        "timestamps_ns": [frame_stamp_ns(frame, settings.fps) for frame in range(settings.frames)],
    }
