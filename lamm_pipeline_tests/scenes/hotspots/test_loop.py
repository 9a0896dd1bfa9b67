"""The loop, as Dagster runs it: uncertainty, hotspots, a dataset version of hard cases, its exports; each frame told in the lineage."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from lamm_pipeline.datasets.versions import VersionManifest, read_version
from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.storage.garbage import find_garbage
from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.predictions import PredictionWriter
from lamm_pipeline.uncertainty.taking_in import add_evaluation
from lamm_pipeline_tests.review.worlds import World

UNSURE = {
    "drive": {0: 0.9, 1: 0.2, 2: 0.95, 3: 0.4},  # nothing was detected on frame 2
    "two": {0: 0.1, 1: 0.85, 2: 0.3, 3: 0.8},
    "calm": {0: 0.05, 1: 0.06, 2: 0.05, 3: 0.04},
}
HARD = ["drive:000000", "drive:000002", "two:000001", "two:000003"]


class Loop:
    """Three recordings, and the jobs of the graph on them."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root = root
        self.instance = instance
        self.definitions = build_definitions(Settings.from_environment({}, root=root))
        self.worlds = {key: World(root, key) for key in UNSURE}
        self.store, self.catalog = self.worlds["drive"].store, self.worlds["drive"].catalog
        instance.add_dynamic_partitions("recordings", list(UNSURE))

    def predict(self, name: str, scores: Mapping[str, Mapping[int, float]], day: int = 1) -> None:
        """Take in an evaluation, and score its recordings."""
        folder = self.root / "predictions" / name
        evaluation = Evaluation(name, "segmenter-v1", ("ground", "obstacle"), None, (), f"2026-05-{day:02d}T12:00:00+00:00")
        for key, of_frames in scores.items():
            version = self.store.current_version(ArtifactKey("recordings", key, "frames"))
            with PredictionWriter(folder, evaluation, key, frames_version=version) as writer:
                for index, score in of_frames.items():
                    writer.add(f"{key}:{index:06d}", scores={"mutual_information": score})
        add_evaluation(self.catalog, folder, "ada")
        for key in scores:
            self.run("uncertainty", key)

    def run(self, job: str, partition: str | None = None, config: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, run_config=config, raise_on_error=False
        )

    def create(self, **hard_cases: Any) -> dg.ExecuteInProcessResult:
        """The Launchpad's job."""
        split = {"train_ratio": 1.0, "val_ratio": 0.0, "test_ratio": 0.0}
        config = {"name": "hard", "split": split, "formats": ["coco", "huggingface"], "hard_cases": hard_cases}
        return self.run("create_dataset", config={"ops": {"write_version": {"config": config}}})

    def version(self, key: str) -> VersionManifest:
        return read_version(self.root, key)

    def artifact(self, asset: str, key: str = "hard.v1") -> Artifact:
        found = self.store.current(ArtifactKey("datasets", key, asset))
        assert found is not None
        return found


def sentence_of(outcome: dg.ExecuteInProcessResult) -> str:
    [failed] = outcome.filter_events(lambda event: event.is_step_failure)
    return str(failed.step_failure_data.user_failure_data.description)


pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    (tmp_path / "dagster-home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster-home")) as instance:
        yield Loop(tmp_path / "root", instance)


@pytest.mark.requirement("UNC-03", "UNC-10", "NFR-09", "EXP-01")
def test_from_uncertainty_to_an_export_of_exactly_the_hard_cases(loop: Loop) -> None:
    loop.predict("night", UNSURE)
    assert loop.run("refresh_scenes").success
    assert loop.create(top=4).success
    version = loop.version("hard.v1")
    assert version.hard_cases is not None
    assert list(version.hard_cases.frame_ids) == HARD
    assert version.members == ["drive", "two"]  # the recordings that have hard cases

    exported = loop.run("export", "hard.v1")
    assert exported.success
    [told] = [event.metadata for event in exported.asset_materializations_for_node("curated_dataset")]
    dropped = {tuple(row.data.values()) for row in told["dropped"].value.records}
    assert dropped == {("frame", "not_hard_case", 4), ("frame", "no_annotations", 1), ("annotation", "frame_dropped", 5)}
    left = [name for name in HARD if name != "drive:000002"]  # a hard case too, but nothing was found on it

    coco = COCO(next((loop.artifact("coco_dataset").folder / "coco" / "train").glob("**/annotations.json")))
    assert sorted(image["frame_id"] for image in coco.loadImgs(coco.getImgIds())) == left
    from datasets import load_from_disk

    rows = load_from_disk(str(loop.artifact("huggingface_dataset").folder / "huggingface"))["train"]
    assert sorted(rows["frame_id"]) == left

    lineage = loop.artifact("lineage")
    content = json.loads(lineage.file("lineage.json").read_text())
    assert content["hard_cases"]["frames"] == 4
    assert content["hard_cases"]["condition"]["top"] == 4
    assert content["selection"]["dropped_frames"] == {"no_annotations": 1, "not_hard_case": 4}
    followed = {row["frame_id"]: row for row in pq.read_table(lineage.file("frames_lineage.parquet")).to_pylist()}
    assert sorted(followed) == left
    assert followed["two:000001"]["annotation_ids"] == ["two:000001:0"]
    # and on to the score that made it a hard case, in the artifact that the manifest names
    scope, partition, asset, made = content["hard_cases"]["ranking"].split("/")
    ranking = loop.store.find(ArtifactKey(scope, partition, asset), made)
    assert ranking is not None
    scored = {row["frame_id"]: row for row in pq.read_table(ranking.file("frame_ranking.parquet")).to_pylist()}
    assert (scored["two:000001"]["uncertainty"], scored["two:000001"]["evaluation"]) == (pytest.approx(0.85), "night")
    assert scored["two:000001"]["frames_version"] == version.recordings[1].artifacts.frames


