"""What the review page reads and says, over HTTP, and what of it stands in the catalog."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.review.deciding import decide
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceBox
from lamm_pipeline.tracking import identities
from lamm_pipeline.tracking.identities import IdentityRow
from lamm_pipeline.tracking.tracks import TRACKS_FILE, Track, TrackPoint, TrackSet
from lamm_pipeline.tracking.tracks import write as write_tracks
from lamm_pipeline_tests.reports.sites import Answer, Site, decision, publish, publish_gifs, publish_sequences, running
from lamm_pipeline_tests.review.worlds import FOUND, FRAMES, HEIGHT, ONTOLOGY, START_NS, WIDTH, World, detection, mask_of

pytestmark = pytest.mark.usefixtures("own_environment")

CAR, PERSON, SECOND_CAR = "drive:000000:0", "drive:000000:1", "drive:000001:0"
SEQUENCE = SequenceAnnotation(
    "drive:s0001",
    "car",
    None,
    None,
    tuple(SequenceBox(f"drive:{n:06d}", (f"drive:{n:06d}:0",), (0.0625, 0.1, 0.375, 0.45), 0.75) for n in range(2)),
)


def state(site: Site) -> Any:
    return site.get("/api/recordings/drive/state").content


def outcome(answer: Any, site: Site, annotation: str) -> Any:
    """What has become of one annotation, in an answer of the server."""
    data = site.get("/api/recordings/drive/data").content["annotations"]
    ids = [f"drive:{frame:06d}:{number}" for frame, number in zip(data["frame"], data["number"], strict=True)]
    return next((each for each in answer["outcomes"] if ids[each["place"]] == annotation), None)


def undo(site: Site, *ids: int, watermark: int = 0) -> Answer:
    return site.post("/api/recordings/drive/undo", {"actor": "eve", "decisions": list(ids), "watermark": watermark})


# --- what is shown ---


def test_the_page_is_given_all_frames_and_annotations_with_their_versions(world: World, site: Site) -> None:
    sequences = publish_sequences(world, [SEQUENCE])
    data = site.get("/api/recordings/drive/data").content
    assert data["versions"] == {
        "frame": world.frames.version,
        "annotation": world.detections.version,
        "sequence": sequences.version,
        "gifs": None,
    }
    assert (data["width"], data["height"], data["frames"]["index"]) == (WIDTH, HEIGHT, list(range(FRAMES)))
    found = [each for frame in FOUND.values() for each in frame]
    assert data["annotations"]["box_xyxy"] == [list(each.box_xyxy) for each in found]
    assert data["annotations"]["class_id"] == [each.class_id for each in found]
    assert data["annotations"]["frame"] == [0, 0, 1, 3, 3]
    (sequence,) = data["sequences"]
    assert (sequence["id"], sequence["frames"], sequence["annotations"]) == ("drive:s0001", [0, 1], [0, 2])
    assert sequence["box_xyxy"] == [[10.0, 12.0, 60.0, 54.0]] * 2
    assert {each["id"] for each in data["classes"]} == {each.id for each in ONTOLOGY.classes}
    assert "dust" in data["false_positive_types"]
    assert state(site)["actor"] == "ada"


def test_annotations_have_the_tracks_and_masklets_that_were_made_of_them(world: World, site: Site) -> None:
    box = Box3D(0.0, 1.0, 9.0, 4.0, 1.8, 1.5, 0.0)
    point = TrackPoint("drive:000001", 1, START_NS, SECOND_CAR, "car", "Car", 0.75, (12.5, 10.0, 62.5, 50.0), box, box, None)
    row = IdentityRow("drive", "drive:000001", 1, START_NS, 8, 7, SECOND_CAR, 1.0, "masklet", "it prompted it")
    boxes = publish(world, "boxes_3d", {"detections": world.detections.version}, 1, Path.exists)
    found = TrackSet("drive", FRAMES, (Track(7, "car", "Car", (point,)),))
    tracks = publish(world, "tracks", {"boxes_3d": boxes.version}, 1, lambda folder: write_tracks(folder / TRACKS_FILE, found))
    ids = site.get("/api/recordings/drive/data").content["annotations"]
    assert (ids["track_id"], ids["masklet_id"]) == ([None, None, 7, None, None], [None] * 5)
    table = pa.Table.from_pylist([asdict(row)], identities.SCHEMA)
    publish(world, "identities", {"tracks": tracks.version}, 1, lambda folder: pq.write_table(table, folder / identities.FILE_NAME))
    assert site.get("/api/recordings/drive/data").content["annotations"]["masklet_id"] == [None, None, 8, None, None]
    world.detect(FOUND, 0.9)
    assert site.get("/api/recordings/drive/data").content["annotations"]["track_id"] == [None] * 5


def test_masks_are_those_that_coco_reads(site: Site) -> None:
    masks = site.get("/api/recordings/drive/masks?frames=0,3").content["masks"]
    found = {each.detection_id: each for frame in (0, 3) for each in FOUND[frame]}
    assert masks.keys() == found.keys()
    for name, runs in masks.items():
        pixels = np.repeat(np.arange(len(runs)) % 2, runs).reshape((HEIGHT, WIDTH), order="F")
        rle = found[name].mask_rle
        assert np.array_equal(pixels, coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}))


def test_corrected_boxes_and_masks_are_shown_in_place_of_the_models(world: World, site: Site) -> None:
    corrected = mask_of((20.0, 20.0, 40.0, 40.0))
    said = [
        NewDecision("annotation", CAR, "set_mask", {"mask_rle": corrected}),
        NewDecision("annotation", CAR, "set_box", {"box_xyxy": [20.0, 20.0, 40.0, 40.0]}),
    ]
    decide(world.store, world.catalog, ONTOLOGY, (), "drive", said, "ada")
    runs = site.get("/api/recordings/drive/masks?frames=0").content["masks"][CAR]
    assert sum(runs[1::2]) == int(coco_mask.area({"size": corrected["size"], "counts": corrected["counts"].encode()}))
    verdict = state(site)["verdicts"]["annotation"][CAR]
    assert (verdict["box_xyxy"], verdict["corrected_mask"]) == ([20.0, 20.0, 40.0, 40.0], True)


@pytest.mark.requirement("GIF-08", "GIF-09")
def test_gifs_are_shown_with_the_sequence_annotations_they_were_made_of(world: World, site: Site) -> None:
    publish_gifs(world, publish_sequences(world, [SEQUENCE]), {"drive:s0001": b"GIF89a"})
    links = site.get("/api/recordings/drive/data").content["sequences"][0]["gifs"]
    assert set(links) == {"main", "crop"}
    found = site.get(links["crop"])
    assert (found.status, found.headers["content-type"], found.body) == (200, "image/gif", b"GIF89a")
    publish_sequences(world, [SEQUENCE], 2)
    data = site.get("/api/recordings/drive/data").content
    assert data["sequences"][0]["gifs"] == {}
    assert "former sequence annotations" in data["notes"][0]


def test_what_was_made_of_other_detections_is_not_shown_with_these(world: World, site: Site) -> None:
    publish_sequences(world, [SEQUENCE])
    world.detect({0: [detection(0, 0, "car", (10.0, 10.0, 60.0, 50.0))]}, 0.9)
    data = site.get("/api/recordings/drive/data").content
    assert data["sequences"] == []
    assert "made of other detections" in data["notes"][0]
    assert data["frames"]["unlabelled"] == [1, 2, 3]


# --- what is said ---


@pytest.mark.requirement("CAT-13", "SEQ-15", "CUR-03", "CUR-04")
def test_a_decision_stands_in_the_catalog_with_who_when_and_about_which_version(world: World, site: Site) -> None:
    publish_sequences(world, [SEQUENCE])
    said = [
        decision(world, "annotation", PERSON, "exclude", note="a poster"),
        decision(world, "frame", "drive:000002", "reviewed_empty"),
        decision(world, "class", "cone", "exclude"),
        decision(world, "annotation", CAR, "set_class", class_id="van"),
    ]
    answer = site.decide(*said).content
    rows = world.catalog.decisions.of("drive")
    assert answer["ids"] == [each.id for each in rows]
    assert [(each.actor, each.subject, each.action, each.note) for each in rows] == [
        ("eve", PERSON, "exclude", "a poster"),
        ("eve", "drive:000002", "reviewed_empty", ""),
        ("eve", "cone", "exclude", ""),
        ("eve", CAR, "set_class", ""),
    ]
    assert [each.data_version for each in rows] == [world.detections.version, world.frames.version, None, world.detections.version]
    assert outcome(answer, site, PERSON) == {"place": 1, "reviewed": True, "class_id": "person", "excluded_by": "annotation"}
    assert outcome(answer, site, CAR)["class_id"] == "van"
    assert outcome(answer, site, "drive:000003:1")["excluded_by"] == "class"
    assert answer["verdicts"]["frame"]["drive:000002"]["action"] == "reviewed_empty"
    assert answer["verdicts"]["frame"]["drive:000002"]["left_out"] is False
    assert {(each["place"], each["excluded_by"]) for each in state(site)["outcomes"]} >= {(0, None), (1, "annotation"), (4, "class")}


@pytest.mark.requirement("SEQ-15")
def test_what_is_said_of_a_sequence_annotation_reaches_its_annotations(world: World, site: Site) -> None:
    sequences = publish_sequences(world, [SEQUENCE])
    said = {**decision(world, "sequence", "drive:s0001", "set_positive", is_positive=False), "version": sequences.version}
    types = {**said, "action": "set_false_positive_types", "value": {"types": ["dust"]}}
    answer = site.decide(said, types).content
    assert [each["excluded_by"] for each in answer["outcomes"]] == ["sequence", "sequence"]
    assert answer["verdicts"]["sequence"]["drive:s0001"]["left_out"] is True
    kept = site.decide(decision(world, "annotation", SECOND_CAR, "keep"), watermark=answer["watermark"]).content
    assert outcome(kept, site, SECOND_CAR)["excluded_by"] is None
    summary = site.get("/api/recordings/drive/summary").content["progress"]
    assert summary == {"annotations": 5, "annotations_reviewed": 2, "sequences": 1, "sequences_reviewed": 1}


@pytest.mark.requirement("CAT-13")
def test_undo_takes_back_and_undoing_that_brings_back(world: World, site: Site) -> None:
    taken = site.decide(decision(world, "annotation", PERSON, "exclude"), decision(world, "annotation", PERSON, "note", note="hm")).content
    back = undo(site, *taken["ids"], watermark=taken["watermark"]).content
    assert outcome(back, site, PERSON) == {"place": 1, "reviewed": False, "class_id": "person", "excluded_by": None}
    assert back["verdicts"]["annotation"][PERSON]["by"] is None
    again = undo(site, *back["ids"], watermark=back["watermark"]).content
    assert outcome(again, site, PERSON)["excluded_by"] == "annotation"
    assert again["verdicts"]["annotation"][PERSON]["note"] == "hm"
    assert len(world.catalog.decisions.of("drive")) == 6
    assert "undone already" in undo(site, *back["ids"]).content["error"]


def test_decisions_of_another_recording_cannot_be_undone_here(world: World, site: Site) -> None:
    (world.root / "other.svo2").write_text("other")
    add_files(world.catalog, [world.root / "other.svo2"], "ada")
    (number,) = world.catalog.decisions.add("other", [NewDecision("class", "car", "exclude")], "ada")
    found = undo(site, number)
    assert (found.status, found.content["error"]) == (400, f"Recording drive has no decision {number}.")
    assert len(world.catalog.decisions.of("other")) == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"subject": "drive:000000:9"}, "no annotation 'drive:000000:9'"),
        ({"subject": "other:000000:0"}, "no annotation 'other:000000:0'"),
        ({"action": "undo"}, "what can be said"),
        ({"action": "drop table"}, "what can be said"),
        ({"kind": "recording"}, "a decision is about a"),
        ({"action": "set_class", "value": {"class_id": "dragon"}}, "dragon"),
        ({"action": "set_false_positive_types", "value": {"types": ["dragon"]}}, "dragon"),
        ({"action": "set_positive", "value": {"is_positive": "yes"}}, "true or false"),
        ({"action": "set_mask", "value": {"mask_rle": {"size": [1, 1], "counts": "1"}}}, "mask_rle"),
        ({"version": None}, "which data"),
        ({"version": "../../../../etc"}, "no version of data"),
        ({"version": "0123456789abcdef"}, "not there any more"),
        ({"value": []}, "object for `value`"),
        ({"note": 3}, "texts for `version` and `note`"),
        ({"note": "a\0b"}, "characters that are none"),
        ({"note": "\ud800"}, "characters that are none"),
        ({"note": "x" * 10_001}, "10000 characters"),
        ({"subject": ["drive:000000:0"]}, "text for `subject`"),
        ({"subject": "drive:000000:0\n"}, "text for `subject`"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_else_of_the_request_is_taken(
    world: World, site: Site, wrong: dict[str, Any], sentence: str
) -> None:
    found = site.decide(decision(world, "annotation", CAR, "keep"), decision(world, "annotation", PERSON, "exclude") | wrong)
    assert found.status == 400
    assert sentence in found.content["error"]
    assert world.catalog.decisions.of("drive") == []


def test_nobody_can_forge_where_an_annotation_is(world: World, site: Site) -> None:
    elsewhere = [{"frame_id": "drive:000003", "class_id": "cone", "box_xyxy": [0, 0, 1, 1]}]
    site.decide(decision(world, "annotation", PERSON, "exclude", anchor=elsewhere))
    (row,) = world.catalog.decisions.of("drive")
    assert row.value == {"anchor": [{"frame_id": "drive:000000", "class_id": "person", "box_xyxy": [100.0, 20.0, 124.0, 90.0]}]}


def test_too_many_decisions_at_once_are_refused(world: World, site: Site) -> None:
    one = decision(world, "annotation", CAR, "keep")
    assert "1 to 500" in site.decide(*[one] * 501).content["error"]
    assert "1 to 500" in site.decide().content["error"]
    assert len(site.decide(*[one] * 500).content["ids"]) == 500


# --- data and people that move on ---


@pytest.mark.requirement("CAT-13")
def test_a_decision_on_data_that_were_computed_again_meanwhile_stands_and_goes_over(world: World, site: Site) -> None:
    shown = decision(world, "annotation", PERSON, "exclude")
    shown_car = decision(world, "annotation", CAR, "exclude")
    world.detect({0: [detection(0, 0, "person", (101.0, 21.0, 125.0, 91.0))]}, 0.9)
    answer = site.decide(shown, shown_car).content
    assert "computed again" in answer["outdated"]
    first, second = world.catalog.decisions.of("drive")
    assert first.data_version == second.data_version == shown["version"]
    now = state(site)
    assert [(each["place"], each["excluded_by"]) for each in now["outcomes"]] == [(0, "annotation")]
    (lost,) = now["lost"]
    assert (lost["subject"], lost["actor"], lost["action"]) == (CAR, "eve", "exclude")
    assert "overlaps it" in lost["reason"]
    assert site.get("/api/recordings/drive/summary").content["lost"] == 1


def test_a_page_learns_that_others_decide_and_that_data_are_computed_again(world: World, site: Site) -> None:
    first = site.decide(decision(world, "annotation", PERSON, "exclude")).content
    assert first["others"] is False
    decide(world.store, world.catalog, ONTOLOGY, (), "drive", [NewDecision("annotation", CAR, "exclude")], "bob")
    assert site.get("/api/recordings/drive/pulse").content["watermark"] == first["watermark"] + 1
    assert site.decide(decision(world, "annotation", PERSON, "keep"), watermark=first["watermark"]).content["others"] is True
    assert site.decide(decision(world, "annotation", PERSON, "keep"), watermark=first["watermark"] + 2).content["others"] is False
    world.detect({0: []}, 0.9)
    assert site.get("/api/recordings/drive/pulse").content["versions"]["annotation"] == world.detections.version


@pytest.mark.requirement("CAT-13")
def test_the_history_tells_everything_newest_first(world: World, site: Site) -> None:
    taken = site.decide(decision(world, "annotation", PERSON, "exclude"), decision(world, "annotation", CAR, "keep")).content
    undo(site, taken["ids"][0], watermark=taken["watermark"])
    assert site.post("/api/recordings/drive/labelling", {"actor": "eve", "status": "annotated"}).content["status"] == "in_review"
    history = site.get("/api/recordings/drive/history").content
    assert [(each["action"], each["state"]) for each in history["decisions"]] == [
        ("undo 1", "in force"),
        ("keep", "in force"),
        ("exclude", "undone"),
    ]
    (event,) = history["events"]
    assert (event["actor"], event["action"], event["details"]["after"]["status"]) == ("eve", "labelling.set", "in_review")
    only = site.get(f"/api/recordings/drive/history?subject={CAR}").content["decisions"]
    assert [each["subject"] for each in only] == [CAR]
    assert [each["id"] for each in site.get("/api/recordings/drive/history?before=3").content["decisions"]] == [2, 1]
    assert "no labelling status" in site.post("/api/recordings/drive/labelling", {"actor": "eve", "status": "finished"}).content["error"]


def test_recordings_are_listed_page_by_page_and_found_by_key_or_tag(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(60):
        (tmp_path / f"ride{number:02d}.svo2").write_text(str(number))
    add_files(world.catalog, sorted(tmp_path.glob("ride*.svo2")), "ada")
    world.catalog.tags.add(["ride07"], ["night"], "ada")
    with running(tmp_path) as site:
        first = site.get("/api/recordings").content
        assert (first["total"], len(first["recordings"]), first["rows"]) == (61, 50, 50)
        assert [each["recording"] for each in site.get("/api/recordings?offset=60").content["recordings"]] == ["ride59"]
        assert [each["recording"] for each in site.get("/api/recordings?query=DRI").content["recordings"]] == ["drive"]
        (tagged,) = site.get("/api/recordings?query=night").content["recordings"]
        assert (tagged["recording"], tagged["tags"], tagged["status"]) == ("ride07", ["night"], "unlabelled")
