"""What is wrong with an import without making it useless: counted by kind, and listed whole in import.json."""

from dataclasses import dataclass

KINDS = {
    "document": "Something in the documents makes no sense and is not used.",
    "contradiction": "The documents contradict each other, or the images.",
    "frame": "An entry is no frame.",
    "duplicate_frame": "A frame is listed twice.",
    "image_missing": "A frame has no image and is left out.",
    "image_damaged": "An image cannot be read, and its frame is left out.",
    "object": "An object makes no sense and is left out.",
    "box": "A box makes no sense, or there is none.",
    "mask": "A mask cannot be read.",
    "score": "A score is no number from 0 to 1.",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: one of `KINDS`.
        sentence: what is wrong, for people.
        frame: index of the frame, None where it is not of one.
        file: name of the file in the export, None where it is not one.
    """

    kind: str
    sentence: str
    frame: int | None = None
    file: str | None = None