@pytest.mark.requirement("UNC-03", "DSB-05")
def test_a_version_keeps_its_frames_and_their_ranking_whatever_is_ranked_later(loop: Loop) -> None:
    loop.predict("night", UNSURE)
    loop.run("refresh_scenes")
    loop.create(above=0.5, min_gap_frames=2)
    first = loop.version("hard.v1")
    assert first.hard_cases is not None
    assert list(first.hard_cases.frame_ids) == HARD
    loop.predict("later", {"calm": {0: 0.99, 1: 0.1, 2: 0.1, 3: 0.1}}, day=2)
    loop.run("refresh_scenes")
    assert loop.version("hard.v1") == first
    assert loop.create(above=0.5, min_gap_frames=2).success
    second = loop.version("hard.v2")
    assert second.hard_cases is not None
    assert list(second.hard_cases.frame_ids) == ["calm:000000", *HARD]

    assert first.hard_cases.ranking in first.references  # which `lamm gc` keeps
    pins = {ArtifactKey("summaries", "all", "uncertainty_hotspots"): frozenset({first.hard_cases.ranking.rpartition("/")[2]})}
    unpinned = [each.place for each in find_garbage(loop.store, {}, draft_days=7).garbage if "uncertainty_hotspots" in each.place]
    kept = [each.place for each in find_garbage(loop.store, pins, draft_days=7).garbage if "uncertainty_hotspots" in each.place]
    assert len(unpinned) == len(kept) + 1

    # another ranking with the same hard cases is no other content
    loop.catalog.tags.add(["calm"], ["park"], "eve")
    loop.run("refresh_scenes")
    loop.create(above=0.5, min_gap_frames=2)
    assert [row.key for row in loop.catalog.versions.all("hard")] == ["hard.v1", "hard.v2"]


@pytest.mark.requirement("UNC-03")
def test_frames_that_were_extracted_again_since_are_refused_with_what_to_do(loop: Loop) -> None:
    loop.predict("night", UNSURE)
    loop.run("refresh_scenes")
    two = loop.worlds["two"]
    two.frames = two._publish("frames", {"again": True}, two._write_frames)
    two.detect({0: [], 1: [], 2: [], 3: []}, 0.6)
    said = sentence_of(loop.create(top=4))
    assert "The frames of 'two' were extracted again since their uncertainty was ranked" in said
    assert "`lamm evaluation add`" in said
    assert loop.create(top=1).success  # of drive, whose frames are still the ones that were scored
    loop.run("uncertainty", "two")  # its predictions are stale now
    loop.run("refresh_scenes")
    assert loop.create(top=4).success
    assert loop.version("hard.v2").members == ["drive"]


@pytest.mark.requirement("UNC-03")
def test_conditions_that_find_nothing_are_refused_with_counts(loop: Loop) -> None:
    assert "There is no ranking of frames yet" in sentence_of(loop.create(top=4))
    loop.run("refresh_scenes")
    assert "of 3 recordings none has scores in the ranking" in sentence_of(loop.create(top=4))
    loop.predict("night", UNSURE)
    loop.run("refresh_scenes")
    said = sentence_of(loop.create(above=0.96))
    assert "of 12 scored frames of 3 recordings none is above 0.96, the highest is 0.95. Lower the threshold." in said
    assert "none has scores (by nobody) in the ranking" in sentence_of(loop.create(top=4, models=["nobody"]))
    assert "none of 12 scored frames of 3 recordings is of a recording with tags" in sentence_of(loop.create(top_per_tag=4))
    assert "say how many hard cases" in sentence_of(loop.create(tags=["rain"]))
    assert [row.key for row in loop.catalog.versions.all()] == []


def test_without_a_condition_a_version_has_all_frames_and_the_manifest_it_always_had(loop: Loop) -> None:
    assert loop.create().success
    version = loop.version("hard.v1")
    assert (version.hard_cases, version.members) == (None, ["calm", "drive", "two"])
    assert "hard_cases" not in json.loads((loop.root / "datasets/hard.v1/version.json").read_text())
