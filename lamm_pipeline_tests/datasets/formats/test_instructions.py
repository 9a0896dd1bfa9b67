"""Every answer says what the annotations say: each is read back from its text by a parser of its own and recomputed from the frame."""

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.formats.instructions import EMPTY_TASKS, TASKS, Turn, ask, conversation, plural
from lamm_pipeline.sample_table import Annotation, Sample
from lamm_pipeline_tests.datasets.formats.answers import Reader, Words, boxes, masks, metres
from lamm_pipeline_tests.datasets.formats.frames import CLASSES, ONTOLOGY, annotation, manifest

BY_ID = {known.id: known for known in CLASSES.all}
PHRASES = {
    "car": Words("car", "cars"),
    "bus": Words("bus", "buses"),
    "person": Words("person", "people"),
    "dozer": Words("bulldozer", "bulldozers"),
    "worker_ppe": Words("worker with hard hat and safety vest", "workers with hard hat and safety vest"),
    "worker_no_ppe": Words("worker without hard hat", "workers without hard hat"),
    "power_line": Words("power line", "power lines"),
}
READER = Reader(PHRASES.values())
WIDTH, HEIGHT = 640, 480
NOBODY = Path("unused")


@st.composite
def frames(draw: st.DrawFn) -> Sample:
    """Frames with few kinds and boxes on a coarse grid, so that ties, equal distances and crowds are common."""
    frame_id = f"drive:{draw(st.integers(0, 10**6)):06d}"
    annotations = []
    for n in range(draw(st.integers(0, 7))):
        x, y = 40.5 * draw(st.integers(0, 14)), 32.25 * draw(st.integers(0, 13))
        width, height = draw(st.integers(1, 30)), draw(st.integers(1, 30))
        depth = draw(st.none() | st.integers(2, 60))
        found = annotation(
            frame_id, n, draw(st.sampled_from(sorted(PHRASES))), (x, y, x + width, y + height), None if depth is None else 0.5 * depth
        )
        annotations.append(found if draw(st.booleans()) else Annotation(**vars(found) | {"mask_rle": None}))
    state = "kept" if annotations else draw(st.sampled_from(["reviewed_empty", "unlabelled"]))
    return Sample(frame_id, "drive", 0, None, WIDTH, HEIGHT, "a", NOBODY, None, state, tuple(annotations))


def kind(each: Annotation) -> str:
    return PHRASES[each.class_id].one


def counted(sample: Sample) -> dict[str, int]:
    return dict(Counter(map(kind, sample.annotations)))


def of_kind(sample: Sample, name: str) -> list[Annotation]:
    return [each for each in sample.annotations if kind(each) == name]


def only(sample: Sample, name: str) -> Annotation:
    (found,) = of_kind(sample, name)
    return found


def is_box(said: tuple[int, ...], each: Annotation) -> bool:
    x1, y1, x2, y2 = each.box_xyxy
    return all(abs(a - b) <= 0.5 for a, b in zip(said, (x1, y1, x2 - x1, y2 - y1), strict=True))


def distance(each: Annotation) -> float:
    assert each.box_3d is not None
    box = each.box_3d.box
    return math.sqrt(box.x**2 + (box.y - box.height / 2) ** 2 + box.z**2)


def middle(each: Annotation) -> tuple[float, float]:
    x1, y1, x2, y2 = each.box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def place(each: Annotation) -> str:
    x, y = middle(each)
    column = "left" if x < WIDTH / 3 else "centre" if x < 2 * WIDTH / 3 else "right"
    row = "top" if y < HEIGHT / 3 else "centre" if y < 2 * HEIGHT / 3 else "bottom"
    return "centre" if row == column else f"{row} {column}"


def check_boxes(said: list[tuple[int, ...]], wanted: list[Annotation]) -> None:
    """Few objects have their boxes said, each once and in their order; many have none."""
    if len(wanted) > 3:
        assert said == []
    else:
        assert len(said) == len(wanted)
        assert all(map(is_box, said, wanted))


def check_there_are(answer: str, wanted: int) -> None:
    assert answer.startswith("There is " if wanted == 1 else "There are "), answer


def check(sample: Sample, turn: Turn) -> None:
    """Recompute what an answer says."""
    CHECKS[turn.task](sample, turn)


