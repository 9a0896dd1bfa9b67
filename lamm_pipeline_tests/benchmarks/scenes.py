"""Frames of a scene view, 100,000 points each, against the limit and against the usual calls of Rerun's documentation."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.scenes.view.scene_frame import SceneFrame, ShownBox
from lamm_pipeline.scenes.view.scene_layout import Contents
from lamm_pipeline.scenes.view.scene_writer import SceneWriter, ShownClass
from lamm_pipeline_tests.benchmarks.harness import Means, NotRunError, Row, take_turns

WIDTH, HEIGHT = 1280, 720
POINTS, FRAMES, BOXES = 100_000, 30, 5
MOST_MS = 10.0
MOST_SHARE = 0.6
CONTENTS = Contents(image=True, points=True, boxes=True, layers=("uncertainty/model",), uncertainty=True, fps=30.0)


def run(means: Means) -> list[Row]:
    """Milliseconds a frame, JPEG included; what is read and computed before is not."""
    try:
        import rerun as rr
    except ImportError:
        raise NotRunError("no Rerun here; install lamm-pipeline[view]") from None
    frames, rounds = (2, 1) if means.tiny else (FRAMES, 5)
    image, frame = _image(), _frame(1_000 if means.tiny else POINTS)
    paths = {name: means.folder / f"{name}.rrd" for name in ("ours", "Rerun's")}
    variants: dict[str, Callable[[], None]] = {
        "ours": partial(_ours, paths["ours"], image, frame, frames),
        "Rerun's": partial(_reruns, rr, paths["Rerun's"], image, frame, frames),
    }
    took = take_turns(variants, rounds)
    rows = []
    for clock, name in (("wall", "ms a frame"), ("cpu", "ms of CPU time a frame")):
        ours, theirs = ([1e3 * getattr(each, clock) / frames for each in took[variant].rounds] for variant in variants)
        ratio, bound = statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), clock == "cpu"
        mine = statistics.median(ours)
        note = "reference: `Image.compress`, a cloud for each colouring, colours as red, green, blue"
        rows.append(Row(name, mine, statistics.median(theirs), at_most=MOST_SHARE if bound else None, paired=ratio, note=note))
        rows.append(Row(name, mine, MOST_MS, at_most=1.0 if bound else None, note="reference: the limit"))
    rows.append(Row("MB a frame", paths["ours"].stat().st_size / 1e6 / frames))
    return rows


def _ours(path: Path, image: NDArray[np.uint8], frame: SceneFrame, frames: int) -> None:
    camera = RectifiedCamera(WIDTH, HEIGHT, 700.0, 700.0, 640.0, 360.0, 0.12)
    with SceneWriter(path, "drive", CONTENTS, camera, [ShownClass(1, "Car", (230, 25, 75))]) as writer:
        for index in range(frames):
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
            writer.frame(SceneFrame(**{**vars(frame), "index": index, "timestamp_ns": index * 33_333_333, "jpeg": jpeg}))


def _reruns(rr: Any, path: Path, image: NDArray[np.uint8], frame: SceneFrame, frames: int) -> None:
    rgb = np.ascontiguousarray(frame.photo.view(np.uint8).reshape(-1, 4)[:, :3])
    with rr.RecordingStream("bench", recording_id="drive") as stream:
        stream.save(path)
        for index in range(frames):
            stream.set_time("frame", sequence=index)
            stream.log("image", rr.Image(image, color_model="BGR").compress(jpeg_quality=80))
            stream.log("masks", rr.SegmentationImage(frame.masks))
            for name in ("photo", "uncertainty"):
                stream.log(name, rr.Points3D(frame.points, colors=rgb))
            stream.log("boxes", rr.Boxes3D(centers=np.zeros((BOXES, 3)), half_sizes=np.ones((BOXES, 3)), labels=["Car"] * BOXES))


def _image() -> NDArray[np.uint8]:
    """A picture with as much detail as a street."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _frame(points: int) -> SceneFrame:
    generator = np.random.default_rng(1)
    masks = np.zeros((HEIGHT, WIDTH), np.uint16)
    masks[300:400, 200:500] = 1
    boxes_xyxy = np.tile(np.array([[200.0, 300.0, 500.0, 400.0]], np.float32), (BOXES, 1))
    return SceneFrame(
        index=0,
        timestamp_ns=0,
        pose=np.eye(4),
        jpeg=None,
        scale=1.0,
        masks=masks,
        boxes_xyxy=boxes_xyxy,
        box_classes=np.ones(BOXES, np.uint16),
        box_labels=("Car",) * BOXES,
        cloud_points=points,
        points=generator.normal(0.0, 20.0, (points, 3)).astype(np.float32),
        photo=generator.integers(0, 2**32, points, np.uint32),
        point_classes=(generator.random(points) < 0.1).astype(np.uint16),
        layers={"uncertainty/model": generator.integers(0, 2**32, points, np.uint32)},
        boxes=tuple(ShownBox(1, f"Car #{n}", Box3D(float(n), 1.0, 10.0, 4.0, 2.0, 1.5, 0.1), n) for n in range(BOXES)),
    )
