"""The detection stage against bare inference and mask kernels: what tiling, merging, refusing and records cost beside them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.extract import extract_frames
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.depth_masks import box_mask, object_depth
from lamm_pipeline.segmentation.detections import Detection
from lamm_pipeline.segmentation.detector import INPUT_SIDE, MODEL_FILE
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.segment_frames import segment_frames
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.segmentation.tiles import tile_layout
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.benchmarks.harness import Means, Row, emptied, rates, take_turns
from lamm_pipeline_tests.benchmarks.recordings import recording

WORKERS = 2
ONTOLOGY = load_ontology()
SETTINGS = SegmentationSettings.model_validate({})


def run(means: Means) -> list[Row]:
    width, height, frames, rounds = (320, 180, 4, 1) if means.tiny else (1280, 720, 24, 9)
    folder, registry = _frames(means, recording(means.cache, width, height, frames))
    target = means.folder / "stage"

    def stage() -> None:
        draft = Draft.open(emptied(target))
        segment_frames(registry, folder, DetectorSegmenter(SETTINGS, ONTOLOGY), ONTOLOGY, SETTINGS, draft, workers=WORKERS)
        draft.finish()

    stage()
    found = {frame.frame_id: frame.detections for frame in detections.read(target / detections.FILE_NAME)}
    took = take_turns({"stage": stage, "kernels": lambda: run_kernels(registry, folder, found)}, rounds)
    looks = len(tile_layout(width, height, SETTINGS.tiles))
    note = f"reference: files, {looks} inferences, ground plane and masks of what was found"
    return [
        *rates(frames, took["stage"], took["kernels"], at_least=0.85, note=note),
        Row("detections a frame", sum(map(len, found.values())) / frames),
    ]


def run_kernels(registry: FrameRegistry, folder: Path, found: dict[str, tuple[Detection, ...]]) -> None:
    """Read image and depth, run the network on every tile, fit the ground, make and encode the mask of each published detection."""
    weights, local, camera = (
        resources.files(detections.__package__).joinpath("models", MODEL_FILE).read_bytes(),
        threading.local(),
        registry.camera,
    )
    assert camera is not None

    def work(frame: FrameRecord) -> None:
        image = np.asarray(cv2.imread(str(folder / str(frame.image_left))), np.uint8)
        depth = np.load(folder / str(frame.depth))
        height, width = image.shape[:2]
        if not hasattr(local, "network"):
            local.network = Interpreter(model_content=weights, num_threads=1)
            local.network.allocate_tensors()
        for tile in tile_layout(width, height, SETTINGS.tiles):
            _infer(local.network, image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width])
        ground = fit_ground_plane(depth, camera)
        for one in found[frame.frame_id]:
            box = np.array(one.box_xyxy)
            measured = object_depth(box, depth, camera, ground, ONTOLOGY.by_id(one.class_id).size_prior)
            rle.encode((box_mask(box, width, height) if measured is None else measured.mask).full(width, height))

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, registry.selected_frames))
    cv2.setNumThreads(threads)


def _infer(network: Any, pixels: NDArray[np.uint8]) -> None:
    small = cv2.resize(pixels, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_AREA)
    network.set_tensor(network.get_input_details()[0]["index"], (cv2.cvtColor(small, cv2.COLOR_BGR2RGB) / np.float32(127.5) - 1.0)[None])
    network.invoke()
    for output in network.get_output_details():
        network.get_tensor(output["index"])


def _frames(means: Means, path: Path) -> tuple[Path, FrameRegistry]:
    folder = means.folder / "frames"
    with open_svo2(path) as reader:
        info = reader.info
        calibration = find_calibration(path, info.serial, info.width, info.height, explicit=None, folder=None)
        settings, draft = FrameSettings(), Draft.open(folder)
        extract_frames(reader, calibration, settings, draft, recording="street", svo2_file=path.name, svo2_hash="", lineage={})
    return folder, frame_registry.read(folder / frame_registry.FILE_NAME)
