import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.segmentation.candidates import mask_candidates
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.segmentation.candidates.propose import CandidateSummary, propose_candidates
from lamm_pipeline.segmentation.candidates.proposer import Proposal, Proposer
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings, CandidateSource
from lamm_pipeline.segmentation.candidates.sources import DetectionsProposer, make_proposer
from lamm_pipeline.segmentation.candidates.tree import ExternalTree
from lamm_pipeline.segmentation.detections import Detection
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, KilledError, frame, registry, tree, write_detections


def square(x: int, y: int = 10, side: int = 20) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def recording(count: int, step: int = 1) -> FrameRegistry:
    return registry([frame(index * step) for index in range(count)])


def detection(frame_id: str, number: int, x: int, side: int = 20) -> Detection:
    mask = square(x, side=side)
    box_xyxy = (float(x), 10.0, float(x + side), 10.0 + side)
    return Detection(f"{frame_id}:{number}", "car", "Car", 0.5, box_xyxy, rle.encode(mask), int(mask.sum()), (0.0, 0.0), None, "depth")


def propose(
    whole: FrameRegistry, proposer: Proposer, folder: Path, **settings: Any
) -> tuple[CandidateSummary, dict[int, list[FrameCandidates]]]:
    draft = Draft.open(folder)
    summary = propose_candidates(whole, proposer, CandidateSettings(**settings), draft)
    draft.finish()
    return summary, {level: list(mask_candidates.read_level(path)) for level, path in mask_candidates.read(folder).items()}


@pytest.mark.requirement("VOS-02", "VOS-29")
def test_detections_become_candidates_of_every_nth_frame(tmp_path: Path) -> None:
    whole = recording(7, step=2)
    path = write_detections(
        tmp_path / "detections.json",
        whole.frames,
        lambda each: [detection(each.frame_id, 0, 5), detection(each.frame_id, 1, 40, side=10)] if each.svo2_frame_index else [],
    )
    summary, levels = propose(whole, DetectionsProposer(path, (1,)), tmp_path / "out", every=3)
    assert [(each.local_index, each.frame_index, len(each.candidates)) for each in levels[1]] == [(0, 0, 0), (1, 6, 1), (2, 12, 1)]
    assert levels[1][1].candidates == (
        MaskCandidate("drive:000006:0", "car", 0.5, None, (5.0, 10.0, 25.0, 30.0), rle.encode(square(5)), 400, "detections"),
    )
    assert summary.to_json() == {
        "frames": 3,
        "frames_with_candidates": 2,
        "candidates": 2,
        "by_level": {"1": 2},
        "by_source": {"detections": 2},
        "refused": {"smaller than min_area": 2},
        "failed_frames": [],
    }


def test_frames_that_the_detections_have_not_seen_are_named_and_too_many_are_refused(tmp_path: Path) -> None:
    whole = recording(6)
    path = write_detections(tmp_path / "detections.json", whole.frames[:5], lambda each: [detection(each.frame_id, 0, 5)])
    summary, levels = propose(whole, DetectionsProposer(path, (1,)), tmp_path / "out")
    assert [failed.frame_id for failed in summary.failed_frames] == ["drive:000005"]
    assert len(levels[1]) == 5
    with pytest.raises(InputError, match=r"1 of 6 frames of drive .*have not looked at this frame.* max_bad_share 0\.1"):
        propose(whole, DetectionsProposer(path, (1,)), tmp_path / "strict", max_bad_share=0.1)


def test_no_detections_and_no_frames_give_empty_levels(tmp_path: Path) -> None:
    path = write_detections(tmp_path / "detections.json", recording(3).frames, lambda _: [])
    summary, levels = propose(recording(3), DetectionsProposer(path, (2, 4)), tmp_path / "out")
    assert (summary.frames, summary.candidates, summary.by_level) == (3, 0, {2: 0, 4: 0})
    assert [len(level) for level in levels.values()] == [3, 3]
    summary, levels = propose(recording(0), DetectionsProposer(path, (2,)), tmp_path / "none")
    assert (summary.frames, levels) == (0, {2: []})


