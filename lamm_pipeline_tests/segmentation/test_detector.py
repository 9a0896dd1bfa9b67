from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation import detector
from lamm_pipeline.segmentation.detector import LabelledBoxes, SsdDetector, anchors, decode_boxes

ALL_LABELS = np.arange(1, 24)


@pytest.fixture(scope="module")
def network() -> SsdDetector:
    return SsdDetector()


def bgr(image_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image_rgb[:, :, ::-1])


def best(network: SsdDetector, found: LabelledBoxes) -> tuple[str, float]:
    return network.labels[found.labels[0]], float(found.scores[0])


def test_anchors_are_those_the_network_was_trained_with() -> None:
    table = anchors()
    assert table.shape == (1917, 4)
    # First cell of the first layer: a square of a tenth, then 2:1 and 1:2 of scale 0.2.
    np.testing.assert_allclose(table[:3, :2], 0.5 / 19)
    np.testing.assert_allclose(table[:3, 2:], [[0.1, 0.1], [0.2 * 2**0.5, 0.2 / 2**0.5], [0.2 / 2**0.5, 0.2 * 2**0.5]])
    # The last layer has one cell; its interpolated anchor lies between 0.95 and 1.
    np.testing.assert_allclose(table[-6], [0.5, 0.5, 0.95, 0.95])
    np.testing.assert_allclose(table[-1], [0.5, 0.5, 0.95**0.5, 0.95**0.5])


def test_offsets_of_zero_give_the_anchor_and_others_move_and_scale_it() -> None:
    anchor = np.array([[0.5, 0.5, 0.2, 0.4]])
    np.testing.assert_allclose(decode_boxes(np.zeros((1, 4)), anchor), [[0.4, 0.3, 0.6, 0.7]])
    moved = decode_boxes(np.array([[1.0, -1.0, 0.0, 5.0 * np.log(2.0)]]), anchor)
    np.testing.assert_allclose(moved, [[0.48 - 0.2, 0.54 - 0.2, 0.48 + 0.2, 0.54 + 0.2]])


@pytest.mark.requirement("SEG-01", "SEG-03", "SEG-04")
def test_photographs_are_recognised(network: SsdDetector) -> None:
    label, score = best(network, network.detect(bgr(data.astronaut()), 0.3, 0.5, ALL_LABELS))
    assert label == "Person"
    assert score > 0.55
    found = network.detect(bgr(data.chelsea()), 0.3, 0.5, ALL_LABELS)
    assert best(network, found)[0] == "Cat"
    assert best(network, found)[1] > 0.8
    assert (np.abs(found.boxes_xyxy[0] - [0, 0, 425, 300]) < 30).all()


def test_only_the_wanted_labels_are_reported(network: SsdDetector) -> None:
    person = network.labels.index("Person")
    found = network.detect(bgr(data.astronaut()), 0.01, 0.5, np.array([person]))
    assert len(found.scores) > 0
    assert set(found.labels.tolist()) == {person}


def test_threads_and_repetitions_give_the_same_numbers(network: SsdDetector) -> None:
    images = [bgr(data.astronaut()), bgr(data.chelsea())] * 4

    def detect(image: NDArray[np.uint8]) -> bytes:
        return network.detect(image, 0.1, 0.5, ALL_LABELS).boxes_xyxy.tobytes()

    alone = [detect(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(detect, images)) == alone


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "MODEL_FILE", detector.LABELS_FILE)
    with pytest.raises(InputError, match="are damaged"):
        SsdDetector()


def test_licence_and_origin_lie_beside_the_weights() -> None:
    models = Path(detector.__file__).parent / "models"
    assert "Apache License" in (models / "LICENSE").read_text()
    notice = (models / "NOTICE").read_text()
    assert detector.MODEL_SHA256 in notice
    assert detector.MODEL_FILE in notice
