import gc
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.sam2_model import load_model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.tracking.masklets import sam2_propagator
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt, Session
from lamm_pipeline.tracking.masklets.sam2_features import normalised
from lamm_pipeline.tracking.masklets.sam2_propagator import Sam2Propagator
from lamm_pipeline_tests.sam.conftest import IMAGE_SIZE
from lamm_pipeline_tests.sam.panned_video import HEIGHT, WIDTH, Panned, disc

pytestmark = [
    pytest.mark.sam,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:(?s).*post-processing step:UserWarning"),
]
FIRST, END = 3, 12
LOOK_BACK = 7
Pass = list[tuple[int, Mapping[int, Mask]]]


@pytest.fixture(scope="module")
def propagator(weights_folder: Path) -> Sam2Propagator:
    return Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", IMAGE_SIZE)


def box(*corners: int) -> Prompt:
    return Prompt(box_xyxy=np.array(corners, dtype=np.int64))


PROMPTS = {7: Prompt(mask=disc(40, 40, 20)), 1_000_003: box(60, 30, 110, 80)}


def everything(session: Session, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False, limit: int | None = None) -> Pass:
    return list(session.propagate(start, prompts, reverse=reverse, limit=limit))


def one_pass(propagator: Sam2Propagator, video: Panned, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False) -> Pass:
    with propagator.session(video, FIRST, END) as session:
        return everything(session, start, prompts, reverse=reverse)


def assert_equal(one: Pass, other: Pass) -> None:
    assert [frame for frame, _ in one] == [frame for frame, _ in other]
    for (frame, left), (_, right) in zip(one, other, strict=True):
        assert set(left) == set(right), frame
        for key, mask in left.items():
            assert mask.dtype == np.bool_
            assert mask.shape == (HEIGHT, WIDTH)
            np.testing.assert_array_equal(mask, right[key])


