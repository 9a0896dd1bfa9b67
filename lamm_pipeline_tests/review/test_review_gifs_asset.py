"""The asset `review_gifs`, run by Dagster on a recording of a few small frames."""

import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import gifs
from lamm_pipeline_tests.review.gif_blocks import read_gif
from lamm_pipeline_tests.review.gif_frames import sequence
from lamm_pipeline_tests.review.gif_house import REASON, House


def metadata(outcome: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = outcome.asset_materializations_for_node("review_gifs")
    return {name: getattr(value, "value", value) for name, value in made.metadata.items()}


def failure(outcome: dg.ExecuteInProcessResult) -> str:
    (event,) = (each for each in outcome.all_events if each.event_type_value == "STEP_FAILURE")
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


@pytest.mark.requirement("GIF-01", "GIF-02", "GIF-09", "GIF-16")
def test_the_asset_publishes_the_gifs_and_tells_counts_reasons_and_a_preview(tmp_path: Path) -> None:
    house = House(tmp_path)
    told = metadata(house.run())
    assert house.artifact is not None
    made = gifs.read(house.artifact.file(gifs.FILE_NAME))
    assert list(made) == ["drive:s0001", "drive:s0002"]
    for each in made.values():
        for name in (each.main, each.crop):
            assert name in house.artifact.manifest.files
            assert len(read_gif(house.artifact.file(str(name))).frames) == each.frames
    assert (told["sequences"], told["gifs"], told["frames"], told["skipped_images"]) == (2, 4, 11, 0)
    assert [record["sequence"] for record in (each.data for each in told["made"].records)] == ["drive:s0001", "drive:s0002"]
    assert told["review"].endswith("/recordings/drive")
    assert told["preview"].startswith("![drive:s0001: 8 frames](data:image/jpeg;base64,")


@pytest.mark.requirement("GIF-10")
def test_only_the_sequences_asked_for_are_shown(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert metadata(house.run(annotation_ids=["drive:s0002"]))["gifs"] == 2
    few = house.artifact
    assert metadata(house.run())["gifs"] == 4
    every = house.artifact
    assert few is not None
    assert every is not None
    assert few.version != every.version
    house.run(annotation_ids=["drive:s0002", "drive:s0001"])
    assert house.artifact is not None
    assert house.artifact.version == every.version, "naming all is the same as naming none"
    assert "no sequence annotation 'drive:s0077'" in failure(house.run(annotation_ids=["drive:s0077"]))


@pytest.mark.requirement("GIF-11")
def test_a_dry_run_makes_nothing_and_force_makes_all_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    dry = house.run(dry_run=True, update_stage=True)
    assert dry.success
    assert dry.asset_materializations_for_node("review_gifs") == []
    [observed] = dry.asset_observations_for_node("review_gifs")
    assert [each.data["sequence"] for each in observed.metadata["planned"].value.records] == ["drive:s0001", "drive:s0002"]
    assert house.artifact is None
    assert house.workspace.catalog.labelling.of("drive").status == "unlabelled"
    house.run()
    assert house.artifact is not None
    file = house.artifact.file(gifs.FILE_NAME)
    written = file.stat().st_ino
    house.run()
    assert file.stat().st_ino == written, "published already"
    house.run(force=True)
    assert file.stat().st_ino != written


@pytest.mark.requirement("GIF-12")
def test_the_stage_moves_on_when_asked_and_only_if_there_is_a_gif(tmp_path: Path) -> None:
    house = House(tmp_path / "a")
    house.run()
    assert house.workspace.catalog.labelling.of("drive").status == "unlabelled"
    house.run(update_stage=True)
    assert house.workspace.catalog.labelling.of("drive").status == "in_progress"
    house.workspace.catalog.labelling.set(["drive"], "ada", status="labelled")
    house.run(update_stage=True)
    assert house.workspace.catalog.labelling.of("drive").status == "labelled", "never back"
    without = House(tmp_path / "b", (sequence(1, range(50, 52)),))
    told = metadata(without.run(update_stage=True))
    assert told["gifs"] == 0
    assert told["without_gifs"].records[0].data == {"sequence": "drive:s0001", "reason": "none of its 2 images can be used"}
    assert without.workspace.catalog.labelling.of("drive").status == "unlabelled"


def test_nothing_to_review_is_a_reason_and_no_failure(tmp_path: Path) -> None:
    told = metadata(House(tmp_path, ()).run(update_stage=True))
    assert (told["gifs"], told["reason"], told["preview"]) == (0, REASON, "no GIFs")


@pytest.mark.requirement("GIF-13", "GIF-14")
def test_how_it_is_run_makes_no_new_version(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.run()
    first = house.artifact
    house.run(max_concurrent=1, continue_on_error=True, update_stage=True)
    assert first is not None
    assert house.artifact is not None
    assert house.artifact.version == first.version
    assert not house.run(max_concurrent=11).success


@pytest.mark.requirement("GIF-06", "GIF-07", "GIF-08")
def test_images_come_from_a_bucket_and_gifs_go_there_and_get_links_when_asked_for(
    tmp_path: Path, s3_bucket: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMM_STORE", f"s3://{s3_bucket.name}/lamm")
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    house = House(tmp_path / "one")
    told = metadata(house.run())
    assert told["gifs"] == 4
    elsewhere = Workspace(root=str(tmp_path / "another machine"))
    artifact = elsewhere.recording_artifact("drive", "review_gifs")
    links = gifs.links(elsewhere.store, artifact)
    for number, each in enumerate(links.values(), start=1):
        for kind, link in each.items():
            assert f"/lamm/recordings/drive/review_gifs/{artifact.version}/" in str(link)
            assert f"/gifs/sequence_000{number}/{kind}_" in str(link)
            assert "Signature=" in str(link)
            with urllib.request.urlopen(str(link), timeout=30) as answer:  # noqa: S310  the test server's
                assert answer.read(6) == b"GIF89a"
    assert "Signature" not in artifact.file(gifs.FILE_NAME).read_text() + str(told)


def test_gifs_on_a_disk_have_no_links_of_their_own(tmp_path: Path) -> None:
    house = House(tmp_path, (sequence(1), sequence(2, range(90, 92))))
    house.run()
    assert house.artifact is not None
    assert gifs.links(house.workspace.store, house.artifact) == {
        name: {"main": None, "crop": None} for name in ("drive:s0001", "drive:s0002")
    }