@pytest.mark.requirement("NFR-10")
def test_a_killed_run_resumes_from_its_checkpoint_to_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    whole = recording(60)
    path = write_detections(
        tmp_path / "detections.json",
        whole.frames,
        lambda each: [detection(each.frame_id, 0, each.svo2_frame_index), detection(each.frame_id, 1, 3, side=25)],
    )
    settings = CandidateSettings(levels=[2, 4], gap_fill=True, fill_area=500, packed_masks=True)

    def run(folder: Path, workers: int, kill_at: int | None = None) -> Draft:
        draft = Draft.open(folder)

        def progress(done: int, total: int | None) -> None:
            assert total == 60
            if done == kill_at:
                raise KilledError

        propose_candidates(whole, DetectionsProposer(path, (2, 4)), settings, draft, workers=workers, progress=progress)
        return draft

    run(tmp_path / "whole", 1).finish()
    with pytest.raises(KilledError):
        run(tmp_path / "killed", 3, kill_at=40)
    assert Draft.open(tmp_path / "killed").state == {"done": 25}
    run(tmp_path / "killed", 4).finish()
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert list(tree(tmp_path / "whole")) == ["level_2/filtered/filtered.json", "level_4/filtered/filtered.json"]


def packed(mask: NDArray[np.bool_], **changes: Any) -> dict[str, Any]:
    return packed_mask.to_json(packed_mask.pack(mask)) | changes


def write_tree(folder: Path, levels: Mapping[int, Sequence[Mapping[str, Any]]]) -> Path:
    """As the first tool writes it: indented, a list of frames."""
    for level, frames in levels.items():
        path = folder / f"level_{level}" / "filtered" / "filtered.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"frames": frames}, indent=2))
    return folder


def external(whole: FrameRegistry, folder: Path, out: Path, **settings: Any) -> tuple[CandidateSummary, dict[int, list[FrameCandidates]]]:
    chosen = {"source": CandidateSource.external, "external": str(folder)} | settings
    return propose(whole, ExternalTree(CandidateSettings(**chosen)), out, **chosen)


@pytest.mark.requirement("VOS-01", "VOS-03")
def test_masks_are_read_in_every_form_that_trees_have_them_in(tmp_path: Path) -> None:
    mask = square(12)
    folder = tmp_path / "tree"
    runs = rle.encode(mask)
    lengths = rle.run_lengths(runs["counts"]).tolist()
    items: list[dict[str, Any]] = [
        {"mask": packed(mask), "bbox": [12, 10, 19, 19], "area": 1, "stability_score": 0.95, "score": 0.7},
        {"mask": packed(mask, shape=[1, HEIGHT, WIDTH]), "predicted_iou": 0.6},
        {"mask": packed_mask.to_json(packed_mask.pack(mask, 0.5)), "class_id": "car"},
        {"mask": {key: value for key, value in packed_mask.to_json(packed_mask.pack(mask, 0.5)).items() if "full" not in key}},
        {"mask": runs},
        {"mask_rle": runs, "stability": 1.0},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": lengths}},
        {"segmentation": [[12, 10, 32, 10, 32, 30, 12, 30]]},
        {"mask": "masks/one.png"},
        {"mask_path": "masks/one.npy"},
        {"id": 10},
    ]
    write_tree(folder, {2: [{"frame_idx": 4, "frame_name": "00004.png", "items": items}]})
    beside = folder / "level_2" / "filtered"
    (beside / "masks").mkdir()
    cv2.imwrite(str(beside / "masks" / "one.png"), mask.astype(np.uint8) * 255)
    np.save(beside / "masks" / "one.npy", mask)
    np.save(beside / "seg_frame_00004.npy", np.stack([np.zeros_like(mask)] * 10 + [mask]))
    summary, levels = external(recording(6), folder, tmp_path / "out")
    (seen,) = levels[2]
    assert (seen.frame_id, seen.local_index, len(seen.candidates)) == ("drive:000004", 0, len(items))
    assert summary.report["external"]["without_candidates"] == 5
    for number, found in enumerate(seen.candidates):
        np.testing.assert_array_equal(rle.decode(found.mask_rle or {}), mask, err_msg=str(items[number])[:80])
        assert (found.candidate_id, found.area, found.box_xyxy) == (f"drive:000004:{number}", 400, (12, 10, 32, 30))
    assert [found.stability for found in seen.candidates][:6] == [0.95, None, None, None, None, 1.0]
    assert [found.score for found in seen.candidates][:3] == [0.7, 0.6, None]
    assert seen.candidates[2].class_id == "car"
    assert summary.refused == {}