def check_segment_one(sample: Sample, turn: Turn) -> None:
    (name, _, _, _, _, _) = READER.named(turn.answer, r"The NAME is mask (\d+), with its box at \[(-?\d+), (-?\d+), (\d+), (\d+)\]\.")
    assert READER.asked(turn.question) == [name]
    each = only(sample, name)
    assert masks(turn.answer) == [sample.annotations.index(each) + 1]
    assert each.mask_rle is not None
    check_boxes(boxes(turn.answer), [each])


def check_find_and_segment(sample: Sample, turn: Turn) -> None:
    (name,) = READER.asked(turn.question)
    wanted = of_kind(sample, name)
    assert READER.counts(turn.answer) == {name: len(wanted)}
    check_there_are(turn.answer, len(wanted))
    assert masks(turn.answer) == [sample.annotations.index(each) + 1 for each in wanted]
    assert all(each.mask_rle is not None for each in wanted)
    check_boxes(boxes(turn.answer), wanted)


def check_identify_all(sample: Sample, turn: Turn) -> None:
    assert READER.counts(turn.answer) == counted(sample)
    order = list(counted(sample))
    check_there_are(turn.answer, counted(sample)[order[0]])
    check_boxes(boxes(turn.answer), sorted(sample.annotations, key=lambda each: order.index(kind(each))))


def check_count(sample: Sample, turn: Turn) -> None:
    (name,) = READER.asked(turn.question)
    assert READER.counts(turn.answer) == {name: counted(sample)[name]}
    check_there_are(turn.answer, counted(sample)[name])


def check_count_all(sample: Sample, turn: Turn) -> None:
    count = len(sample.annotations)
    assert turn.answer == ("There is 1 object." if count == 1 else f"There are {count} objects.")


def check_list_kinds(sample: Sample, turn: Turn) -> None:
    number, listed = READER.named(turn.answer, r"There (?:is|are) (\d+) kinds?: (.+)\.")
    assert READER.asked(listed) == list(counted(sample))
    assert int(number) == len(counted(sample))
    check_there_are(turn.answer, int(number))


def check_locate(sample: Sample, turn: Turn) -> None:
    (name,) = READER.asked(turn.question)
    wanted = of_kind(sample, name)
    if len(wanted) == 1:
        said, where = READER.named(turn.answer, r"The NAME is at the ([a-z ]+) of the image, with its box at \[[-\d, ]+\]\.")
        assert (said, where) == (name, place(wanted[0]))
    else:
        assert READER.counts(turn.answer.partition(":")[0]) == {name: len(wanted)}
        places = READER.named(turn.answer, r"There are \d+ NAME: (.+)\.")[1]
        found = Counter[str]()
        for part in places.replace(" and ", ", ").split(", "):
            if " at the " in part:
                number, _, where = part.partition(" at the ")
                found[where.split(" with ")[0]] += 1 if number == "one" else int(number)
        assert found == Counter(map(place, wanted))
    check_boxes(boxes(turn.answer), wanted)


def check_distance(sample: Sample, turn: Turn) -> None:
    name, _ = READER.named(turn.answer, r"The NAME is (\d+\.\d) m away\.")
    assert READER.asked(turn.question) == [name]
    assert metres(turn.answer) == [pytest.approx(distance(only(sample, name)), abs=0.051)]


def check_closer_kind(sample: Sample, turn: Turn) -> None:
    near, _, far, _ = READER.named(turn.answer, r"The NAME is closer: it is (\d+\.\d) m away, the NAME (\d+\.\d) m\.")
    assert sorted(READER.asked(turn.question)) == sorted([near, far])
    check_closer(metres(turn.answer), distance(only(sample, near)), distance(only(sample, far)))


def check_closer(said: list[float], near: float, far: float) -> None:
    assert said == [pytest.approx(near, abs=0.051), pytest.approx(far, abs=0.051)]
    assert far - near >= 0.5
    assert far >= 1.1 * near


def check_closer_one(sample: Sample, turn: Turn) -> None:
    near, name, _, far, other, _ = READER.named(
        turn.answer, r"The (left|right) NAME is closer: it is (\d+\.\d) m away, the (left|right) NAME (\d+\.\d) m\."
    )
    assert {near, far} == {"left", "right"}
    assert name == other
    assert set(READER.asked(turn.question)) == {name}
    first, second = of_kind(sample, name)
    left, right = (first, second) if middle(first)[0] < middle(second)[0] else (second, first)
    assert middle(right)[0] - middle(left)[0] >= 0.05 * WIDTH
    by_side = {"left": left, "right": right}
    check_closer(metres(turn.answer), distance(by_side[near]), distance(by_side[far]))


