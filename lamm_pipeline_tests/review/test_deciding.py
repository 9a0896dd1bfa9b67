"""Taking decisions on published data and reading them back."""

from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.review import sequence_annotations
from lamm_pipeline.review.deciding import carried_to, decide, decisions_now, kind_of, sequences_by_annotation
from lamm_pipeline.review.decisions import Action, outcome
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations, SequenceBox
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline_tests.review.worlds import FOUND, HEIGHT, ONTOLOGY, WIDTH, World, detection

TYPES = ("dust", "light")
PERSON = "drive:000000:1"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def say(world: World, *decisions: NewDecision) -> list[int]:
    return decide(world.store, world.catalog, ONTOLOGY, TYPES, "drive", decisions, "ada")


def annotation(subject: str, action: str = "exclude", **value: object) -> NewDecision:
    return NewDecision("annotation", subject, action, value)


def publish_sequences(world: World, box_xyxyn: tuple[float, float, float, float], parameter: int) -> None:
    boxes = tuple(SequenceBox(f"drive:{n:06d}", (f"drive:{n:06d}:0",), box_xyxyn, 0.5) for n in range(2))
    sequence = SequenceAnnotation("drive:s0001", "car", None, None, boxes)
    content = SequenceAnnotations("drive", "cluster", "union_find", {"p": parameter}, {}, None, (sequence,))
    key = ArtifactKey("recordings", "drive", "sequence_annotations")
    identity = Identity("sequence_annotations", "1", {"p": parameter}, {"detections": world.detections.version}, {})
    with world.store.draft(key, identity.version) as draft:
        sequence_annotations.write(draft.directory / sequence_annotations.FILE_NAME, content)
        world.store.publish(key, draft, identity, {}, {})


@pytest.mark.requirement("CUR-03", "CUR-04", "CAT-13")
def test_what_is_said_is_kept_with_the_version_and_the_place_it_is_about(world: World) -> None:
    say(world, annotation(PERSON), NewDecision("frame", "drive:000002", "reviewed_empty"), NewDecision("class", "cone", "exclude"))
    person, frame, cone = world.catalog.decisions.of("drive")
    assert person.data_version == world.detections.version
    assert person.value == {"anchor": [{"frame_id": "drive:000000", "class_id": "person", "box_xyxy": [100.0, 20.0, 124.0, 90.0]}]}
    assert (frame.data_version, frame.value) == (world.frames.version, {})
    assert (cone.data_version, cone.value) == (None, {})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (annotation("drive:000000:7"), "no annotation 'drive:000000:7' in version .* of detections"),
        (NewDecision("frame", "drive:000077", "exclude"), "no frame 'drive:000077'"),
        (NewDecision("sequence", "drive:s0001", "exclude"), "no 'sequence_annotations' of 'drive' yet"),
        (NewDecision("annotation", PERSON, "exclude", {}, "0123456789abcdef"), "0123456789abcdef of 'detections' of 'drive' is not there"),
        (annotation(PERSON, "set_box", box_xyxy=[0, 0, WIDTH + 1, 10]), "reaches out of its image"),
        (annotation(PERSON, "set_mask", mask_rle=rle.encode(np.eye(5, dtype=bool))), "rows and columns, its image"),
        (annotation(PERSON, "set_class", class_id="unicorn"), "unicorn"),
    ],
)
def test_when_one_thing_cannot_be_said_nothing_is_remembered(world: World, wrong: NewDecision, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        say(world, annotation("drive:000000:0"), wrong)
    assert world.catalog.decisions.of("drive") == []


def test_an_unknown_recording_is_said(world: World) -> None:
    with pytest.raises(InputError, match="No recording is called 'typo'"):
        decide(world.store, world.catalog, ONTOLOGY, TYPES, "typo", [annotation(PERSON)], "ada")


def test_decisions_follow_the_detections_when_they_are_computed_again_and_come_back_with_the_old_ones(world: World) -> None:
    say(world, annotation(PERSON), annotation("drive:000003:1", "set_class", class_id="barrier"))
    first = world.detections
    moved = {0: [detection(0, 0, "person", (101.0, 20.0, 125.0, 90.0)), detection(0, 1, "car", (10.0, 10.0, 60.0, 50.0))], 3: FOUND[3][:1]}
    world.detect(FOUND | moved, threshold=0.6)
    carried = decisions_now(world.store, world.catalog, "drive")
    assert carried.state.annotations["drive:000000:0"].excluded
    assert "drive:000000:1" not in carried.state.annotations
    assert [(each.decision.subject, each.decision.action) for each in carried.lost] == [("drive:000003:1", "set_class")]
    say(world, annotation("drive:000000:0", "keep"))
    assert decisions_now(world.store, world.catalog, "drive").state.annotations["drive:000000:0"].action is Action.keep
    world.store.make_current(first)
    back = decisions_now(world.store, world.catalog, "drive")
    assert back.lost == ()
    assert back.state.annotations[PERSON].action is Action.keep
    assert back.state.annotations["drive:000003:1"].class_id == "barrier"
    assert carried_to(world.store, "drive", world.catalog.decisions.of("drive")) == back


@pytest.mark.requirement("SEQ-15")
def test_a_person_corrects_a_sequence_and_it_is_found_again_when_it_is_clustered_anew(world: World) -> None:
    publish_sequences(world, (0.1, 0.1, 0.4, 0.4), 1)
    say(
        world,
        NewDecision("sequence", "drive:s0001", "set_positive", {"is_positive": False}),
        NewDecision("sequence", "drive:s0001", "set_false_positive_types", {"types": ["light"]}),
    )
    [decision, _] = world.catalog.decisions.of("drive")
    assert decision.value["anchor"][0] == {
        "frame_id": "drive:000000",
        "class_id": "car",
        "box_xyxy": pytest.approx([0.1 * WIDTH, 0.1 * HEIGHT, 0.4 * WIDTH, 0.4 * HEIGHT]),
    }
    publish_sequences(world, (0.11, 0.1, 0.41, 0.4), 2)
    state = decisions_now(world.store, world.catalog, "drive").state
    verdict = state.sequences["drive:s0001"]
    assert (verdict.is_positive, verdict.false_positive_types) == (False, ("light",))
    members = sequences_by_annotation(world.store, "drive")
    assert members == {"drive:000000:0": ["drive:s0001"], "drive:000001:0": ["drive:s0001"]}
    seen = outcome(state, "drive:000000", "drive:000000:0", "car", members["drive:000000:0"])
    assert seen.excluded_by is not None
    publish_sequences(world, (0.6, 0.6, 0.9, 0.9), 3)
    assert [each.decision.action for each in decisions_now(world.store, world.catalog, "drive").lost] == [
        "set_positive",
        "set_false_positive_types",
    ]


@pytest.mark.parametrize(
    ("given", "kind", "subject"),
    [
        ("000012", "frame", "drive:000012"),
        ("drive:000012", "frame", "drive:000012"),
        ("000012:3", "annotation", "drive:000012:3"),
        ("drive:000012:3", "annotation", "drive:000012:3"),
        ("s0001", "sequence", "drive:s0001"),
        ("drive:s12345", "sequence", "drive:s12345"),
        ("car", "class", "car"),
    ],
)
def test_what_a_short_or_full_id_is_about(given: str, kind: str, subject: str) -> None:
    assert kind_of(given, "drive") == (kind, subject)


def test_an_id_of_another_recording_is_refused() -> None:
    with pytest.raises(InputError, match="is not of recording drive"):
        kind_of("other:000012:3", "drive")
