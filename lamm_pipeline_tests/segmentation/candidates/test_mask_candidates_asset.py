"""The asset `mask_candidates`, run by Dagster on a recording of a few small frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.geometry import rle
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.segmentation.assets import mask_candidates
from lamm_pipeline.segmentation.candidates import mask_candidates as candidates_tree
from lamm_pipeline.segmentation.detections import Detection
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline_tests.segmentation.bright_squares import frame, registry, tree, write_detections, write_files

FRAMES = [frame(index) for index in range(6)]


def one_square(each: frame_registry.FrameRecord) -> list[Detection]:
    index = each.svo2_frame_index
    mask = np.zeros((60, 80), bool)
    mask[10:30, index : index + 20] = True
    box_xyxy = (float(index), 10.0, index + 20.0, 30.0)
    found = Detection(f"{each.frame_id}:0", "car", "Car", 0.5, box_xyxy, rle.encode(mask), 400, (0.0, 0.0), None, "depth")
    return [found] if index % 5 else []


class House:
    """A root with the frames and the detections of one recording."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root=str(root))
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("recordings", ["drive"])
        self.frames = self.publish("frames", {}, self.write_frames)
        self.publish("detections", {"frames": self.frames.version}, self.write_detections)

    def publish(self, asset: str, inputs: dict[str, str], write: Callable[[Path], Any], setting: int = 1) -> Artifact:
        key, identity = ArtifactKey("recordings", "drive", asset), Identity(asset, "1", {"setting": setting}, inputs, {})
        with self.workspace.store.draft(key, identity.version, restart=False) as draft:
            write(draft.directory)
            return self.workspace.store.publish(key, draft, identity, {}, {}, [])

    def write_frames(self, folder: Path) -> None:
        write_files(folder, FRAMES)
        frame_registry.write(folder / frame_registry.FILE_NAME, registry(FRAMES))

    def write_detections(self, folder: Path) -> None:
        write_detections(folder / "detections" / "detections.json", FRAMES, one_square)

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [mask_candidates],
            instance=self.instance,
            partition_key="drive",
            resources={"workspace": self.workspace},
            run_config={"ops": {"mask_candidates": {"config": config}}},
            raise_on_error=False,
        )


def metadata(outcome: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = outcome.asset_materializations_for_node("mask_candidates")
    return {name: getattr(value, "value", value) for name, value in made.metadata.items()}


def failure(outcome: dg.ExecuteInProcessResult) -> str:
    (event,) = (each for each in outcome.all_events if each.event_type_value == "STEP_FAILURE")
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


@pytest.mark.requirement("VOS-01", "VOS-29")
def test_the_asset_tells_counts_reasons_and_shows_a_picture(tmp_path: Path) -> None:
    house = House(tmp_path)
    outcome = house.run(gap_fill=True, fill_area=4000, levels=[2, 4])
    assert outcome.success
    told = metadata(outcome)
    assert (told["frames"], told["candidates"], told["frames_with_candidates"], told["failed_frames"]) == (6, 10, 6, 0)
    assert [record.data for record in told["by_source"].records] == [
        {"source": "detections", "candidates": 4},
        {"source": "gap_fill", "candidates": 6},
    ]
    assert [record.data for record in told["by_level"].records] == [{"level": 2, "candidates": 10}, {"level": 4, "candidates": 0}]
    assert "data:image/jpeg" in told["fullest_frame"]
    assert "level 2: 2 candidates" in told["fullest_frame"]
    assert list(candidates_tree.read(Path(told["folder"]))) == [2, 4]


def test_the_same_settings_are_the_same_version_and_others_another(tmp_path: Path) -> None:
    house = House(tmp_path)
    first, again, other = (metadata(house.run(min_area=area)) for area in (300, 300, 500))
    assert first["version"] == again["version"] != other["version"]
    assert (first["candidates"], other["candidates"]) == (4, 0)
    assert [record.data for record in other["refused"].records] == [{"reason": "smaller than min_area", "candidates": 4}]


def test_an_external_tree_needs_no_detections_and_counts_as_what_is_in_it(tmp_path: Path) -> None:
    house = House(tmp_path / "root")
    made = Path(metadata(house.run())["folder"])
    copies = [tmp_path / name for name in ("one", "two")]
    for copy in copies:
        for name, content in tree(made).items():
            if name.startswith("level_"):
                (copy / name).parent.mkdir(parents=True)
                (copy / name).write_bytes(content)
    one, two = (metadata(house.run(source="external", external=str(copy))) for copy in copies)
    assert one["version"] == two["version"]
    assert one["external"]["matched"] == 6
    assert [record.data for record in one["by_source"].records] == [{"source": "external", "candidates": 4}]


def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert "set `external` to it" in failure(house.run(source="external"))
    house.publish("frames", {}, house.write_frames, setting=2)
    assert failure(house.run()) == "The detections of 'drive' were made from other frames. Materialize `detections` first."


def test_a_picture_that_cannot_be_shown_does_not_hinder_the_candidates(tmp_path: Path) -> None:
    house = House(tmp_path)

    def damage(folder: Path) -> None:
        house.write_frames(folder)
        for path in (folder / "image_left").iterdir():
            path.write_bytes(b"no picture")

    frames = house.publish("frames", {}, damage, setting=2)
    house.publish("detections", {"frames": frames.version}, house.write_detections)
    told = metadata(house.run())
    assert told["candidates"] == 4
    assert told["fullest_frame"] == "the image of drive:000001 is missing or damaged"
