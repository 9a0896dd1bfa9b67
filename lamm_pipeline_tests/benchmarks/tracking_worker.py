"""Runs trackers in turns; started by `tracking.py` with the Python of the peers' environment, or with ours where there is no such."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.tracking.byte_track import ByteTracker
from lamm_pipeline.tracking.motion_2d import ImageBoxMotion, botsort_rules

Boxes = NDArray[np.float64]
Update = Callable[[Boxes, Boxes], list[tuple[int, int]]]
"""Gives the `(N, 4)` boxes of a frame with `(N,)` scores their track ids: pairs of row and id, unless it has none."""


def ours(high_score: float, new_track_score: float) -> Update:
    tracker = ByteTracker(botsort_rules(high_score, new_track_score=new_track_score), ImageBoxMotion())

    def update(boxes_xyxy: Boxes, scores: Boxes) -> list[tuple[int, int]]:
        owners = tracker.update(boxes_xyxy, scores, np.zeros(len(scores), np.int64), 1.0)
        return [(row, owner.track_id) for row, owner in enumerate(owners) if owner is not None and owner.track_id]

    return update


def peer(kind: str, **settings: Any) -> Update:
    """A tracker of the package `trackers`."""
    import supervision
    import trackers

    tracker = getattr(trackers, kind)(**settings)

    def update(boxes_xyxy: Boxes, scores: Boxes) -> list[tuple[int, int]]:
        rows = np.arange(len(scores))
        seen = tracker.update(supervision.Detections(xyxy=boxes_xyxy, confidence=scores, class_id=0 * rows, data={"row": rows}))
        return [(int(row), int(each) + 1) for row, each in zip(seen.data.get("row", ()), seen.tracker_id, strict=True) if each >= 0]

    return update


def variants(high_score: float) -> dict[str, Callable[[], Update]]:
    """What takes turns: each tracker of the package `trackers`, if it is here, and ours with the same thresholds.

    New tracks need 0.1 more than the high score, as in the paper, or, where that is a score of 1, which nothing has, half as much; the
    package's ByteTrack starts them from the high score on.
    """
    careful = min(high_score + 0.1, (1.0 + high_score) / 2.0)
    found = {
        "BoT-SORT, ours": lambda: ours(high_score, careful),
        "ByteTrack, ours": lambda: ours(high_score, high_score),
    }
    if find_spec("trackers") is not None:
        given = {"high_conf_det_threshold": high_score}
        found["BoT-SORT, peer"] = lambda: peer("BoTSORTTracker", enable_cmc=False, track_activation_threshold=careful, **given)
        found["ByteTrack, peer"] = lambda: peer("ByteTrackTracker", track_activation_threshold=high_score, **given)
    return found


def follow(make: Callable[[], Update], sequences: Mapping[str, list[tuple[Boxes, Boxes]]]) -> tuple[dict[str, Any], list[float]]:
    """Track all sequences; returns `(frame, track id, row of the frame)` by sequence, and the seconds of wall and CPU time."""
    tracks = {}
    wall, cpu = time.perf_counter(), time.process_time()
    for name, frames in sequences.items():
        update = make()
        tracks[name] = [(number, each, row) for number, frame in enumerate(frames) for row, each in update(*frame)]
    return tracks, [time.perf_counter() - wall, time.process_time() - cpu]


def main(inputs: Path, outputs: Path, rounds: int) -> None:
    given = json.loads(inputs.read_text())
    sequences = {
        name: [(np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64)) for boxes, scores in frames]
        for name, frames in given["sequences"].items()
    }
    makers = variants(given["high_score"])
    results: dict[str, Any] = {name: {"rounds": []} for name in makers}
    for number in range(rounds):
        for name in list(makers)[:: -1 if number % 2 else 1]:
            results[name]["tracks"], took = follow(makers[name], sequences)
            results[name]["rounds"].append(took)
    outputs.write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
