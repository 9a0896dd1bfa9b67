"""KITTI's tracking sequences and detections as the tests use them, scored by TrackEval with KITTI's protocol."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trackeval

SEQUENCES = ("0000", "0003", "0006", "0012")


@dataclass(frozen=True)
class Sequence:
    """PointRCNN's detections: rows `frame type x1 y1 x2 y2 score h w l x y z rotation_y alpha`; scores in 0..1."""

    rows: np.ndarray
    scores: np.ndarray
    frames: int

    def of_frame(self, frame: int) -> np.ndarray:
        return np.flatnonzero(self.rows[:, 0] == frame)


def load(data: Path, sequence: str, kind: str = "Car") -> Sequence:
    folder = data / "kitti_tracking"
    rows = np.loadtxt(folder / f"pointrcnn_{kind}" / f"{sequence}.txt", delimiter=",")
    frames = max(int(line.split()[0]) for line in (folder / "label_02" / f"{sequence}.txt").read_text().splitlines()) + 1
    return Sequence(rows, 1.0 / (1.0 + np.exp(-rows[:, 6])), frames)


def score(data: Path, folder: Path, tracked: Mapping[str, list[tuple[int, int, int]]], kind: str = "Car") -> dict[str, float]:
    """Score `(frame, track id, row of the detections)` per sequence; percent, over all sequences together."""
    (folder / "tracker" / "own" / "data").mkdir(parents=True)
    seqmap = []
    for name, found in tracked.items():
        sequence = load(data, name, kind)
        lines = [
            f"{frame} {track_id} {kind} -1 -1 0 {' '.join(map(str, sequence.rows[row, 2:6]))} -1 -1 -1 -1 -1 -1 -1 {sequence.scores[row]}\n"
            for frame, track_id, row in found
        ]
        (folder / "tracker" / "own" / "data" / f"{name}.txt").write_text("".join(lines))
        seqmap.append(f"{name} empty 000000 {sequence.frames:06d}\n")
    truth = folder / "truth"
    truth.mkdir()
    (truth / "label_02").symlink_to(data / "kitti_tracking" / "label_02")
    (truth / "evaluate_tracking.seqmap.val").write_text("".join(seqmap))
    config = {
        "GT_FOLDER": str(truth),
        "TRACKERS_FOLDER": str(folder / "tracker"),
        "CLASSES_TO_EVAL": [kind.lower()],
        "SPLIT_TO_EVAL": "val",
        "PRINT_CONFIG": False,
    }
    metrics = [
        trackeval.metrics.HOTA(),
        trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
        trackeval.metrics.Identity({"PRINT_CONFIG": False}),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = trackeval.datasets.Kitti2DBox(config)
        sequences = {name: dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("own", name), kind.lower()) for name in tracked}
        hota, clear, identity = (
            metric.combine_sequences({name: metric.eval_sequence(data) for name, data in sequences.items()}) for metric in metrics
        )
    return {
        "hota": 100.0 * float(hota["HOTA"].mean()),
        "mota": 100.0 * float(clear["MOTA"]),
        "idf1": 100.0 * float(identity["IDF1"]),
        "switches": int(clear["IDSW"]),
    }
