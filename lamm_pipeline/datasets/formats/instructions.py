"""Questions about a frame and their answers, for models that talk about images.

The answers say what the annotations of the frame say and nothing else: they are computed from it, and a question whose answer would be a
matter of opinion (two objects about equally far away, one above the other) is not asked. Objects are called by the first phrase of their
class's `prompt`. `mask 2` is the second entry of the sample's masks, `[x, y, w, h]` a box in whole pixels; boxes are given where an answer
speaks of at most three objects. What is chosen depends on the frame's id alone, so a frame gets the same questions in every version.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lamm_pipeline.ontology.ontology import ObjectClass
from lamm_pipeline.sample_table import Annotation, FrameState, Sample

IMAGE_TOKEN = "<image>"  # noqa: S105  where LLaVA's readers put the image
MOST_BOXES = 3
SIDE_MARGIN = 0.05
"""Share of the image's width by which two centres must differ before one of them is called left of the other."""

DISTANCE_MARGIN = 0.1
"""Share of the larger of two distances by which they must differ before one is called closer; half a metre at least."""

DISTANCE_MARGIN_M = 0.5
ROWS = ("top", "centre", "bottom")
COLUMNS = ("left", "centre", "right")

Option = TypeVar("Option")


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        task: what kind of question it is, a name in `TASKS` or `EMPTY_TASKS`.
    """

    task: str
    question: str
    answer: str


def conversation(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Turns as LLaVA writes them: `human` and `gpt` alternate, and the image comes before the first question."""
    spoken = []
    for number, turn in enumerate(turns):
        question = turn.question if number else f"{IMAGE_TOKEN}\n{turn.question}"
        spoken += [{"from": "human", "value": question}, {"from": "gpt", "value": turn.answer}]
    return spoken


def ask(sample: Sample, classes: Mapping[str, ObjectClass], turns: int, *, with_3d: bool = True) -> list[Turn]:
    """Questions about a frame.

    Args:
        sample: the frame.
        classes: all classes that a frame could have, by id.
        turns: how many, of different kinds; fewer where the frame has not so many kinds to ask about. There is always one.
        with_3d: whether distances may be spoken of.
    """
    dice = _Dice(sample.frame_id)
    scene = _scene(sample, classes, with_3d=with_3d)
    tasks = TASKS if scene.things else EMPTY_TASKS
    found = []
    for name in dice.shuffled(list(tasks)):
        spoken = tasks[name](scene, dice)
        if spoken is not None:
            found.append(Turn(name, *spoken))
            if len(found) == turns:
                break
    return found


def box_xywh(annotation: Annotation) -> list[float]:
    """x, y, width, height of an annotation's box in pixels, to a thousandth."""
    x1, y1, x2, y2 = annotation.box_xyxy
    return [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]


def plural(phrase: str) -> str:
    """The plural of a phrase for an object: `haul trucks`, `people`, `workers without hard hat`."""
    words = phrase.split(" ")
    end = next((n for n, word in enumerate(words) if n and word in _AFTER_NOUN), len(words))
    return " ".join([*words[: end - 1], _plural_word(words[end - 1]), *words[end:]])


@dataclass(frozen=True)
class _Thing:
    """An object as answers speak of it.

    Attributes:
        number: its place among the sample's masks, from 1.
        box: x, y, width, height in whole pixels.
        centre: of its box, pixels.
        distance_m: from the camera to the middle of its 3D box, None without one.
    """

    number: int
    name: str
    box: tuple[int, int, int, int]
    centre: tuple[float, float]
    has_mask: bool
    distance_m: float | None


@dataclass(frozen=True)
class _Scene:
    """A frame as questions see it.

    Attributes:
        by_name: objects of one name, in the order of the annotations.
        absent: names of which there is certainly nothing: a person has said so.
    """

    things: tuple[_Thing, ...]
    by_name: Mapping[str, tuple[_Thing, ...]]
    width: int
    height: int
    absent: tuple[str, ...]

    def single(self) -> Iterator[_Thing]:
        """The objects that their name alone tells from all others."""
        return (things[0] for things in self.by_name.values() if len(things) == 1)

    def place(self, thing: _Thing) -> str:
        """Where in the image the middle of the object's box is, in words."""
        x, y = thing.centre
        row = ROWS[min(2, max(0, int(3 * y / self.height)))]
        column = COLUMNS[min(2, max(0, int(3 * x / self.width)))]
        return row if row == column else f"{row} {column}"


