"""Frames of several sources in one dataset version: recordings, imports, and imports of the same video."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline import sample_table
from lamm_pipeline.datasets.checks import curation_verdicts
from lamm_pipeline.datasets.comparison import Curated, compare
from lamm_pipeline.datasets.curate import CuratedFrame, curate_version, read_selection
from lamm_pipeline.datasets.samples import source_frames
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.datasets.versions import ImportInputs, SourceFile, VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.sample_table import Annotation, Sample
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.world import HEIGHT, WIDTH, folders_of, make_recording, make_version

MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[10:20, 5:25] = True
MASK_RLE = rle.encode(MASK)


def make_import(root: Path, key: str, recording: str, indices: Iterable[int], class_id: str = "dog", **changes: Any) -> ImportInputs:
    """Write the table and images of an import of one object a frame."""
    inputs = ImportInputs(
        key=key, recording=recording, artifact="i1", source=SourceFile(path=f"/data/{key}.zip", digest=f"sha256-of-{key}", size=10)
    )
    folder = root / inputs.reference
    (folder / "images").mkdir(parents=True)
    samples = []
    for index in indices:
        image = np.full((HEIGHT, WIDTH, 3), index % 250, np.uint8)
        image[:, : 1 + index % WIDTH] = 255
        cv2.imwrite(str(folder / f"images/{index:06d}.png"), image)
        frame_id = f"{recording}:{index:06d}"
        annotation = Annotation(f"{frame_id}:0", class_id, (5.0, 10.0, 25.0, 20.0), MASK_RLE, 200, source="import")
        sample = Sample(frame_id, recording, index, None, WIDTH, HEIGHT, "", folder, f"images/{index:06d}.png", "kept", (annotation,))
        samples.append(replace(sample, **changes))
    sample_table.write(folder / sample_table.FILE_NAME, samples)
    return inputs


def version(
    root: Path, imports: Iterable[ImportInputs], recordings: Iterable[Any] = (), name: str = "drives", **settings: Any
) -> VersionManifest:
    return make_version(root, list(recordings), DatasetSettings(**settings), name, imports=list(imports), extra_classes=["dog", "cat"])


def curate(root: Path, manifest: VersionManifest) -> tuple[dict[str, Any], list[CuratedFrame], list[Sample]]:
    folder = root / "datasets" / manifest.key / "curated_dataset"
    draft = Draft.open(folder)
    try:
        summary = curate_version(manifest, folders_of(root), draft, workers=1)
    finally:
        draft.finish()
    return summary, list(read_selection(folder)), list(sample_table.read(folder / sample_table.FILE_NAME, folders_of(root)))


def test_frames_of_imports_stand_among_those_of_recordings_by_key_and_index(tmp_path: Path) -> None:
    recording = make_recording(tmp_path, "b", [0, 4])
    imports = [make_import(tmp_path, "late", "c", [1, 0x2]), make_import(tmp_path, "early", "a", [7])]
    summary, rows, samples = curate(tmp_path, version(tmp_path, imports, [recording]))
    assert [row.frame_id for row in rows] == ["a:000007", "b:000000", "b:000004", "c:000001", "c:000002"]
    assert [sample.artifact.split("/")[0] for sample in samples] == [
        "annotation_exports",
        "recordings",
        "recordings",
        *["annotation_exports"] * 2,
    ]
    assert summary["classes"]["dog"] == {"annotations": 3, "frames": 3}
    assert all(sample.image_hash is not None for sample in samples)
    path = samples[0].path(samples[0].image)
    assert path is not None
    assert path.is_file()


@pytest.mark.requirement("PIP-03", "PIP-04", "AV-09")
def test_frames_that_two_imports_of_a_video_share_are_taken_once(tmp_path: Path) -> None:
    imports = [make_import(tmp_path, "first", "street", range(10)), make_import(tmp_path, "second", "street", range(7, 15))]
    manifest = version(tmp_path, imports)
    summary, rows, samples = curate(tmp_path, manifest)
    assert [sample.frame_index for sample in samples] == list(range(15))
    assert {sample.artifact for sample in samples[7:10]} == {imports[0].reference}
    assert summary["dropped_frames"] == {"same_frame": 3}
    assert (summary["original"]["frames"], summary["filtered"]["frames"]) == (18, 15)
    sums, sources = curation_verdicts(manifest, folders_of(tmp_path), tmp_path / "datasets" / manifest.key / "curated_dataset", summary)
    assert (sums.passed, sources.passed, sources.description) == (
        True,
        True,
        "3 frames are in several sources, which say the same about them.",
    )
    assert [row.reason for row in rows if row.frame_id == "street:000008"] == [None, "same_frame"]


@pytest.mark.requirement("PIP-03")
@pytest.mark.parametrize(("on_conflict", "taken"), [("keep_first", "dog"), ("keep_last", "cat")])
def test_frames_about_which_imports_differ_are_reported_and_the_settings_say_which_is_taken(
    tmp_path: Path, on_conflict: str, taken: str
) -> None:
    imports = [make_import(tmp_path, "first", "street", range(4)), make_import(tmp_path, "second", "street", range(2, 6), "cat")]
    manifest = version(tmp_path, imports, on_conflict=on_conflict)
    summary, rows, samples = curate(tmp_path, manifest)
    assert [each.annotations[0].class_id for each in samples] == ["dog", "dog", taken, taken, "cat", "cat"]
    assert summary["dropped_frames"] == {"conflicting_frame": 2}
    (loser,) = [row for row in rows if row.frame_id == "street:000002" and not row.kept]
    assert "has 1 of 1 annotations differ" in str(loser.detail)
    _, sources = curation_verdicts(manifest, folders_of(tmp_path), tmp_path / "datasets" / manifest.key / "curated_dataset", summary)
    assert not sources.passed


def test_conflicts_can_be_an_error_that_names_the_frames(tmp_path: Path) -> None:
    imports = [make_import(tmp_path, "first", "street", range(4)), make_import(tmp_path, "second", "street", range(2, 6), "cat")]
    with pytest.raises(
        InputError, match=r"2 frames of dataset version 'drives\.v1' differ between its sources: street:000002, street:000003\."
    ):
        curate(tmp_path, version(tmp_path, imports, on_conflict="error"))


def test_another_image_under_the_same_id_is_a_conflict(tmp_path: Path) -> None:
    imports = [
        make_import(tmp_path, "first", "street", [0], image_hash=1),
        make_import(tmp_path, "second", "street", [0], image_hash=2),
    ]
    _, rows, _ = curate(tmp_path, version(tmp_path, imports))
    assert "another image" in str(rows[1].detail)


def test_two_videos_of_one_name_are_refused_when_their_sizes_differ(tmp_path: Path) -> None:
    imports = [make_import(tmp_path, "first", "video", [0]), make_import(tmp_path, "second", "video", [0], width=2 * WIDTH)]
    with pytest.raises(InputError, match=r"both say that they are of 'video'.*lamm import --video NAME"):
        list(source_frames(version(tmp_path, imports), folders_of(tmp_path)))


@given(parts=st.lists(st.sets(st.integers(0, 12), max_size=6), min_size=1, max_size=4))
def test_every_frame_is_taken_once_and_none_is_lost(tmp_path_factory: pytest.TempPathFactory, parts: list[set[int]]) -> None:
    root = tmp_path_factory.mktemp("merge")
    imports = [make_import(root, f"part{n}", "street", sorted(part)) for n, part in enumerate(parts)]
    frames = list(source_frames(version(root, imports), folders_of(root)))
    assert [each.sample.frame_index for each in frames if each.twin is None] == sorted(set().union(*parts))
    assert len(frames) == sum(map(len, parts))
    owner = {each.sample.frame_index: each.sample.artifact for each in frames if each.twin is None}
    for index, reference in owner.items():
        assert reference == next(each.reference for each, part in zip(imports, parts, strict=True) if index in part)


def test_a_grown_version_differs_from_the_old_one_by_the_new_frames_alone(tmp_path: Path) -> None:
    first, second = make_import(tmp_path, "first", "street", range(4)), make_import(tmp_path, "second", "street", range(3, 8))
    old, new = version(tmp_path, [first]), version(tmp_path, [first, second])
    for manifest in (old, new):
        curate(tmp_path, manifest)
    found = compare(*(Curated(each, folders_of(tmp_path), tmp_path / "datasets" / each.key / "curated_dataset") for each in (old, new)))
    assert found.total_frames == (4, 8)
    assert [(each.frame_id, each.change) for each in found.frames] == [(f"street:{n:06d}", "in") for n in range(4, 8)]