@pytest.mark.requirement("VOS-01")
def test_masks_that_cannot_be_read_leave_their_box_or_are_dropped_and_counted(tmp_path: Path) -> None:
    box = {"bbox": [10, 20, 30, 20]}
    unreadable: list[Any] = [
        {"mask": {"shape": [HEIGHT, WIDTH], "packed_bits_b64": "8A=="}},
        {"mask": packed(np.ones((HEIGHT, 30), bool))},
        {"mask": packed(np.zeros((HEIGHT, WIDTH), bool))},
        {"mask": packed(np.ones((HEIGHT * 2, WIDTH * 2), bool))},
        {"mask": {"size": [HEIGHT, WIDTH], "counts": "x"}},
        {"mask": {"size": "large", "counts": "x"}},
        {"mask": "missing.png"},
        {"mask": "../../../secret.png"},
        {"mask": "/etc/passwd"},
        {"mask": 7},
    ]
    others = [{}, "no item", {"bbox": [10, 20, -3, 4]}, {"bbox": [500, 500, 30, 20]}, {"bbox": ["a", 0, 1, 2]}, {"bbox": [1, 2]}]
    items = [each | box for each in unreadable] + unreadable + others + [box, {"bbox_xyxy": [70, 20, 100, 60]}]
    folder = write_tree(tmp_path / "tree", {2: [{"frame_idx": 0, "items": items}]})
    summary, levels = external(recording(1), folder, tmp_path / "out")
    found = levels[2][0].candidates
    assert {each.box_xyxy for each in found[:-1]} == {(10.0, 20.0, 40.0, 40.0)}
    assert (found[-1].box_xyxy, found[-1].area) == ((70.0, 20.0, 80.0, 60.0), 400)
    assert all(each.mask_rle is None for each in found)
    assert summary.refused == {
        "mask not readable, its box taken": len(unreadable),
        "neither mask nor box readable": len(unreadable) + len(others),
    }
    assert len(found) == len(unreadable) + 2


@pytest.mark.requirement("VOS-01", "VOS-29")
def test_frames_are_matched_by_name_or_index_and_the_others_are_reported(tmp_path: Path) -> None:
    whole = recording(4, step=2)
    item = {"mask": packed(square(3))}
    frames = [
        {"frame_idx": 0, "items": [item]},
        {"frame_idx": 77, "frame_name": "some/folder/000002.jpg", "items": [item]},
        {"frame_id": "drive:000004", "items": [item, item]},
        {"frame_idx": 4, "items": [item]},
        {"frame_idx": 5, "frame_name": "00005.png", "items": [item]},
        {"items": [item]},
        "no frame",
    ]
    folder = write_tree(tmp_path / "tree", {2: frames, 4: [{"frame_idx": 6, "items": []}], 6: []})
    summary, levels = external(whole, folder, tmp_path / "out")
    assert {level: [(each.frame_index, len(each.candidates)) for each in found] for level, found in levels.items()} == {
        2: [(0, 1), (2, 1), (4, 2), (6, 0)],
        4: [(0, 0), (2, 0), (4, 0), (6, 0)],
        6: [(0, 0), (2, 0), (4, 0), (6, 0)],
    }
    report = summary.report["external"]
    assert (report["matched"], report["unmatched"], report["repeated"]) == (4, 3, 1)
    assert report["unmatched_frames"] == [
        "level 2: frame_name '00005.png', frame_idx 5",
        "level 2: an entry without frame_name and frame_idx",
        "level 2: an entry without frame_name and frame_idx",
    ]
    assert list(external(whole, folder, tmp_path / "some", levels=[4, 2])[1]) == [2, 4]
    _, thinned = external(whole, folder, tmp_path / "thinned", every=3)
    assert [(each.local_index, each.frame_index) for each in thinned[2]] == [(0, 0), (1, 6)]


@pytest.mark.requirement("VOS-01")
def test_names_of_packed_images_come_before_numbers(tmp_path: Path) -> None:
    from dataclasses import replace

    whole = registry([replace(frame(index), source_name=f"{index + 10:05d}.jpg") for index in range(3)])
    folder = write_tree(tmp_path / "tree", {2: [{"frame_idx": 0, "frame_name": "00012.jpg", "items": [{"mask": packed(square(3))}]}]})
    _, levels = external(whole, folder, tmp_path / "out")
    assert [each.frame_index for each in levels[2] if each.candidates] == [2]
    old = write_tree(tmp_path / "old", {2: [{"frame_idx": 0, "items": [{"frame_name": "00011.jpg", "bbox": [0, 0, 30, 30]}]}]})
    _, levels = external(whole, old, tmp_path / "out_of_old")
    assert [each.frame_index for each in levels[2] if each.candidates] == [1]