_Spoken = tuple[str, str]
_Task = Callable[[_Scene, "_Dice"], _Spoken | None]


class _Dice:
    """Choices that depend on a text alone: the same on every machine and in every version of Python."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.thrown = 0
        self.left = 0

    def below(self, bound: int) -> int:
        if self.left < 1 << 32:  # too few bits to be fair with
            self.left = int.from_bytes(hashlib.blake2b(f"{self.seed}/{self.thrown}".encode(), digest_size=32).digest(), "big")
            self.thrown += 1
        self.left, chosen = divmod(self.left, bound)
        return chosen

    def one_of(self, options: Sequence[Option]) -> Option:
        return options[self.below(len(options))]

    def shuffled(self, options: list[Option]) -> Iterator[Option]:
        while options:
            yield options.pop(self.below(len(options)))


def _scene(sample: Sample, classes: Mapping[str, ObjectClass], *, with_3d: bool) -> _Scene:
    things = tuple(_thing(number, each, classes[each.class_id], with_3d=with_3d) for number, each in enumerate(sample.annotations, start=1))
    by_name: dict[str, tuple[_Thing, ...]] = {}
    for thing in things:
        by_name[thing.name] = (*by_name.get(thing.name, ()), thing)
    absent = tuple(_name(known) for known in classes.values()) if sample.state == FrameState.reviewed_empty else ()
    return _Scene(things, by_name, sample.width, sample.height, absent)


@functools.lru_cache(maxsize=1024)
def _name(known: ObjectClass) -> str:
    return " ".join((known.prompts or (known.name,))[0].replace("_", " ").split())


def _thing(number: int, annotation: Annotation, known: ObjectClass, *, with_3d: bool) -> _Thing:
    x1, y1, x2, y2 = annotation.box_xyxy
    placed = annotation.box_3d if with_3d else None
    return _Thing(
        number,
        _name(known),
        (round(x1), round(y1), round(x2 - x1), round(y2 - y1)),
        ((x1 + x2) / 2, (y1 + y2) / 2),
        annotation.mask_rle is not None,
        None if placed is None else math.hypot(placed.box.x, placed.box.y - placed.box.height / 2, placed.box.z),
    )


def _segment_one(scene: _Scene, dice: _Dice) -> _Spoken | None:
    options = [thing for thing in scene.single() if thing.has_mask]
    if not options:
        return None
    thing = dice.one_of(options)
    question = dice.one_of(("Segment the {}.", "Please segment the {}.", "Give the mask of the {}.", "Outline the {} in this image."))
    return question.format(thing.name), f"The {thing.name} is mask {thing.number}, with its box at {list(thing.box)}."


def _find_and_segment(scene: _Scene, dice: _Dice) -> _Spoken | None:
    options = [things for things in scene.by_name.values() if all(thing.has_mask for thing in things)]
    if not options:
        return None
    things = dice.one_of(options)
    question = dice.one_of(("Find and segment {}.", "Segment all {}.", "Find all {} and give their masks.", "Which masks are {}?"))
    masks = f"mask{'s' if len(things) > 1 else ''} {_listed([str(thing.number) for thing in things])}"
    return question.format(plural(things[0].name)), f"{_there_are(things)}: {masks}{_boxes(things, ', with ')}."


def _identify_all(scene: _Scene, dice: _Dice) -> _Spoken:
    question = dice.one_of(("Identify all objects.", "What objects are in this image?", "Which objects can be seen here?"))
    with_boxes = len(scene.things) <= MOST_BOXES
    parts = [f"{_counted(things)}{_boxes(things, ' with ') if with_boxes else ''}" for things in scene.by_name.values()]
    return question, f"There {_are(next(iter(scene.by_name.values())))} {_listed(parts)}."


def _count(scene: _Scene, dice: _Dice) -> _Spoken:
    things = dice.one_of(list(scene.by_name.values()))
    question = dice.one_of(("How many {} are there?", "Count the {}.", "How many {} can be seen in this image?"))
    return question.format(plural(things[0].name)), f"{_there_are(things)}."


def _count_all(scene: _Scene, dice: _Dice) -> _Spoken:
    question = dice.one_of(("How many objects are there?", "Count all objects.", "How many objects can be seen in this image?"))
    count = len(scene.things)
    return question, f"There {'is 1 object' if count == 1 else f'are {count} objects'}."


def _list_kinds(scene: _Scene, dice: _Dice) -> _Spoken:
    question = dice.one_of(("List the kinds of objects.", "What kinds of objects are there?", "Which kinds of objects can be seen?"))
    kinds = list(scene.by_name)
    return question, f"There {'is 1 kind' if len(kinds) == 1 else f'are {len(kinds)} kinds'}: {_listed(kinds)}."


def _locate(scene: _Scene, dice: _Dice) -> _Spoken:
    things = dice.one_of(list(scene.by_name.values()))
    if len(things) == 1:
        question = dice.one_of(("Where is the {}?", "Locate the {}.", "Where in the image is the {}?")).format(things[0].name)
        return question, f"The {things[0].name} is at the {scene.place(things[0])} of the image, with its box at {list(things[0].box)}."
    question = dice.one_of(("Where are the {}?", "Locate the {}.", "Where in the image are the {}?")).format(plural(things[0].name))
    if len(things) <= MOST_BOXES:
        places = [f"one at the {scene.place(thing)} with its box at {list(thing.box)}" for thing in things]
    else:
        where = [scene.place(thing) for thing in things]
        places = [f"{where.count(place)} at the {place}" for place in dict.fromkeys(where)]
    return question, f"{_there_are(things)}: {_listed(places)}."


def _distance(scene: _Scene, dice: _Dice) -> _Spoken | None:
    options = [thing for thing in scene.single() if thing.distance_m is not None]
    if not options:
        return None
    thing = dice.one_of(options)
    question = dice.one_of(("How far away is the {}?", "What is the distance to the {}?", "How far is the {} from the camera?"))
    return question.format(thing.name), f"The {thing.name} is {thing.distance_m:.1f} m away."


def _closer_kind(scene: _Scene, dice: _Dice) -> _Spoken | None:
    """Two objects of different names, each the only one of its name."""
    pairs = [(a, b) for a in scene.single() for b in scene.single() if a is not b and _is_closer(a, b)]
    if not pairs:
        return None
    near, far = dice.one_of(pairs)
    first, second = (near, far) if dice.below(2) else (far, near)
    question = dice.one_of(("Which is closer to the camera, the {} or the {}?", "What is nearer, the {} or the {}?"))
    answer = f"The {near.name} is closer: it is {near.distance_m:.1f} m away, the {far.name} {far.distance_m:.1f} m."
    return question.format(first.name, second.name), answer


def _closer_one(scene: _Scene, dice: _Dice) -> _Spoken | None:
    """Two objects of one name, of which there are no others."""
    options = []
    for things in scene.by_name.values():
        if len(things) == 2:
            left, right = sorted(things, key=lambda thing: thing.centre[0])
            if _is_left(left, right, scene) and (_is_closer(left, right) or _is_closer(right, left)):
                options.append((left, right))
    if not options:
        return None
    left, right = dice.one_of(options)
    question = dice.one_of(("Which {} is closer to the camera?", "Which {0} is closer, the left or the right {0}?"))
    near, far, side, other = (left, right, "left", "right") if _is_closer(left, right) else (right, left, "right", "left")
    answer = f"The {side} {near.name} is closer: it is {near.distance_m:.1f} m away, the {other} {far.name} {far.distance_m:.1f} m."
    return question.format(near.name), answer


def _closest(scene: _Scene, dice: _Dice) -> _Spoken | None:
    """One of three or more of one name, all with a known distance."""
    options = []
    for things in scene.by_name.values():
        if len(things) > 2 and all(thing.distance_m is not None for thing in things):
            near, second, *_ = sorted(things, key=lambda thing: thing.distance_m or 0.0)
            if _is_closer(near, second):
                options.append(near)
    if not options:
        return None
    near = dice.one_of(options)
    question = dice.one_of(("Which {} is closest to the camera?", "Which of the {1} is nearest?"))
    answer = f"The {near.name} with its box at {list(near.box)} is the closest: it is {near.distance_m:.1f} m away."
    return question.format(near.name, plural(near.name)), answer


def _left_or_right(scene: _Scene, dice: _Dice) -> _Spoken | None:
    pairs = [(a, b) for a in scene.single() for b in scene.single() if a is not b and _is_left(a, b, scene)]
    if not pairs:
        return None
    left, right = dice.one_of(pairs)
    first, second, side = (left, right, "left") if dice.below(2) else (right, left, "right")
    question = dice.one_of(("Is the {} to the left or to the right of the {}?", "On which side of the {1} is the {0}?"))
    return question.format(first.name, second.name), f"The {first.name} is to the {side} of the {second.name}."


TASKS: Mapping[str, _Task] = {
    "segment_one": _segment_one,
    "find_and_segment": _find_and_segment,
    "identify_all": _identify_all,
    "count": _count,
    "count_all": _count_all,
    "list_kinds": _list_kinds,
    "locate": _locate,
    "distance": _distance,
    "closer_kind": _closer_kind,
    "closer_one": _closer_one,
    "closest": _closest,
    "left_or_right": _left_or_right,
}
"""Kinds of questions about frames with objects; None where a frame has no such question."""


def _nothing(scene: _Scene, dice: _Dice) -> _Spoken:
    question = dice.one_of(
        ("Identify all objects.", "What objects are in this image?", "Find and segment all objects.", "How many objects are there?")
    )
    return question, "There are no objects in this image." if scene.absent else "No objects are annotated in this image."


def _none_of(scene: _Scene, dice: _Dice) -> _Spoken | None:
    if not scene.absent:
        return None
    many = plural(dice.one_of(scene.absent))
    question = dice.one_of(("Find and segment {}.", "How many {} are there?", "Where are the {}?"))
    return question.format(many), f"There are no {many} in this image."


EMPTY_TASKS: Mapping[str, _Task] = {"nothing": _nothing, "none_of": _none_of}
"""Kinds of questions about frames without objects. Of a single class they are asked only where a person says that nothing is there."""

_AFTER_NOUN = frozenset({"with", "without", "of", "in", "on", "at", "for", "from", "to", "riding"})
_IRREGULAR = {"person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth", "mouse": "mice"}
_UNCHANGED = frozenset({"sheep", "deer", "fish", "aircraft", "equipment", "debris", "traffic", "people", "machinery", "smoke", "water"})


def _plural_word(word: str) -> str:
    if word in _UNCHANGED:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in {"a", "e", "i", "o", "u", ""}:
        return f"{word[:-1]}ies"
    return f"{word}s"


def _is_closer(near: _Thing, far: _Thing) -> bool:
    if near.distance_m is None or far.distance_m is None:
        return False
    return far.distance_m - near.distance_m >= max(DISTANCE_MARGIN_M, DISTANCE_MARGIN * far.distance_m)


def _is_left(left: _Thing, right: _Thing, scene: _Scene) -> bool:
    return right.centre[0] - left.centre[0] >= SIDE_MARGIN * scene.width


def _are(things: Sequence[_Thing]) -> str:
    return "is" if len(things) == 1 else "are"


def _counted(things: Sequence[_Thing]) -> str:
    name = things[0].name
    return f"1 {name}" if len(things) == 1 else f"{len(things)} {plural(name)}"


def _there_are(things: Sequence[_Thing]) -> str:
    return f"There {_are(things)} {_counted(things)}"


def _boxes(things: Sequence[_Thing], before: str) -> str:
    """Where few enough objects are, as a part of a sentence."""
    if len(things) > MOST_BOXES:
        return ""
    noun = "its box" if len(things) == 1 else "boxes"
    return f"{before}{noun} at {_listed([str(list(thing.box)) for thing in things])}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
