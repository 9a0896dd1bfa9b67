"""Sequence annotations with what people have said about them."""

from collections.abc import Mapping
from dataclasses import replace

from lamm_pipeline.review.decisions import NOTHING, Verdict
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations


def reviewed(annotations: SequenceAnnotations, verdicts: Mapping[str, Verdict], processing_stage: str) -> SequenceAnnotations:
    """The annotations with the flags and classes that people gave them, without those that they excluded.

    Args:
        annotations: as the machine made them.
        verdicts: what people say, by sequence id.
        processing_stage: how far the review is: `imported`, `ready_to_annotate` or `annotated`.
    """
    said = ((each, verdicts.get(each.sequence_id, NOTHING)) for each in annotations.sequences)
    sequences = tuple(_with(each, verdict) for each, verdict in said if not verdict.excluded)
    return replace(annotations, sequences=sequences, processing_stage=processing_stage)


def _with(sequence: SequenceAnnotation, verdict: Verdict) -> SequenceAnnotation:
    return replace(
        sequence,
        class_id=sequence.class_id if verdict.class_id is None else verdict.class_id,
        is_positive=sequence.is_positive if verdict.is_positive is None else verdict.is_positive,
        false_positive_types=sequence.false_positive_types if verdict.false_positive_types is None else verdict.false_positive_types,
    )
