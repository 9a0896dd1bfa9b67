"""What a version is like, for the tables and charts of its report; counted while the frames stream by."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamm_pipeline.datasets.validation.annotation_rules import object_area
from lamm_pipeline.datasets.validation.rule import Seen
from lamm_pipeline.sample_table import Annotation, FrameState

MAP_COLUMNS, MAP_ROWS = 32, 18
SIZE_EDGES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Shares of the image between the bars of the size histogram."""
NO_SPLIT = "none"
"""Stands beside the splits for the frames that are in none, where there are any."""


class Statistics:
    """Counts by split and class, sizes of objects, and where in the image their boxes lie."""

    def __init__(self, splits: Sequence[str]) -> None:
        self._splits = splits
        self._frames: Counter[str] = Counter()
        self._negatives: Counter[str] = Counter()
        self._unlabelled: Counter[str] = Counter()
        self._recordings: defaultdict[str, set[str]] = defaultdict(set)
        self._objects: Counter[tuple[str, str]] = Counter()
        self._class_frames: Counter[str] = Counter()
        self._sizes = [0] * (len(SIZE_EDGES) + 1)
        # a box adds 1 at one corner and takes it away behind the others; two sums over the table then count the boxes on each cell
        self._corners = np.zeros((MAP_ROWS + 1, MAP_COLUMNS + 1), np.int64)

    def add(self, seen: Seen) -> None:
        """Count a frame."""
        sample, split = seen.sample, seen.split or NO_SPLIT
        self._frames[split] += 1
        self._recordings[split].add(sample.recording)
        if not sample.annotations:
            (self._negatives if sample.state == FrameState.reviewed_empty else self._unlabelled)[split] += 1
        self._class_frames.update({annotation.class_id for annotation in sample.annotations})
        for annotation in sample.annotations:
            self._objects[annotation.class_id, split] += 1
            portion = object_area(annotation) / (sample.width * sample.height)
            self._sizes[sum(portion >= edge for edge in SIZE_EDGES)] += 1
            self._add_box(annotation, sample.width, sample.height)

    def summary(self) -> dict[str, Any]:
        """Everything counted, as JSON values."""
        splits = [*self._splits, *([NO_SPLIT] if self._frames[NO_SPLIT] else [])]
        objects: Counter[str] = Counter()
        for (_, split), count in self._objects.items():
            objects[split] += count
        classes = Counter[str]()
        for (class_id, _), count in self._objects.items():
            classes[class_id] += count
        total = sum(classes.values())
        return {
            "frames": sum(self._frames.values()),
            "annotations": total,
            "splits": {
                split: {
                    "frames": self._frames[split],
                    "annotations": objects[split],
                    "recordings": len(self._recordings[split]),
                    "reviewed_empty": self._negatives[split],
                    "unlabelled": self._unlabelled[split],
                    "objects_per_frame": round(objects[split] / self._frames[split], 3) if self._frames[split] else 0.0,
                }
                for split in splits
            },
            "classes": {
                class_id: {
                    "annotations": count,
                    "share": round(count / total, 6),
                    "frames": self._class_frames[class_id],
                    "splits": {split: self._objects[class_id, split] for split in splits},
                }
                for class_id, count in sorted(classes.items(), key=lambda item: (-item[1], item[0]))
            },
            "object_sizes": {"edges": list(SIZE_EDGES), "counts": self._sizes},
            "box_positions": self._corners.cumsum(0).cumsum(1)[:-1, :-1].tolist(),
        }

    def _add_box(self, annotation: Annotation, width: int, height: int) -> None:
        if not all(map(math.isfinite, annotation.box_xyxy)):
            return
        x1, y1, x2, y2 = annotation.box_xyxy
        left, right = _cells(x1 / width, x2 / width, MAP_COLUMNS)
        top, bottom = _cells(y1 / height, y2 / height, MAP_ROWS)
        if left < right and top < bottom:
            self._corners[top, left] += 1
            self._corners[top, right] -= 1
            self._corners[bottom, left] -= 1
            self._corners[bottom, right] += 1


def _cells(start: float, stop: float, count: int) -> tuple[int, int]:
    """First cell that an interval touches, and the one behind its last."""
    start, stop = (min(max(side, 0.0), 1.0) for side in (start, stop))
    return math.floor(start * count), math.ceil(stop * count)
