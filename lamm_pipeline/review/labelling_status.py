"""How far people are with labelling a recording: one column, whatever words a tool uses for it (M-15).

| here | dataset builder | sequence annotation tool |
| --- | --- | --- |
| `unlabelled` | Unlabeled | imported |
| `in_progress` | In Progress | ready_to_annotate, seq_annotation_done |
| `in_review` | In Review | annotated, not yet approved |
| `labelled` | Labeled | annotated and approved |

A status that comes in as `annotated` waits for approval: `in_review`.
"""

from enum import StrEnum

from lamm_pipeline.errors import InputError


class LabellingStatus(StrEnum):
    """How far labelling is, in the order of the work."""

    unlabelled = "unlabelled"
    in_progress = "in_progress"
    in_review = "in_review"
    labelled = "labelled"


_OTHER_WORDS = {
    "unlabeled": LabellingStatus.unlabelled,
    "labeled": LabellingStatus.labelled,
    "imported": LabellingStatus.unlabelled,
    "ready_to_annotate": LabellingStatus.in_progress,
    "seq_annotation_done": LabellingStatus.in_progress,
    "annotated": LabellingStatus.in_review,
}
_STAGES = {
    LabellingStatus.unlabelled: "imported",
    LabellingStatus.in_progress: "ready_to_annotate",
    LabellingStatus.in_review: "annotated",
    LabellingStatus.labelled: "annotated",
}


def parse_status(word: str) -> LabellingStatus:
    """The status that a word of any of the tools means; case, blanks and hyphens make no difference.

    Raises:
        InputError: no tool has such a word.
    """
    plain = word.strip().lower().replace(" ", "_").replace("-", "_")
    if plain in set(LabellingStatus):
        return LabellingStatus(plain)
    if plain not in _OTHER_WORDS:
        raise InputError(f"{word!r} is no labelling status. There are: {', '.join([*LabellingStatus, *_OTHER_WORDS])}.")
    return _OTHER_WORDS[plain]


def processing_stage(status: str) -> str:
    """The word of the sequence annotation tool for a status: `imported`, `ready_to_annotate` or `annotated`."""
    return _STAGES[LabellingStatus(status)]


def advanced(status: str, to: LabellingStatus) -> LabellingStatus:
    """The later of two statuses, for stages that move a recording on and never back."""
    order = list(LabellingStatus)
    return max(LabellingStatus(status), to, key=order.index)
