"""What differs between two sets of sequence annotations of a recording."""

from collections import Counter
from dataclasses import dataclass

from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations

Box = tuple[str, tuple[str, ...], tuple[float, float, float, float]]


@dataclass(frozen=True)
class Comparison:
    """Sequence ids by what became of them.

    Attributes:
        same: id before and after, of sequences with the same boxes.
        changed: id before and id after, of sequences that share some boxes; one that was divided or joined stands here several times.
        gone: ids before of sequences that share no box with any after.
        new: ids after of sequences that share no box with any before.
        parameters: value before and after of each parameter that differs.
    """

    same: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str], ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]
    parameters: dict[str, tuple[object, object]]

    def counts(self) -> dict[str, int]:
        """How many sequences there are of each kind; of the changed ones those before."""
        return {
            "same": len(self.same),
            "changed": len({before for before, _ in self.changed}),
            "gone": len(self.gone),
            "new": len(self.new),
        }


def compare(before: SequenceAnnotations, after: SequenceAnnotations) -> Comparison:
    """Compare two sets of sequence annotations of one recording by their boxes.

    Args:
        before: of one version.
        after: of another.
    """
    owners = {box: each.sequence_id for each in after.sequences for box in _boxes(each)}
    sizes = {each.sequence_id: len(_boxes(each)) for each in after.sequences}
    same, changed, gone = [], [], []
    for each in before.sequences:
        boxes = _boxes(each)
        found = Counter(owners[box] for box in boxes if box in owners)
        if not found:
            gone.append(each.sequence_id)
        elif len(boxes) == sum(found.values()) == sizes[next(iter(found))] and len(found) == 1:
            same.append((each.sequence_id, next(iter(found))))
        else:
            changed += [(each.sequence_id, name) for name in sorted(found)]
    met = {name for _, name in (*same, *changed)}
    names = dict.fromkeys((*before.parameters, *after.parameters))
    values = {name: (before.parameters.get(name), after.parameters.get(name)) for name in names}
    return Comparison(
        same=tuple(same),
        changed=tuple(changed),
        gone=tuple(gone),
        new=tuple(each.sequence_id for each in after.sequences if each.sequence_id not in met),
        parameters={name: pair for name, pair in values.items() if pair[0] != pair[1]},
    )


def _boxes(sequence: SequenceAnnotation) -> set[Box]:
    return {(box.frame_id, box.annotation_ids, box.box_xyxyn) for box in sequence.boxes}