def check_closest(sample: Sample, turn: Turn) -> None:
    (name, *_) = READER.named(turn.answer, r"The NAME with its box at \[[-\d, ]+\] is the closest: it is (\d+\.\d) m away\.")
    assert READER.asked(turn.question) == [name]
    near, *others = sorted(of_kind(sample, name), key=distance)
    assert len(others) > 1
    assert is_box(boxes(turn.answer)[0], near)
    for other in others:
        check_closer([*metres(turn.answer), distance(other)], distance(near), distance(other))


def check_left_or_right(sample: Sample, turn: Turn) -> None:
    first, side, second = READER.named(turn.answer, r"The NAME is to the (left|right) of the NAME\.")
    assert set(READER.asked(turn.question)) == {first, second}
    offset = middle(only(sample, second))[0] - middle(only(sample, first))[0]
    assert (offset if side == "left" else -offset) >= 0.05 * WIDTH


def check_nothing(sample: Sample, turn: Turn) -> None:
    assert sample.annotations == ()
    reviewed = sample.state == "reviewed_empty"
    assert turn.answer == ("There are no objects in this image." if reviewed else "No objects are annotated in this image.")


def check_none_of(sample: Sample, turn: Turn) -> None:
    assert sample.annotations == ()
    assert sample.state == "reviewed_empty"
    name = turn.answer.removeprefix("There are no ").removesuffix(" in this image.")
    assert name in turn.question
    assert name in {plural(known.prompts[0]) for known in CLASSES.all}


CHECKS = {
    "segment_one": check_segment_one,
    "find_and_segment": check_find_and_segment,
    "identify_all": check_identify_all,
    "count": check_count,
    "count_all": check_count_all,
    "list_kinds": check_list_kinds,
    "locate": check_locate,
    "distance": check_distance,
    "closer_kind": check_closer_kind,
    "closer_one": check_closer_one,
    "closest": check_closest,
    "left_or_right": check_left_or_right,
    "nothing": check_nothing,
    "none_of": check_none_of,
}


@pytest.mark.requirement("LLM-05", "LLM-07", "LLM-08")
@settings(max_examples=600)
@given(sample=frames())
def test_every_answer_is_what_the_annotations_say(sample: Sample) -> None:
    turns = ask(sample, BY_ID, len(TASKS))
    assert turns
    assert len({turn.task for turn in turns}) == len(turns)
    for turn in turns:
        check(sample, turn)


@pytest.mark.parametrize("task", [*TASKS, *EMPTY_TASKS])
def test_the_parser_notices_an_answer_about_another_frame(task: str) -> None:
    """The checks above can fail: an answer of one frame is wrong for a frame in which everything differs."""
    here = "kept" if task in TASKS else "reviewed_empty"
    frame_id = "drive:000001"
    one = [annotation(frame_id, 0, "car", (10, 20, 100, 90), 5.0), annotation(frame_id, 1, "car", (300, 20, 390, 95), 9.0)]
    one += [annotation(frame_id, 2, "person", (500, 300, 520, 400), 20.0), annotation(frame_id, 3, "bus", (580, 300, 630, 400), 40.0)]
    if task == "closest":
        one += [annotation(frame_id, 4, "car", (200, 20, 290, 95), 14.0)]
    places = [(400, 200, 600, 290), (5, 5, 25, 50), (500, 5, 525, 50), (30, 300, 50, 400), (60, 300, 80, 400)]
    other = [annotation(frame_id, n, "car" if n < 3 else "person", place, 30.0 + 20 * n) for n, place in enumerate(places)]
    if task not in TASKS:
        one = []
    (turn,) = [turn for turn in ask(sample_of(frame_id, one, here), BY_ID, 20) if turn.task == task]
    check(sample_of(frame_id, one, here), turn)
    with pytest.raises((AssertionError, ValueError)):
        check(sample_of(frame_id, other, "kept"), turn)


def sample_of(frame_id: str, annotations: list[Annotation], state: str = "kept") -> Sample:
    return Sample(frame_id, "drive", 1, None, WIDTH, HEIGHT, "a", NOBODY, None, state, tuple(annotations))


