import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lamm_pipeline.errors import InputError
from lamm_pipeline.review import gifs
from lamm_pipeline.review.gif_settings import GifSettings
from lamm_pipeline.review.gifs import SequenceGifs, chosen, crop_xyxy, make_review_gifs, planned, shown_boxes
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.review.gif_blocks import read_gif
from lamm_pipeline_tests.review.gif_frames import FRAMES, images, sequence
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, registry

SHARE = st.floats(0, 1, allow_subnormal=False)
BOX = st.tuples(SHARE, SHARE, SHARE, SHARE).map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])))


def make(root: Path, sequences: list[SequenceAnnotation], name: str = "out", **settings: Any) -> tuple[dict[str, Any], Path]:
    listed = registry(FRAMES) if (root / "frames").exists() else images(root / "frames")
    draft = Draft.open(root / name, root / f"{name}.book")
    return make_review_gifs(listed, (root / "frames").joinpath, sequences, GifSettings(**settings), draft), root / name


def shown(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(path) as gif:
        return [np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(gif)]


def one(folder: Path, number: int = 1) -> SequenceGifs:
    return gifs.read(folder / gifs.FILE_NAME)[f"drive:s{number:04d}"]


def file(folder: Path, name: str | None) -> Path:
    assert name is not None
    return folder / name


@pytest.mark.requirement("GIF-01", "GIF-03", "GIF-05", "GIF-09", "AV-12")
def test_the_main_gif_shows_whole_frames_with_a_green_box_of_three_pixels(tmp_path: Path) -> None:
    _, folder = make(tmp_path, [sequence(1)])
    gif = read_gif(file(folder, one(folder).main))
    assert (gif.signature, gif.loops, gif.width, gif.height) == (b"GIF89a", 0, WIDTH, HEIGHT)
    assert [each.delay_ms for each in gif.frames] == [500] * 8
    for index, picture in enumerate(shown(file(folder, one(folder).main))):
        green = (picture == gifs.GREEN_RGB).all(axis=-1)
        rows, columns = np.nonzero(green)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 41, 9 + index, 31 + index)
        assert green[30].sum() == 6, "two lines, three pixels each"
        assert not green[23:38, 13 + index : 28 + index].any(), "the object itself stays visible"


@pytest.mark.requirement("GIF-02", "AV-11")
def test_the_crop_gif_shows_the_mean_box_with_a_tenth_around_it_in_every_frame(tmp_path: Path) -> None:
    _, folder = make(tmp_path, [sequence(1, range(0, 8, 2))])  # the boxes' mean reaches from 13 to 33, of 20 pixels
    left, top, right, bottom = 11, 18, 35, 42
    pictures = shown(file(folder, one(folder).crop))
    assert len(pictures) == 4
    for index, picture in zip(range(0, 8, 2), pictures, strict=True):
        image = cv2.imread(str(tmp_path / "frames" / "image_left" / f"{index:06d}.png"))
        assert image is not None
        assert (picture == image[top:bottom, left:right, ::-1]).all()
    assert not (np.stack(pictures) == gifs.GREEN_RGB).all(axis=-1).any()


@pytest.mark.requirement("GIF-02", "AV-11")
def test_a_crop_at_the_edge_is_cut_there() -> None:
    assert crop_xyxy([(0.0, 0.5, 0.5, 1.0)], 100, 60) == (0, 27, 55, 60)
    assert crop_xyxy([(0.9, 0.0, 1.0, 0.5)], 100, 60) == (89, 0, 100, 33)


