import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation.depth_masks import MaskCrop, box_mask, central_distance, object_depth, pixel_box
from lamm_pipeline_tests.segmentation.scenes import CAMERA, ground_depth, stand

PERSON = load_ontology().by_id("person").size_prior
CAR = load_ontology().by_id("car").size_prior


def person_scene(wall: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """A person 8 m away, feet on the ground (row 170 + 500 * 1.5 / 8 = 264), a wall behind, and the truth of its pixels."""
    depth = ground_depth()
    stand(depth, (0, 0, 640, 360), wall)
    truth = np.zeros(depth.shape, dtype=bool)
    truth[158:264, 300:330] = True
    depth[truth] = 8.0
    return depth, truth


@pytest.mark.requirement("SEG-03")
def test_the_mask_is_the_person_not_the_wall_nor_the_ground_in_the_loose_box() -> None:
    depth, truth = person_scene()
    found = object_depth(np.array([285.0, 150.0, 345.0, 268.0]), depth, CAMERA, fit_ground_plane(depth, CAMERA), PERSON)
    assert found is not None
    mask = found.mask.full(640, 360)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert found.depth_m == pytest.approx(8.0, abs=0.05)
    assert found.bottom_m == pytest.approx(0.0, abs=0.1)


def test_unknown_depth_inside_the_silhouette_is_filled_and_around_it_is_not() -> None:
    depth, truth = person_scene()
    depth[190:215, 308:322] = np.nan
    depth[150:268, 335:345] = np.nan
    found = object_depth(np.array([285.0, 150.0, 345.0, 268.0]), depth, CAMERA, fit_ground_plane(depth, CAMERA), PERSON)
    assert found is not None
    mask = found.mask.full(640, 360)
    assert mask[190:215, 308:322].all()
    assert not mask[:, 335:].any()
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_an_object_before_a_nearer_pole_keeps_its_own_depth() -> None:
    depth, _ = person_scene()
    depth[150:300, 310:314] = 4.0
    found = object_depth(np.array([285.0, 150.0, 345.0, 268.0]), depth, CAMERA, fit_ground_plane(depth, CAMERA), PERSON)
    assert found is not None
    assert found.depth_m == pytest.approx(8.0, abs=0.05)
    assert not found.mask.full(640, 360)[:, 310:314].any()


def test_a_long_car_keeps_its_far_end_and_a_person_does_not() -> None:
    depth = ground_depth()
    slanted = np.linspace(3.0, 5.5, 200, dtype=np.float32)
    depth[150:240, 220:420] = slanted
    box = np.array([218.0, 148.0, 422.0, 242.0])
    as_car, as_person = (object_depth(box, depth, CAMERA, None, prior) for prior in (CAR, PERSON))
    assert as_car is not None
    assert as_person is not None
    assert as_car.mask.pixels.sum() > 0.97 * 90 * 200
    assert as_person.mask.pixels.sum() < 0.75 * 90 * 200


def test_where_the_right_eye_sees_nothing_the_box_decides_down_to_the_ground() -> None:
    # At 4 m the leftmost 15 columns of the left image (500 px * 0.12 m / 4 m) are not in the right one.
    depth = stand(ground_depth(), (0, 120, 60, 357), 4.0)
    ground = fit_ground_plane(ground_depth(), CAMERA)
    depth[:, :15] = np.nan
    found = object_depth(np.array([0.0, 115.0, 62.0, 360.0]), depth, CAMERA, ground, PERSON)
    assert found is not None
    mask = found.mask.full(640, 360)
    assert mask[125:350, :60].mean() > 0.98
    assert not mask[:, 62:].any()
    assert not mask[359, :15].any()
    # The same gap away from the border is unknown for other reasons, and stays out of the mask.
    depth = stand(ground_depth(), (300, 120, 360, 357), 4.0)
    depth[:, 300:315] = np.nan
    found = object_depth(np.array([300.0, 115.0, 362.0, 360.0]), depth, CAMERA, ground, PERSON)
    assert found is not None
    assert not found.mask.full(640, 360)[:, 300:310].any()


def test_too_little_known_depth_gives_no_mask() -> None:
    depth = np.full((CAMERA.height, CAMERA.width), np.nan, dtype=np.float32)
    depth[100:105, 100:105] = 5.0
    assert object_depth(np.array([90.0, 90.0, 150.0, 150.0]), depth, CAMERA, None, CAR) is None


@given(
    st.tuples(st.floats(0, 600), st.floats(0, 340), st.floats(2, 300), st.floats(2, 300)),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_masks_of_people_leave_their_box_only_sideways_up_to_their_size_and_those_of_cars_never(
    corner_and_size: tuple[float, float, float, float], seed: int
) -> None:
    x, y, width, height = corner_and_size
    box = np.array([x, y, min(x + width, 640.0), min(y + height, 360.0)])
    depth = np.random.default_rng(seed).uniform(3.0, 6.0, (360, 640)).astype(np.float32)
    x1, y1, x2, y2 = pixel_box(box, 640, 360)
    masks = [(box_mask(box, 640, 360), 0.0)]
    for prior, widest in ((CAR, 0.0), (PERSON, 0.8)):
        found = object_depth(box, depth, CAMERA, None, prior)
        if found is not None:
            masks.append((found.mask, max(widest * CAMERA.fx / found.depth_m - (x2 - x1) + 1.0, 0.0)))
    for mask, reach in masks:
        rows, columns = np.nonzero(mask.full(640, 360))
        assert len(rows) > 0
        assert x1 - reach <= columns.min() <= columns.max() < x2 + reach
        assert y1 <= rows.min() <= rows.max() < y2


def test_a_mask_goes_on_beyond_a_box_that_cuts_its_object_but_not_to_what_is_nearer_or_farther() -> None:
    depth, truth = person_scene()
    depth[158:264, 330:340] = 7.0
    found = object_depth(np.array([304.0, 150.0, 322.0, 268.0]), depth, CAMERA, fit_ground_plane(depth, CAMERA), PERSON)
    assert found is not None
    mask = found.mask.full(640, 360)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    assert not mask[:, 331:].any()


def test_a_mask_does_not_go_on_along_a_wall_beyond_the_size_of_its_class() -> None:
    depth, _ = person_scene(wall=8.0)
    found = object_depth(np.array([304.0, 150.0, 322.0, 268.0]), depth, CAMERA, fit_ground_plane(depth, CAMERA), PERSON)
    assert found is not None
    columns = np.flatnonzero(found.mask.full(640, 360).any(axis=0))
    # 0.8 m at 8 m are 50 px, 32 more than the box.
    assert columns.min() >= 304 - 32
    assert columns.max() < 322 + 32


@pytest.mark.requirement("REC-07")
def test_distance_is_the_median_depth_of_the_central_tenth_of_the_mask() -> None:
    depth = np.full((100, 100), 20.0, dtype=np.float32)
    depth[40:60, 40:60] = 7.0
    depth[50, 50] = 90.0
    mask = MaskCrop(20, 20, np.ones((60, 60), dtype=bool))
    # A tenth of 3600 pixels is a circle of radius 10.7 that lies nearly in the 20 x 20 pixels of 7 m.
    assert central_distance(mask, depth) == 7.0


@pytest.mark.requirement("REC-07")
def test_distance_needs_ten_known_depths() -> None:
    mask = MaskCrop(0, 0, np.ones((20, 20), dtype=bool))
    depth = np.full((20, 20), np.nan, dtype=np.float32)
    depth[9:12, 9:12] = 5.0
    assert central_distance(mask, depth) is None
    depth[8, 9] = 5.0
    assert central_distance(mask, depth) == 5.0
    assert central_distance(MaskCrop(0, 0, np.zeros((3, 3), dtype=bool)), depth) is None
