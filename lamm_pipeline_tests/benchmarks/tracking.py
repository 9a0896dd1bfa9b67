"""Our association with 2D boxes against the package `trackers`, on KITTI's tracking sequences with PointRCNN's detections.

All trackers take turns in one process of the peers' environment, ours included: it needs nothing but NumPy and SciPy. TrackEval scores here
what they found.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lamm_pipeline_tests.benchmarks import tracking_worker
from lamm_pipeline_tests.benchmarks.harness import Means, Row, Took, Turns, rates
from lamm_pipeline_tests.tracking import kitti_tracking

TASKS = {"Car": 0.9, "Pedestrian": 0.7}
METRICS = ("hota", "mota", "idf1")
PEERS = ("BoT-SORT", "ByteTrack")  # BoT-SORT without camera compensation


def run(means: Means) -> list[Row]:
    data, rounds = means.real("kitti_tracking").parent, 1 if means.tiny else 9
    rows = []
    for kind, high_score in TASKS.items():
        loaded = {name: kitti_tracking.load(data, name, kind) for name in kitti_tracking.SEQUENCES[-1 if means.tiny else 0 :]}
        folder = means.folder / kind
        folder.mkdir()
        detections = {
            name: [(each.rows[rows_, 2:6].tolist(), each.scores[rows_].tolist()) for rows_ in map(each.of_frame, range(each.frames))]
            for name, each in loaded.items()
        }
        (folder / "in.json").write_text(json.dumps({"sequences": detections, "high_score": high_score}))
        command: list[str | Path] = [
            str(means.peers or sys.executable),
            "-m",
            tracking_worker.__name__,
            folder / "in.json",
            folder / "out.json",
            str(rounds),
        ]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
        results = json.loads((folder / "out.json").read_text())
        for number, result in enumerate(results.values()):
            tracks = {
                name: [(frame, track, int(loaded[name].of_frame(frame)[row])) for frame, track, row in found]
                for name, found in result["tracks"].items()
            }
            result["scores"] = kitti_tracking.score(data, folder / f"score{number}", tracks, kind)
        rows += _rows(f"{kind} at {high_score:g}", results, sum(each.frames for each in loaded.values()))
    return rows


def _rows(task: str, results: dict[str, Any], frames: int) -> list[Row]:
    rows = []
    for name in PEERS:
        ours, peer = results[f"{name}, ours"], results.get(f"{name}, peer")
        if peer is None:
            rows.append(
                Row(f"{task}: 100 - HOTA, {name}'s thresholds", 100.0 - ours["scores"]["hota"], note="no peers: make bench installs them")
            )
            continue
        for metric in METRICS:
            # what is missing to a perfect score, because MOTA may be negative
            mine, theirs = (100.0 - each["scores"][metric] for each in (ours, peer))
            rows.append(Row(f"{task}: 100 - {metric.upper()}", mine, theirs, at_most=1.0, note=f"trackers' {name}"))
        took = {who: Turns(tuple(Took(*each) for each in result["rounds"])) for who, result in (("ours", ours), ("peer", peer))}
        rows += rates(frames, took["ours"], took["peer"], at_least=1.0, note=f"{task}, trackers' {name}", one_thread=True)
    return rows
