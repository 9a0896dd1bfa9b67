"""Extraction at 1280x720 against its own kernels: what streaming, records, checkpoints and the grid of the clouds cost beside them."""

import struct
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from lamm_pipeline.extraction import stereo
from lamm_pipeline.extraction.extract import extract_frames
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.geometry.camera import StereoCalibration
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.color import yuv_to_bgr
from lamm_pipeline.recordings.svo2_format import VIDEO_SUFFIX
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.benchmarks.harness import Means, Row, emptied, rates, take_turns
from lamm_pipeline_tests.benchmarks.recordings import recording

WORKERS = 2
CLOUD_STEP = (5, 3)  # rows and columns; leaves about as many points as the stage's grid of angles


def run(means: Means) -> list[Row]:
    width, height, frames, rounds = (320, 180, 4, 1) if means.tiny else (1280, 720, 40, 7)
    path = recording(means.cache, width, height, frames)
    packets, calibration = _contents(path)
    staged, bare = means.folder / "stage", means.folder / "kernels"

    def stage() -> None:
        draft = Draft.open(emptied(staged))
        with open_svo2(path) as reader:
            extract_frames(
                reader,
                calibration,
                FrameSettings(),
                draft,
                recording="street",
                svo2_file=path.name,
                svo2_hash="",
                lineage={},
                workers=WORKERS,
            )
        draft.finish()

    took = take_turns({"stage": stage, "kernels": lambda: run_kernels(packets, calibration, emptied(bare))}, rounds)
    _assert_same_pixels(staged, bare, frames)
    points = [sum(path.stat().st_size for path in folder.glob("velodyne/*.bin")) / 16 / frames for folder in (staged, bare)]
    return [
        *rates(
            frames, took["stage"], took["kernels"], at_least=0.9, note="reference: its kernels alone, one frame a thread on two threads"
        ),
        Row("points in a cloud", points[0], points[1], note="reference: every 5th row and 3rd column"),
    ]


def run_kernels(packets: Iterable[bytes], calibration: StereoCalibration, folder: Path) -> None:
    """Decode, colour, remap, SGBM 3WAY on grey, two PNG, npy and a thinned cloud, by hand."""
    for name in ("image_left", "image_right", "depth", "velodyne"):
        (folder / name).mkdir(parents=True)
    rectifier, local, waiting = Rectifier(calibration), threading.local(), threading.BoundedSemaphore(2 * WORKERS)
    camera, disparities = rectifier.camera, stereo.disparity_range(rectifier.camera, FrameSettings().stereo)

    def work(number: int, picture: VideoFrame) -> None:
        y, u, v = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in picture.planes
        )
        both = yuv_to_bgr(y, u, v)
        left, right = rectifier.rectify(both[:, : camera.width], both[:, camera.width :])
        grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (left, right)]
        padded = [cv2.copyMakeBorder(image, 0, 0, disparities, 0, cv2.BORDER_REPLICATE) for image in grey]
        if not hasattr(local, "matcher"):
            local.matcher = _matcher(disparities)
        disparity = local.matcher.compute(*padded)[:, disparities:].astype(np.float32) / np.float32(stereo.SUBPIXELS)
        disparity[(disparity <= 0) | (disparity > np.arange(camera.width, dtype=np.float32))] = np.nan
        depth = np.float32(camera.fx * camera.baseline_m) / disparity
        depth[~((depth >= 0.3) & (depth <= 100.0))] = np.nan
        np.save(folder / "depth" / f"{number:06d}.npy", depth)
        cv2.imwrite(str(folder / "image_left" / f"{number:06d}.png"), left)
        cv2.imwrite(str(folder / "image_right" / f"{number:06d}.png"), right)
        v, u = np.mgrid[0 : camera.height : CLOUD_STEP[0], 0 : camera.width : CLOUD_STEP[1]]
        z = depth[v, u]
        cloud = [z, -(u - camera.cx) * z / camera.fx, -(v - camera.cy) * z / camera.fy, left[v, u, 2] / 255.0]
        np.stack(cloud, axis=-1)[np.isfinite(z)].astype(np.float32).tofile(folder / "velodyne" / f"{number:06d}.bin")

    futures: list[Future[None]] = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, picture in enumerate(_decoded(packets)):
            waiting.acquire()
            futures.append(pool.submit(work, number, picture))
            futures[-1].add_done_callback(lambda _: waiting.release())
    cv2.setNumThreads(threads)
    for future in futures:
        future.result()


def _decoded(packets: Iterable[bytes]) -> Iterator[VideoFrame]:
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_type = "FRAME"
    for number, data in enumerate(packets):
        packet: Packet[Any] = Packet(data)
        packet.pts = number
        yield from decoder.decode(packet)
    yield from decoder.decode(None)
    decoder.flush_buffers()  # freed while its threads still work, it would wait for ever


def _matcher(disparities: int) -> Any:
    return cv2.StereoSGBM_create(  # type: ignore[attr-defined, unused-ignore]
        minDisparity=0,
        numDisparities=disparities,
        blockSize=stereo.BLOCK_SIZE,
        P1=stereo.SMOOTHNESS_SMALL,
        P2=stereo.SMOOTHNESS_LARGE,
        disp12MaxDiff=stereo.LEFT_RIGHT_TOLERANCE,
        preFilterCap=stereo.PREFILTER_CAP,
        uniquenessRatio=stereo.UNIQUENESS_PERCENT,
        speckleWindowSize=100,
        speckleRange=stereo.SPECKLE_RANGE,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )


def _contents(path: Path) -> tuple[list[bytes], StereoCalibration]:
    """The video packets and the calibration."""
    with open_svo2(path) as reader:
        info = reader.info
        topics = [topic for topic in reader.index.topics.values() if topic.endswith(VIDEO_SUFFIX)]
        messages = [message.data for message in reader.raw_messages(topics)]
    calibration = find_calibration(path, info.serial, info.width, info.height, explicit=None, folder=None)
    assert calibration is not None
    return [data[8 : 8 + struct.unpack_from("<I", data, 4)[0]] for data in messages], calibration


def _assert_same_pixels(staged: Path, bare: Path, frames: int) -> None:
    """Both ways make the same images and the same depth; otherwise their times could not be compared."""
    for number in range(frames):
        for name in (f"image_left/{number:06d}.png", f"image_right/{number:06d}.png", f"depth/{number:06d}.npy"):
            assert (staged / name).read_bytes() == (bare / name).read_bytes(), name
