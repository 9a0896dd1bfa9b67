"""Masklets of optical flow on real video, against linking the same boxes by their overlap."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from lamm_pipeline.evaluation.track_metrics import TrackFrame, hota, identity
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.masklets.flow_propagator import FlowPropagator
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.settings import MaskletSettings
from lamm_pipeline.tracking.masklets.track_masklets import MIN_SUPPORT, track_masklets

Boxes = dict[int, list[tuple[int, tuple[float, float, float, float]]]]
LINK_IOU = 0.3
AGES = (1, 3, 10, 30)
PETS = "mot15/PETS09-S2L1"


class Clip:
    """Images in memory, as they were compressed."""

    def __init__(self, images):
        self._images = images
        height, width = self.image(0).shape[:2]
        self.size = (width, height)

    def __len__(self):
        return len(self._images)

    def image(self, index):
        return cv2.imdecode(self._images[index], cv2.IMREAD_COLOR)

    def depth(self, index):  # noqa: ARG002 - a Video has it
        return None


def mot(path: Path) -> Boxes:
    """Boxes of a MOT file, whose frames count from 1."""
    found: Boxes = {}
    for frame, key, x, y, width, height, counts, *_ in np.loadtxt(path, delimiter=","):
        if counts:
            found.setdefault(int(frame) - 1, []).append((int(key), (x, y, x + width, y + height)))
    return found


def linked(boxes: Boxes, frames: int, max_age: int) -> Boxes:
    """Each box goes to the track it overlaps most, one to one; a track ends after `max_age` frames without; short ones are left out."""
    last: dict[int, tuple[int, tuple[float, ...]]] = {}
    found: Boxes = {}
    count = 0
    for frame in range(frames):
        shown = [box for _, box in boxes.get(frame, [])]
        keys = [key for key, (seen, _) in last.items() if frame - seen <= max_age]
        overlap = iou_matrix(np.array([last[key][1] for key in keys]).reshape(-1, 4), np.array(shown).reshape(-1, 4))
        overlap[overlap <= LINK_IOU] = 0.0
        owner = {c: keys[r] for r, c in zip(*linear_sum_assignment(overlap, maximize=True), strict=True) if overlap[r, c]}
        for n, box in enumerate(shown):
            if n not in owner:
                count += 1
                owner[n] = count
            last[owner[n]] = (frame, box)
            found.setdefault(frame, []).append((owner[n], box))
    lengths = np.bincount([key for each in found.values() for key, _ in each])
    return {frame: [(key, box) for key, box in each if lengths[key] >= MIN_SUPPORT] for frame, each in found.items()}


def masklets_of(folder: Path, clip: Clip, boxes: Boxes) -> Boxes:
    names = [VideoFrame(f"clip:{n:06d}", n, n * 100_000_000, f"{n:06d}.png") for n in range(len(clip))]

    def candidates() -> Iterator[FrameCandidates]:
        for n, name in enumerate(names):
            shown = (
                MaskCandidate(f"{name.frame_id}:{k}", None, None, None, box, None, 0, "external")
                for k, (_, box) in enumerate(boxes.get(n, []))
            )
            yield FrameCandidates(name.frame_id, n, n, tuple(shown))

    settings = MaskletSettings(render_previews=False)
    track_masklets({1: candidates}, clip, names, FlowPropagator(), settings, Draft.open(folder), recording="clip")
    found: Boxes = {}
    for row in masklet_table.read(folder / masklet_table.FILE_NAME):
        found.setdefault(row.frame_index, []).append((row.masklet_id, row.box_xyxy))
    return found


def scores(truth: Boxes, found: Boxes) -> tuple[float, float]:
    """IDF1 and HOTA over the frames that have truth."""
    true_ids: dict[int, int] = {}
    found_ids: dict[int, int] = {}
    frames = [
        TrackFrame(
            np.array([true_ids.setdefault(key, len(true_ids)) for key, _ in truth[frame]], np.int64),
            np.array([found_ids.setdefault(key, len(found_ids)) for key, _ in found.get(frame, [])], np.int64),
            iou_matrix(
                np.array([box for _, box in truth[frame]]).reshape(-1, 4), np.array([box for _, box in found.get(frame, [])]).reshape(-1, 4)
            ),
        )
        for frame in sorted(truth)
    ]
    return identity(frames).idf1, hota(frames).hota


@pytest.mark.requirement("VOS-08")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masklets_keep_identities_better_than_linking_boxes_on_a_street(tmp_path: Path, shared_data: Path, seed: int) -> None:
    """The candidates are KITTI's true boxes, known in every second frame, of which a third is missing and all are a little off.

    They are the colour camera's, a few pixels beside the objects in these grey images; truth and candidates share that.
    """
    folder = shared_data / "kitti_raw_0039_stereo"
    images = sorted((folder / "image_0").glob("*.png"))
    first = int(images[0].stem)
    rows = kitti_labels.read_tracking(folder / "tracks.txt")
    truth = {
        frame - first: [
            (item.track_id, item.box_xyxy) for item in items if item.type != kitti_labels.DONT_CARE and item.track_id is not None
        ]
        for frame, items in rows.items()
    }
    random = np.random.default_rng(seed)
    shown: Boxes = {}
    for frame, each in truth.items():
        for key, box in each:
            if random.random() > 1 / 3:
                size = min(box[2] - box[0], box[3] - box[1])
                x1, y1, x2, y2 = np.array(box) + random.normal(0.0, 0.05 * size, 4)
                shown.setdefault(frame, []).append((key, (x1, y1, x2, y2)))
    clip = Clip([np.fromfile(path, np.uint8) for path in images])
    found = scores(truth, masklets_of(tmp_path, clip, shown))
    plain = [scores(truth, linked(shown, len(images), age)) for age in AGES]
    assert found[0] > max(idf1 for idf1, _ in plain)
    assert found[1] > max(score for _, score in plain)


@pytest.mark.stress
@pytest.mark.requirement("VOS-08")
def test_masklets_keep_identities_better_than_linking_boxes_among_pedestrians(tmp_path: Path, shared_data: Path) -> None:
    truth_file = shared_data / PETS / "gt.txt"
    if not truth_file.is_file():
        pytest.skip(f"the ground truth of PETS09-S2L1 is not among the real recordings ({truth_file})")
    capture = cv2.VideoCapture(str(shared_data / "vtest" / "vtest.avi"))
    images = []
    while (read := capture.read())[0]:
        images.append(cv2.imencode(".png", read[1])[1])
    truth, shown = mot(truth_file), mot(shared_data / PETS / "det.txt")
    found = scores(truth, masklets_of(tmp_path, Clip(images), shown))
    plain = [scores(truth, linked(shown, len(images), age)) for age in AGES]
    assert found[0] > max(idf1 for idf1, _ in plain)
    assert found[1] > max(score for _, score in plain)
