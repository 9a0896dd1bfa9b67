"""The sums over all frames of an import, and what only they tell about each annotation."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamm_pipeline.sample_table import replace_annotation_columns

HANDFUL = 5
"""Scores that are the same for up to so many objects may be chance."""


class Tally:
    """Counts of a table of samples, from its batches.

    Attributes:
        frames: number of rows.
        annotations: number of annotations.
        states: frames by state.
        classes: annotations by class id.
        sizes: frames by rows and columns of their image.
        track_lengths: frames on which a track is seen, by its id.
        scores: number of annotations that have a score.
        constant_score: the score that all of them have, None where they differ or are few.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.frames = self.annotations = self.scores = 0
        self.states, self.classes = Counter[str](), Counter[str]()
        self.sizes, self.track_lengths = Counter[tuple[int, int]](), Counter[int]()
        different_scores: set[float] = set()
        for batch in batches:
            found = batch.column("annotations").flatten()
            scores = found.field("score").drop_null()
            self.frames += batch.num_rows
            self.annotations += len(found)
            self.scores += len(scores)
            self.states.update(_counts(batch.column("state")))
            self.classes.update(_counts(found.field("class_id")))
            self.sizes.update(zip(batch.column("height").to_pylist(), batch.column("width").to_pylist(), strict=True))
            self.track_lengths.update(_counts(_tracks_seen(batch.column("annotations"), found.field("track_id"))))
            if len(different_scores) <= 1:
                different_scores.update(scores.unique().to_pylist())
        one_score = self.scores > HANDFUL and len(different_scores) == 1
        self.constant_score: float | None = next(iter(different_scores)) if one_score else None

    def completed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, with what nobody said of scores and tracks."""
        score_source = "constant" if self.constant_score is not None else "model"
        for batch in batches:
            found = batch.column("annotations").flatten()
            unsaid = pc.and_(found.field("score").is_valid(), found.field("score_source").is_null())
            tracks, said = found.field("track_id").to_pylist(), found.field("track_length").to_pylist()
            lengths = [length or (0 if track is None else self.track_lengths[track]) for track, length in zip(tracks, said, strict=True)]
            yield replace_annotation_columns(
                batch,
                score_source=pc.if_else(unsaid, score_source, found.field("score_source")),
                track_length=pa.array(lengths, pa.int32()),
            )


def _counts(values: pa.Array) -> dict[Any, int]:
    counted = pc.value_counts(values)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _tracks_seen(annotations: pa.ListArray, track_ids: pa.Array) -> pa.Array:
    """The track ids of all frames, each once a frame."""
    seen = track_ids.is_valid().to_numpy(zero_copy_only=False)
    frames = np.asarray(pc.list_parent_indices(annotations))[seen]
    pairs = np.unique(np.stack([frames, np.asarray(track_ids.drop_null(), np.int64)]), axis=1)
    return pa.array(pairs[1])
