"""What is wrong with an import without making it useless, and what holds nothing: counted by kind, and listed whole in import.json."""

from dataclasses import dataclass

KINDS = {
    "document": "Something in the documents makes no sense and is not used.",
    "contradiction": "The documents contradict each other, or the images.",
    "frame": "An entry is no frame.",
    "duplicate_frame": "A frame is listed twice.",
    "image_missing": "A frame has no image and is left out.",
    "image_damaged": "An image cannot be read, and its frame is left out.",
    "object": "Something about an object makes no sense and is not used; the object is left out where nothing else places it.",
    "box": "A box makes no sense, or there is none.",
    "mask": "A mask cannot be read.",
    "score": "A score is no number from 0 to 1.",
}
"""What is wrong."""

LEFT_OUT = {
    "empty_frame": "A frame has neither an image nor objects.",
    "unseen_object": "An object is listed with a mask without pixels, as trackers do where it is out of sight.",
}
"""What holds nothing, and is left out without a warning."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or left out.

    Attributes:
        kind: one of `KINDS` or `LEFT_OUT`.
        sentence: what it is, for people.
        frame: index of the frame, None where it is not of one.
        file: name of the file in the export, None where it is not one.
    """

    kind: str
    sentence: str
    frame: int | None = None
    file: str | None = None
