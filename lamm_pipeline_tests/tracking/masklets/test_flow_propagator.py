"""Flow on rendered scenes whose motion is known."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from lamm_pipeline.geometry import packed_mask
from lamm_pipeline.tracking.masklets.flow_propagator import FlowPropagator
from lamm_pipeline.tracking.masklets.propagation import Prompt

WIDTH, HEIGHT = 320, 200


def texture(seed, shape):
    noise = np.random.default_rng(seed).integers(0, 255, (*shape, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.0)


@dataclass
class Scene:
    """A textured disc before a textured wall; optionally a nearer pillar in front. Depths are 10, 30 and 4 metres."""

    frames: int = 10
    step: tuple[float, float] = (4.0, 1.0)
    zoom: float = 1.0
    pillar: bool = False
    wall_step: float = 0.0
    with_depth: bool = False
    missing: frozenset[int] = frozenset()

    def __len__(self):
        return self.frames

    @property
    def size(self):
        return WIDTH, HEIGHT

    def truth(self, index):
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        x, y = 80 + index * self.step[0], 90 + index * self.step[1]
        whole = np.hypot(columns - x, rows - y) <= 30 * self.zoom**index
        return whole & ~self.hidden() if self.pillar else whole

    @staticmethod
    def hidden():
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[:, 150:185] = True
        return mask

    def image(self, index):
        if index in self.missing:
            return None
        wall = cv2.warpAffine(
            texture(1, (HEIGHT, WIDTH)),
            np.array([[1, 0, index * self.wall_step], [0, 1, 0.0]]),
            (WIDTH, HEIGHT),
            borderMode=cv2.BORDER_REFLECT,
        )
        scale = self.zoom**index
        x, y = 80 + index * self.step[0], 90 + index * self.step[1]
        motion = np.array([[scale, 0, x - 40 * scale], [0, scale, y - 40 * scale]])
        patch = cv2.warpAffine(texture(2, (80, 80)), motion, (WIDTH, HEIGHT))
        found = self.truth(index)
        wall[found] = patch[found]
        if self.pillar:
            wall[self.hidden()] = texture(3, (HEIGHT, WIDTH))[self.hidden()]
        return wall

    def depth(self, index):
        if not self.with_depth:
            return None
        depth = np.full((HEIGHT, WIDTH), 30.0, np.float32)
        depth[self.truth(index)] = 10.0
        if self.pillar:
            depth[self.hidden()] = 4.0
        depth[::7, ::5] = np.nan
        return depth


def propagate(scene, prompt=None, start=0, **how):
    with FlowPropagator().session(scene, 0, len(scene)) as session:
        found = dict(session.propagate(start, {7: prompt or Prompt(mask=scene.truth(start))}, **how))
    return {frame: masks.get(7) for frame, masks in found.items()}


@pytest.mark.requirement("VOS-07")
@pytest.mark.parametrize("wall_step", [0.0, -3.0])
def test_a_moving_disc_is_followed_also_by_a_moving_camera(wall_step):
    scene = Scene(wall_step=wall_step)
    found = propagate(scene)
    assert list(found) == list(range(10))
    assert all(packed_mask.iou(found[frame], scene.truth(frame)) > 0.9 for frame in found)


def test_an_approaching_disc_grows():
    scene = Scene(step=(1.0, 0.0), zoom=1.04)
    found = propagate(scene)
    assert found[9].sum() > 1.7 * found[0].sum()
    assert packed_mask.iou(found[9], scene.truth(9)) > 0.85


def test_it_works_backward_and_within_its_limit():
    scene = Scene()
    found = propagate(scene, start=9, reverse=True, limit=6)
    assert list(found) == [9, 8, 7, 6, 5, 4, 3]
    assert packed_mask.iou(found[3], scene.truth(3)) > 0.9


def test_a_box_is_followed_as_the_ellipse_in_it():
    scene = Scene()
    found = propagate(scene, Prompt(box_xyxy=np.array([50, 60, 111, 121])))
    assert packed_mask.iou(found[0], scene.truth(0)) > 0.95
    assert packed_mask.iou(found[9], scene.truth(9)) > 0.9


def test_depth_takes_away_what_is_hidden_by_something_nearer():
    scene = Scene(frames=18, step=(4.0, 0.0), pillar=True, with_depth=True)
    found = propagate(scene)
    behind = found[15]
    assert not (behind & scene.hidden())[np.isfinite(scene.depth(15))].any()
    flat = propagate(Scene(frames=18, step=(4.0, 0.0), pillar=True))
    assert (flat[15] & scene.hidden()).sum() > 200
    assert packed_mask.iou(behind, scene.truth(15)) > packed_mask.iou(flat[15], scene.truth(15))


def test_depth_takes_away_what_lies_behind_the_object():
    scene = Scene(with_depth=True)
    loose = scene.truth(0)
    loose = cv2.dilate(loose.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    found = propagate(scene, Prompt(mask=loose))
    assert packed_mask.iou(found[1], scene.truth(1)) > packed_mask.iou(loose, scene.truth(0)) + 0.1


def test_what_leaves_the_image_is_followed_to_its_border():
    scene = Scene(frames=12, step=(-8.0, 0.0))
    found = propagate(scene)
    assert 900 < scene.truth(11).sum() < 1000  # of 2821
    assert all(packed_mask.iou(found[frame], scene.truth(frame)) > 0.9 for frame in found)


def test_what_becomes_too_small_ends():
    scene = Scene(frames=3)
    crumb = np.zeros((HEIGHT, WIDTH), np.bool_)
    crumb[90:94, 80:85] = True
    assert propagate(scene, Prompt(mask=crumb))[1] is None


def test_masks_stand_still_where_a_frame_cannot_be_read_and_go_on_after_it():
    scene = Scene(missing=frozenset({3, 4}))
    found = propagate(scene)
    assert np.array_equal(found[3], found[2])
    assert np.array_equal(found[4], found[2])
    assert packed_mask.iou(found[5], scene.truth(5)) > 0.85
    assert propagate(Scene(missing=frozenset({0})))[0].any()


def test_the_result_does_not_depend_on_the_number_of_threads():
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            results.append(propagate(Scene(frames=4)))
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(results[0][frame], results[1][frame]) for frame in range(4))


def test_an_empty_prompt_ends_at_once():
    found = propagate(Scene(frames=3), Prompt(mask=np.zeros((HEIGHT, WIDTH), np.bool_)))
    assert [mask is None or not mask.any() for mask in found.values()] == [True, True]