def scenario() -> list[Turn]:
    """What many frames with a person, two cars and a bus are asked."""
    turns = []
    for number in range(300):
        frame_id = f"drive:{number:06d}"
        objects = [annotation(frame_id, 0, "person", (10, 20, 100, 90), 5.0), annotation(frame_id, 1, "car", (200, 20, 290, 90), 9.0)]
        objects.append(annotation(frame_id, 2, "car", (400, 20, 490, 90), 15.0))
        objects.append(annotation(frame_id, 3, "bus", (520, 20, 600, 90), 30.0))
        turns += ask(sample_of(frame_id, objects), BY_ID, 1)
    return turns


@pytest.mark.requirement("LLM-07")
def test_instructions_are_varied_and_those_of_the_specification_are_among_them() -> None:
    questions = Counter(turn.question for turn in scenario())
    assert {"Segment the person.", "Identify all objects.", "Find and segment cars."} <= questions.keys()
    assert {"Which car is closer to the camera?", "How many cars are there?", "Where is the person?"} <= questions.keys()
    assert len(questions) > 30
    assert max(questions.values()) < 30
    assert {turn.task for turn in scenario()} == TASKS.keys() - {"closest"}


@pytest.mark.requirement("LLM-07", "NFR-09")
def test_the_questions_depend_on_the_frame_alone_in_every_process() -> None:
    code = "from lamm_pipeline_tests.datasets.formats.test_instructions import scenario\nprint([turn.question for turn in scenario()])"
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert told.stdout.strip() == str([turn.question for turn in scenario()])


@pytest.mark.requirement("LLM-08")
def test_what_is_ambiguous_is_not_asked() -> None:
    frame_id = "drive:000001"
    equal = [annotation(frame_id, 0, "person", (10, 20, 50, 90), 10.0), annotation(frame_id, 1, "car", (12, 120, 50, 190), 10.4)]
    tasks = {turn.task for turn in ask(sample_of(frame_id, equal), BY_ID, 20)}
    assert not tasks & {"closer_kind", "left_or_right", "closer_one", "closest"}
    masked = [Annotation(**vars(each) | {"mask_rle": None}) for each in equal]
    assert not {turn.task for turn in ask(sample_of(frame_id, masked), BY_ID, 20)} & {"segment_one", "find_and_segment"}
    flat = ask(sample_of(frame_id, equal), BY_ID, 20, with_3d=False)
    assert not any(metres(turn.answer) for turn in flat)


@pytest.mark.requirement("LLM-08")
def test_of_a_single_class_nothing_is_said_to_be_absent_unless_a_person_has_looked() -> None:
    for number in range(30):
        assert {turn.task for turn in ask(sample_of(f"drive:{number}", [], "unlabelled"), BY_ID, 9)} == {"nothing"}
        assert {turn.task for turn in ask(sample_of(f"drive:{number}", [], "reviewed_empty"), BY_ID, 9)} == {"nothing", "none_of"}


@pytest.mark.requirement("LLM-07")
def test_objects_without_a_label_are_called_unknown_objects() -> None:
    version = manifest().model_copy(update={"extra_classes": ("unknown", "lynx")})
    classes = {known.id: known for known in version_classes(version, ONTOLOGY).all}
    said = set()
    for number in range(40):
        frame_id = f"drive:{number}"
        kinds = [annotation(frame_id, n, class_id, (10 + 90 * n, 20, 80 + 90 * n, 90)) for n, class_id in enumerate(["unknown", "lynx"])]
        said |= {turn.question for turn in ask(sample_of(frame_id, kinds), classes, 3)}
    assert {"Segment the unknown object.", "Find and segment unknown objects.", "Segment the lynx."} <= said
    assert not any("unknowns" in question or "unknown?" in question for question in said)


@pytest.mark.requirement("LLM-05")
def test_turns_alternate_and_the_image_comes_first_once() -> None:
    spoken = conversation([Turn("a", "Q1?", "A1."), Turn("b", "Q2?", "A2.")])
    assert [each["from"] for each in spoken] == ["human", "gpt", "human", "gpt"]
    assert [each["value"] for each in spoken] == ["<image>\nQ1?", "A1.", "Q2?", "A2."]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("car", "cars"),
        ("box", "boxes"),
        ("berry", "berries"),
        ("tray", "trays"),
        ("person on a bicycle", "people on a bicycle"),
        ("sheep", "sheep"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many