@pytest.mark.requirement("AV-11")
@given(st.lists(BOX, min_size=1, max_size=4), st.integers(1, 2000), st.integers(1, 2000))
def test_a_crop_is_never_empty_and_never_outside(boxes: list[tuple[float, float, float, float]], width: int, height: int) -> None:
    left, top, right, bottom = crop_xyxy(boxes, width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    mean = np.mean(boxes, axis=0)
    assert left <= mean[0] * width <= right or np.isclose(mean[0] * width, (left, right)).any()


@pytest.mark.requirement("GIF-07")
def test_names_tell_sequence_kind_and_content_and_never_collide(tmp_path: Path) -> None:
    both = [sequence(1), sequence(2, range(3))]
    _, folder = make(tmp_path, both)
    names = [name for each in gifs.read(folder / gifs.FILE_NAME).values() for name in (each.main, each.crop)]
    assert len(set(names)) == 4
    assert [str(name)[:-20] for name in names] == [f"gifs/sequence_000{n}/{kind}_" for n in (1, 2) for kind in ("main", "crop")]
    _, other = make(tmp_path, both, "other", max_width=40)
    assert one(other).main != one(folder).main
    _, same = make(tmp_path, both, "same")
    assert gifs.read(same / gifs.FILE_NAME) == gifs.read(folder / gifs.FILE_NAME)
    assert {path.relative_to(folder) for path in folder.rglob("*.gif")} == {Path(str(name)) for name in names}


@pytest.mark.requirement("GIF-16")
def test_missing_and_damaged_images_are_left_out_and_each_is_reported(tmp_path: Path) -> None:
    images(tmp_path / "frames")
    folder = tmp_path / "frames" / "image_left"
    (folder / "000001.png").unlink()
    (folder / "000002.png").write_bytes((folder / "000002.png").read_bytes()[:60])
    (folder / "000003.png").write_bytes(b"")
    (folder / "000004.png").write_bytes(b"no picture at all")
    cv2.imwrite(str(folder / "000005.png"), np.zeros((HEIGHT, WIDTH // 2, 3), np.uint8))
    counts, out = make(tmp_path, [sequence(1, range(10))])
    made = one(out)
    assert {each.frame_id[-1]: each.reason.rpartition(".png")[2].strip() for each in made.skipped_images} == {
        "1": "is missing",
        "2": "is damaged",
        "3": "is damaged",
        "4": "is damaged",
        "5": "is 40x60 instead of 80x60",
        "8": "the frame is not among the extracted ones",
        "9": "the frame is not among the extracted ones",
    }
    assert made.frames == 3
    assert len(read_gif(file(out, made.main)).frames) == len(read_gif(file(out, made.crop)).frames) == 3
    assert (counts["gifs"], counts["skipped_images"], counts["without_gifs"]) == (2, 7, [])


@pytest.mark.requirement("GIF-16")
def test_a_sequence_without_a_usable_image_gets_no_gif_and_says_why(tmp_path: Path) -> None:
    counts, folder = make(tmp_path, [sequence(1, range(20, 23)), sequence(2)])
    assert one(folder).main is one(folder).crop is None
    assert one(folder).reason == "none of its 3 images can be used"
    assert len(one(folder).skipped_images) == 3
    assert counts["gifs"] == 2
    assert counts["without_gifs"] == [{"sequence": "drive:s0001", "reason": "none of its 3 images can be used"}]
    assert not (folder / "gifs" / "sequence_0001").exists()


@pytest.mark.requirement("GIF-14")
def test_an_error_stops_or_is_reported_as_chosen(tmp_path: Path) -> None:
    (tmp_path / "out" / "gifs").mkdir(parents=True)
    (tmp_path / "out" / "gifs" / "sequence_0001").write_text("a file where a folder has to be")
    with pytest.raises(OSError, match="sequence_0001"):
        make(tmp_path, [sequence(1), sequence(2)])
    counts, folder = make(tmp_path, [sequence(1), sequence(2)], continue_on_error=True)
    assert counts["gifs"] == 2
    assert str(one(folder).reason).startswith("failed: ")
    assert one(folder, 2).frames == 8
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == [], "nothing half-written stays"


@pytest.mark.requirement("GIF-13")
def test_at_most_so_many_sequences_are_worked_on_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (0, 11):
        with pytest.raises(ValueError, match="max_concurrent"):
            GifSettings(max_concurrent=wrong)
    assert GifSettings().max_concurrent == 3
    lock, entered, most = threading.Lock(), 0, 0
    genuine = gifs.crop_xyxy
    together = threading.Barrier(2)

    def counting(*arguments: Any) -> tuple[int, int, int, int]:
        nonlocal entered, most
        with lock:
            entered += 1
            most = max(most, entered)
        together.wait(timeout=30)
        with lock:
            entered -= 1
        return genuine(*arguments)

    monkeypatch.setattr(gifs, "crop_xyxy", counting)
    make(tmp_path, [sequence(n) for n in range(1, 7)], max_concurrent=2)
    assert most == 2


def test_a_killed_run_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    sequences = [sequence(n, range(n % 8 + 1)) for n in range(1, 13)]
    _, whole = make(tmp_path, sequences, "whole")
    seen: list[int] = []

    def killed_after(done: int, _: int | None) -> None:
        seen.append(done)
        if len(seen) == 8:
            raise KeyboardInterrupt

    book = tmp_path / "cut.book"
    with pytest.raises(KeyboardInterrupt):
        make_review_gifs(
            registry(FRAMES),
            (tmp_path / "frames").joinpath,
            sequences,
            GifSettings(),
            Draft.open(tmp_path / "cut", book),
            progress=killed_after,
        )
    assert Draft.open(tmp_path / "cut", book).state["sequences"] == 5
    seen.clear()
    make_review_gifs(
        registry(FRAMES),
        (tmp_path / "frames").joinpath,
        sequences,
        GifSettings(),
        Draft.open(tmp_path / "cut", book),
        progress=lambda done, _: seen.append(done),
    )
    assert len(seen) == 7, "what was done before the checkpoint is not done again"
    assert tree(tmp_path / "cut") == tree(whole)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_long_sequences_are_thinned_and_wide_pictures_shrunk(tmp_path: Path) -> None:
    assert [box.frame_index for box in shown_boxes(sequence(1), 3)] == [0, 4, 7]
    assert len(shown_boxes(sequence(1), None)) == 8
    counts, folder = make(tmp_path, [sequence(1)], max_frames=3, max_width=40)
    assert (counts["frames"], counts["thinned_frames"]) == (3, 5)
    gif = read_gif(file(folder, one(folder).main))
    assert (gif.width, gif.height, len(gif.frames)) == (40, 30, 3)
    assert (shown(file(folder, one(folder).main))[0][16] == gifs.GREEN_RGB).all(axis=-1).sum() == 6, "as thick as in a large one"
    assert read_gif(file(folder, one(folder).crop)).width == 25, "of all boxes, also those not shown"


@pytest.mark.requirement("GIF-10")
def test_sequences_are_chosen_by_id() -> None:
    annotations = SequenceAnnotations("drive", "cluster", "union_find", {}, {}, None, (sequence(1), sequence(2)))
    assert chosen(annotations, []) == [sequence(1), sequence(2)]
    assert chosen(annotations, ["drive:s0002"]) == [sequence(2)]
    with pytest.raises(InputError, match="no sequence annotation 'drive:s0009'; it has 2"):
        chosen(annotations, ["drive:s0009"])


@pytest.mark.requirement("GIF-11")
def test_a_plan_says_what_would_be_made(tmp_path: Path) -> None:
    listed = images(tmp_path / "frames")
    (tmp_path / "frames" / "image_left" / "000003.png").unlink()
    there = lambda name: (tmp_path / "frames" / name).is_file()  # noqa: E731
    sequences = [sequence(1), sequence(2, range(6, 9))]
    assert planned(listed, sequences, GifSettings(max_width=40, max_frames=4), there) == [
        row(1, frames=4, thinned_frames=4, missing_images=0, crop="25x24"),
        row(2, frames=2, thinned_frames=0, missing_images=1, crop="24x24"),
    ]
    assert planned(listed, sequences, GifSettings(), there)[0] == row(1, frames=7, missing_images=1, main="80x60", crop="25x24")
    counts, _ = make(tmp_path, sequences)
    assert counts["frames"] == sum(each["frames"] for each in planned(listed, sequences, GifSettings(), there))


def row(number: int, **values: Any) -> dict[str, Any]:
    return {"sequence": f"drive:s{number:04d}", "class": "car", "thinned_frames": 0, "missing_images": 0, "main": "40x30", **values}


@pytest.mark.requirement("GIF-15")
def test_each_step_is_told(tmp_path: Path) -> None:
    listed = images(tmp_path / "frames")
    (tmp_path / "frames" / "image_left" / "000001.png").unlink()
    told: list[str] = []
    draft = Draft.open(tmp_path / "out")
    make_review_gifs(listed, (tmp_path / "frames").joinpath, [sequence(1, range(3))], GifSettings(), draft, tell=told.append)
    made = one(tmp_path / "out")
    assert [line.strip() for line in told[0].splitlines()] == [
        "drive:s0001:",
        "main: 80x60, quality standard",
        "crop: 24x24, quality standard",
        "drive:000000 read",
        "drive:000001 is left out: image_left/000001.png is missing",
        "drive:000002 read",
        f"main: 2 frames, {(tmp_path / 'out' / str(made.main)).stat().st_size} bytes, {made.main}",
        f"crop: 2 frames, {(tmp_path / 'out' / str(made.crop)).stat().st_size} bytes, {made.crop}",
    ]
    assert len(told) == 1


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"drive:s0001": {"main": 1}}')
    with pytest.raises(InputError, match="no list of review GIFs"):
        gifs.read(tmp_path / "a.json")