def jpeg_folder(folder: Path, video: Panned, frames: Iterable[int]) -> Path:
    """The form in which SAM2 takes videos. Its loader trusts the content more than the name, so that nothing has to be lost."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        image = video.image(frame)
        assert image is not None
        written, encoded = cv2.imencode(".png", image)
        assert written
        (folder / f"{number:05d}.jpg").write_bytes(encoded.tobytes())
    return folder


def by_hand(
    weights: Path,
    image_size: int,
    folder: Path,
    prompts: Mapping[int, Prompt],
    start: int,
    directions: Sequence[bool],
    *,
    unseen: int = -1,
    look_back: int = 16,
) -> Pass:
    """SAM2's own predictor, driven as its documentation shows: `init_state`, prompts, forward, backward. Numbers its frames from 0.

    What it makes of the frame `unseen` is taken out of its memory.
    """
    predictor = load_model(Variant.tiny, weights, image_size, video=True)
    predictor.max_obj_ptrs_in_encoder = look_back
    state = predictor.init_state(str(folder))
    for key, prompt in prompts.items():
        if prompt.mask is not None:
            predictor.add_new_mask(state, start, key, prompt.mask)
        else:
            predictor.add_new_points_or_box(state, start, key, box=prompt.box_xyxy)
    found: Pass = []
    for reverse in directions:
        for frame, keys, logits in predictor.propagate_in_video(state, start, reverse=reverse):
            masks = {key: (each[0] > 0.0).numpy() for key, each in zip(keys, logits, strict=True)}
            if frame == unseen:
                for outputs in state["output_dict_per_obj"].values():
                    del outputs["non_cond_frame_outputs"][frame]
                masks = {}
            found.append((FIRST + frame, {key: mask for key, mask in masks.items() if mask.any()}))
    return found


@pytest.mark.requirement("VOS-04", "VOS-07", "VOS-18")
@pytest.mark.parametrize("image_size", [IMAGE_SIZE, 256])
def test_a_window_of_a_recording_gives_what_sam2_gives_for_a_folder_of_its_frames(
    weights_folder: Path, tmp_path: Path, image_size: int
) -> None:
    video, end = Panned(), END if image_size == IMAGE_SIZE else FIRST + 4
    folder = jpeg_folder(tmp_path / "frames", video, range(FIRST, end))
    expected = by_hand(find_weights(Variant.tiny, str(weights_folder)), image_size, folder, PROMPTS, 2, [False, True])
    with Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", image_size).session(video, FIRST, end) as session:
        found = everything(session, FIRST + 2, PROMPTS) + everything(session, FIRST + 2, PROMPTS, reverse=True)
    assert_equal(found, expected)
    assert all(set(masks) == set(PROMPTS) for _, masks in found)
    assert len({mask.tobytes() for _, masks in found for mask in masks.values()}) > len(found)


@pytest.mark.parametrize("shape", [(90, 120), (31, 200), (256, 256), (1, 1)])
def test_a_frame_is_scaled_and_normalised_as_by_sam2s_loader(tmp_path: Path, shape: tuple[int, int]) -> None:
    from sam2.utils.misc import load_video_frames

    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    (tmp_path / "0.jpg").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    frames, height, width = load_video_frames(str(tmp_path), 64, offload_video_to_cpu=True, compute_device="cpu")
    assert (height, width) == shape
    np.testing.assert_array_equal(normalised(image, 64).numpy(), frames[0].numpy())


def test_the_state_has_the_entries_that_sam2_gives_it(propagator: Sam2Propagator, weights_folder: Path, tmp_path: Path) -> None:
    folder = jpeg_folder(tmp_path / "frames", Panned(), range(FIRST, END))
    predictor = load_model(Variant.tiny, find_weights(Variant.tiny, str(weights_folder)), IMAGE_SIZE, video=True)
    with propagator.session(Panned(), FIRST, END) as session:
        ours = session._state  # type: ignore[attr-defined]
        theirs = predictor.init_state(str(folder))
        assert {key: type(value) for key, value in ours.items() if key not in {"images", "cached_features"}} == {
            key: type(value) for key, value in theirs.items() if key not in {"images", "cached_features"}
        }
        assert ours["num_frames"] == theirs["num_frames"]


@pytest.mark.requirement("VOS-07")
def test_passes_go_to_the_ends_of_the_window_or_to_their_limit(propagator: Sam2Propagator) -> None:
    def frames(start: int, limit: int | None, *, reverse: bool) -> list[int]:
        return [frame for frame, _ in everything(session, start, prompts, reverse=reverse, limit=limit)]

    prompts = {1: box(30, 30, 60, 60)}
    with propagator.session(Panned(), FIRST, END) as session:
        assert frames(9, None, reverse=False) == [9, 10, 11]
        assert frames(5, None, reverse=True) == [5, 4, 3]
        assert frames(5, 2, reverse=False) == [5, 6, 7]
        assert frames(9, 2, reverse=True) == [9, 8, 7]
        assert frames(6, 0, reverse=False) == frames(6, 0, reverse=True) == [6]
        assert frames(FIRST, None, reverse=True) == [FIRST]
        assert frames(END - 1, None, reverse=False) == [END - 1]
        assert frames(10, 100, reverse=False) == [10, 11]


def test_a_window_of_one_frame_has_the_prompts_frame(propagator: Sam2Propagator) -> None:
    with propagator.session(Panned(1), 0, 1) as session:
        forward, backward = (everything(session, 0, PROMPTS, reverse=reverse) for reverse in (False, True))
    assert [frame for frame, _ in forward] == [0]
    assert set(forward[0][1]) == set(PROMPTS)
    assert_equal(forward, backward)


@pytest.mark.requirement("VOS-08")
def test_each_prompt_frame_begins_anew(propagator: Sam2Propagator) -> None:
    video = Panned()
    other = {3: Prompt(mask=disc(80, 50, 25))}
    with propagator.session(video, FIRST, END) as session:
        everything(session, 5, PROMPTS)
        assert_equal(everything(session, 7, other), one_pass(propagator, video, 7, other))
        assert_equal(everything(session, 7, PROMPTS, reverse=True), one_pass(propagator, video, 7, PROMPTS, reverse=True))
        again = {key: Prompt(prompt.mask, prompt.box_xyxy) for key, prompt in PROMPTS.items()}
        first, second = (everything(session, 7, prompts) for prompts in (PROMPTS, again))
        assert_equal(first, second)


def test_the_same_comes_out_of_another_propagator_of_the_same_weights(propagator: Sam2Propagator, weights_folder: Path) -> None:
    twin = Sam2Propagator(Variant.tiny, str(weights_folder / CHECKPOINTS[Variant.tiny].file), "cpu", IMAGE_SIZE)
    assert_equal(one_pass(propagator, Panned(), 8, PROMPTS), one_pass(twin, Panned(), 8, PROMPTS))
    assert twin.identity == propagator.identity


def test_an_object_that_the_model_does_not_see_any_more_is_left_out(weights_folder: Path, tmp_path: Path) -> None:
    import torch

    name = CHECKPOINTS[Variant.tiny].file
    state = torch.load(weights_folder / name)["model"]
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(-100.0)
    torch.save({"model": state}, tmp_path / name)
    blind = Sam2Propagator(Variant.tiny, str(tmp_path), "cpu", IMAGE_SIZE)
    found = one_pass(blind, Panned(), 8, {7: PROMPTS[7]})
    assert [(frame, set(masks)) for frame, masks in found] == [(8, {7}), (9, set()), (10, set()), (11, set())]


def test_a_mask_that_is_nothing_in_the_models_size_is_no_object(propagator: Sam2Propagator) -> None:
    speck = np.zeros((HEIGHT, WIDTH), np.bool_)
    speck[0, 0] = True
    found = one_pass(propagator, Panned(), 10, {1: Prompt(mask=speck), **PROMPTS})
    assert [frame for frame, _ in found] == [10, 11]
    assert set(found[0][1]) == set(PROMPTS)


def test_frames_without_an_image_have_no_masks_and_leave_no_memory(
    propagator: Sam2Propagator, weights_folder: Path, tmp_path: Path
) -> None:
    whole, missing = Panned(), Panned(missing={7})
    folder = jpeg_folder(tmp_path / "frames", whole, range(FIRST, END))
    weights = find_weights(Variant.tiny, str(weights_folder))
    expected = by_hand(weights, IMAGE_SIZE, folder, PROMPTS, 2, [False], unseen=7 - FIRST)
    found = one_pass(propagator, missing, 5, PROMPTS)
    assert_equal(found, expected)
    assert dict(found)[7] == {}
    assert set(dict(found)[8]) == set(PROMPTS)


def test_prompts_in_a_frame_without_an_image_find_nothing(propagator: Sam2Propagator) -> None:
    assert one_pass(propagator, Panned(missing={5}), 5, PROMPTS) == [(5, {})]


@pytest.mark.requirement("VOS-08")
def test_features_are_kept_within_their_budget_and_do_not_change_the_result(weights_folder: Path) -> None:
    def run(feature_bytes: int) -> tuple[Pass, int]:
        video, found = Panned(), []
        propagator = Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", IMAGE_SIZE, feature_bytes)
        with propagator.session(video, FIRST, END) as session:
            for start in (6, 7):
                for reverse in (False, True):
                    found += everything(session, start, {start: PROMPTS[7]}, reverse=reverse)
        return found, sum(video.reads.values())

    frame_bytes = 4 * (32 * 16 * 16 + 64 * 8 * 8 + 256 * 4 * 4)
    frames = END - FIRST
    all_kept, reads = run(frames * frame_bytes)
    assert reads == frames
    four_kept, reads_with_four = run(4 * frame_bytes)
    none_kept, reads_with_none = run(0)
    assert reads_with_none >= 2 * frames
    assert frames < reads_with_four < reads_with_none
    assert_equal(all_kept, four_kept)
    assert_equal(all_kept, none_kept)


def test_memories_that_do_not_fit_beside_the_model_are_put_aside_without_changing_the_result(
    propagator: Sam2Propagator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = one_pass(propagator, Panned(), 8, PROMPTS)
    monkeypatch.setattr(sam2_propagator, "_free_share", lambda _: 0)
    assert_equal(one_pass(propagator, Panned(), 8, PROMPTS), expected)


@pytest.fixture
def forgetful(weights_folder: Path) -> Sam2Propagator:
    """Looks back 7 frames instead of 16, so that few frames show what is forgotten."""
    propagator = Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", IMAGE_SIZE, feature_bytes=0)
    with propagator.session(Panned(), FIRST, END):
        propagator._predictor.max_obj_ptrs_in_encoder = LOOK_BACK
    return propagator


@pytest.mark.parametrize("start", [FIRST + 1, FIRST + 16])
def test_what_is_forgotten_is_not_looked_at_again(forgetful: Sam2Propagator, weights_folder: Path, tmp_path: Path, start: int) -> None:
    video, end, prompts = Panned(30), FIRST + 18, {7: PROMPTS[7]}
    folder = jpeg_folder(tmp_path / "frames", video, range(FIRST, end))
    weights = find_weights(Variant.tiny, str(weights_folder))
    expected = by_hand(weights, IMAGE_SIZE, folder, prompts, start - FIRST, [False, True], look_back=LOOK_BACK)
    with forgetful.session(video, FIRST, end) as session:
        assert_equal(everything(session, start, prompts) + everything(session, start, prompts, reverse=True), expected)


@pytest.mark.requirement("NFR-11")
def test_what_a_window_holds_in_memory_stops_growing(forgetful: Sam2Propagator) -> None:
    video, prompts = Panned(20), {1: PROMPTS[7]}
    with forgetful.session(video, 0, 20) as session:
        forward = [tensor_bytes() for frame, _ in session.propagate(0, prompts) if frame in {4, 16, 19}]
        backward = [tensor_bytes() for frame, _ in session.propagate(19, prompts, reverse=True) if frame in {15, 3, 0}]
    assert forward[0] < forward[1] == forward[2]
    assert backward[0] < backward[1] == backward[2]
    assert tensor_bytes() < forward[0]


def tensor_bytes() -> int:
    """Of all tensors in the process that Python knows of, each storage once."""
    import torch

    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some objects warn when their class is asked for
        tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())


@pytest.mark.requirement("SEG-08")
@pytest.mark.parametrize("method", ["forward_image", "add_new_mask", "_encode_new_memory"])
def test_a_gpu_with_too_little_memory_is_said_with_what_to_change(
    weights_folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    import torch

    def no_memory(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    small = Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", IMAGE_SIZE)
    with small.session(Panned(), FIRST, END) as session:
        monkeypatch.setattr(small._predictor, method, no_memory)
        with pytest.raises(
            InputError, match="'tiny' to follow 2 objects through a window of 9 frames; choose a shorter `window` or a smal"
        ):
            everything(session, 5, PROMPTS)


def test_the_identity_names_model_weights_and_numbers_but_not_what_the_memory_allows(weights_folder: Path) -> None:
    identity = Sam2Propagator(Variant.tiny, str(weights_folder), "cpu").identity
    assert identity["model"] == "sam2.1_hiera_tiny"
    assert len(identity["weights_sha256"]) == 64
    assert (identity["dtype"], identity["image_size"], identity["mask_threshold"]) == ("float32", 1024, 0.0)
    assert json.loads(json.dumps(identity)) == identity
    assert Sam2Propagator(Variant.tiny, str(weights_folder), "cpu", feature_bytes=1).identity == identity


def test_weights_of_another_variant_are_refused_when_the_first_window_is_opened(weights_folder: Path) -> None:
    tiny = str(find_weights(Variant.tiny, str(weights_folder)))
    with (
        pytest.raises(InputError, match=r"are not those of the variant 'small', whose file is sam2\.1_hiera_small\.pt"),
        Sam2Propagator(Variant.small, tiny, "cpu", IMAGE_SIZE).session(Panned(), FIRST, END),
    ):
        pass


def test_no_progress_bar_is_drawn_over_the_stages(propagator: Sam2Propagator, capfd: pytest.CaptureFixture[str]) -> None:
    one_pass(propagator, Panned(), 10, PROMPTS)
    assert capfd.readouterr().err == ""