@pytest.mark.requirement("VOS-01")
def test_a_tree_that_this_stage_wrote_is_read_as_an_external_one(tmp_path: Path) -> None:
    whole = recording(3)
    path = write_detections(tmp_path / "detections.json", whole.frames, lambda each: [detection(each.frame_id, 0, 5)])
    _, ours = propose(whole, DetectionsProposer(path, (2, 4)), tmp_path / "ours", levels=[2, 4])
    _, again = external(whole, tmp_path / "ours", tmp_path / "again")
    assert list(again) == list(ours) == [2, 4]
    for mine, other in zip(ours[2], again[2], strict=True):
        assert (mine.frame_id, mine.local_index) == (other.frame_id, other.local_index)
        assert [(each.box_xyxy, each.mask_rle, each.class_id) for each in mine.candidates] == [
            (each.box_xyxy, each.mask_rle, each.class_id) for each in other.candidates
        ]


@pytest.mark.requirement("VOS-27")
def test_what_cannot_be_used_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "tree", {2: [{"frame_idx": 99, "items": []}]})
    with pytest.raises(InputError, match=r"None of the 1 frames in .* is one of the 3 of drive"):
        external(recording(3), folder, tmp_path / "out")
    with pytest.raises(InputError, match=r"has the levels 2, but not 4, 6"):
        external(recording(3), folder, tmp_path / "out", levels=[6, 4, 2][::-1])
    with pytest.raises(InputError, match="set `external`"):
        ExternalTree(CandidateSettings(source=CandidateSource.external))
    (folder / "level_2" / "filtered" / "filtered.json").write_text('{"frames": [{"frame_idx": 0}')
    with pytest.raises(InputError, match="not valid JSON"):
        external(recording(3), folder, tmp_path / "out")
    with pytest.raises(InputError, match="each once"):
        make_proposer(CandidateSettings(levels=[2, 2]), tmp_path, None)
    with pytest.raises(InputError, match="materialize `detections` first"):
        make_proposer(CandidateSettings(), tmp_path, None)


def test_the_identity_of_a_tree_changes_with_any_of_its_files(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "tree", {2: [{"frame_idx": 0, "items": [{"mask": "one.npy"}]}]})
    settings = CandidateSettings(source=CandidateSource.external, external=str(folder))
    mask = folder / "level_2" / "filtered" / "one.npy"
    np.save(mask, square(3))
    before = ExternalTree(settings).identity
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert ExternalTree(settings.model_copy(update={"external": str(moved)})).identity == before
    np.save(mask, square(4))
    assert ExternalTree(settings).identity != before


@pytest.mark.requirement("NFR-02")
def test_without_the_package_the_source_sam2_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setitem(sys.modules, "sam2", None)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "sam2" else real(name, *rest))
    with pytest.raises(InputError, match=r"source 'sam2' .* needs .*sam2.*lamm-pipeline\[sam2\]"):
        make_proposer(CandidateSettings(source=CandidateSource.sam2), tmp_path, None)


class Failing:
    """A source that cannot look at any frame."""

    identity: Mapping[str, Any] = {"source": "failing"}
    levels = (1,)

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        return {"frames_seen": len(registry.frames)}

    def knows(self, frame: FrameRecord) -> bool:  # noqa: ARG002 - of the protocol
        return True

    def proposals(self, frames: Sequence[FrameRecord]) -> Iterator[Callable[[], Proposal]]:
        return ((lambda: Proposal({}, failure="it is dark")) for _ in frames)


def test_a_source_that_sees_nothing_fails_or_is_reported_as_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 of 3 frames of drive \(the first: it is dark"):
        propose(recording(3), Failing(), tmp_path / "a")
    summary, levels = propose(recording(3), Failing(), tmp_path / "b", max_bad_share=1.0)
    assert (summary.report, levels, len(summary.failed_frames)) == ({"frames_seen": 3}, {1: []}, 3)
