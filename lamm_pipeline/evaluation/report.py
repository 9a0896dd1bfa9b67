"""The outcome of an evaluation, as JSON for scripts and as a table for people."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SOURCES = {"frame": "boxes of each frame alone", "track": "boxes refined over tracks", "masklet": "boxes around masklets"}


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of a result against ground truth; NaN means there was nothing to measure.

    Attributes:
        frames: `evaluated`, `truth`, `result` (counts) and `camera` (whose image the 2D boxes were compared in).
        boxes: whose boxes were scored: `frame` (each frame alone), `track` (refined over time, gaps filled) or `masklet` (around masks).
        detection: by type and for the group `vehicle`: recall, precision, ap, tp, fp, fn, ignored.
        boxes_3d: distance_error_m, center_error_m, yaw_error_deg, axis_error_deg, iou_3d, iou_bev, ap_3d, by_range; `by_class` has the same
            for each type and for `vehicle`.
        tracks: hota, idf1, id_switches and their parts, `by_class` likewise; None when one side has no tracks.
    """

    frames: Mapping[str, int]
    boxes: str
    detection: Mapping[str, Mapping[str, Any]]
    boxes_3d: Mapping[str, Any]
    tracks: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, null for NaN."""
        tracks = None if self.tracks is None else _plain(self.tracks)
        return {
            "frames": _plain(self.frames),
            "boxes": self.boxes,
            "detection": _plain(self.detection),
            "boxes_3d": _plain(self.boxes_3d),
            "tracks": tracks,
        }

    def to_text(self) -> str:
        """A compact table."""
        frames = self.frames
        counts = f"({frames['truth']} have truth, the result has {frames['result']})"
        lines = [
            f"{frames['evaluated']} frames compared in the image of camera {frames['camera']} {counts}, " + _SOURCES[self.boxes],
            "",
            f"{'2D boxes':<16}{'recall':>8}{'precision':>11}{'AP':>8}{'found':>8}{'false':>8}{'missed':>8}",
        ]
        for name, row in self.detection.items():
            shares = f"{_text(row['recall']):>8}{_text(row['precision']):>11}{_text(row['ap']):>8}"
            lines.append(f"{name:<16}{shares}{row['tp']:>8}{row['fp']:>8}{row['fn']:>8}")
        columns = f"{'distance m, %':>16}{'p90 m':>8}{'axis deg':>10}{'IoU bev':>9}{'IoU 3D':>8}{'AP .25 / .5 / .7':>20}"
        lines += ["", f"{'3D boxes':<16}{'pairs':>6}{columns}"]
        lines += [_box_line(name, row) for name, row in (("all", self.boxes_3d), *self.boxes_3d["by_class"].items())]
        lines += [_box_line(f"  at {name} m", row) for name, row in self.boxes_3d["by_range"].items() if row["truth"]]
        lines.append("")
        if self.tracks is None:
            return "\n".join([*lines, "tracks: not on both sides, so not scored"])
        lines.append(f"{'tracks':<16}{'HOTA':>8}{'IDF1':>8}{'MOTA':>8}{'switches':>10}{'IDF1 within 2 m':>17}{'true':>6}{'found':>7}")
        for name, row in (("all", self.tracks), *self.tracks["by_class"].items()):
            shares = f"{_text(row['hota']):>8}{_text(row['idf1']):>8}{_text(row['mota']):>8}{row['id_switches']:>10}"
            lines.append(f"{name:<16}{shares}{_text(row['idf1_center_2m']):>17}{row['truth_tracks']:>6}{row['result_tracks']:>7}")
        return "\n".join(lines)


def _box_line(name: str, row: Mapping[str, Any]) -> str:
    distance = row["distance_error_m"]
    error = f"{_text(distance['median'])}, {_text(distance['median_percent'], 1)}"
    ap = " / ".join(_text(value) for value in row["ap_3d"].values()) if "ap_3d" in row else ""
    angle, bev, volume = _text(row["axis_error_deg"]["median"], 1), _text(row["iou_bev"]["median"]), _text(row["iou_3d"]["median"])
    return f"{name:<16}{row['pairs']:>6}{error:>16}{_text(distance['p90']):>8}{angle:>10}{bev:>9}{volume:>8}{ap:>20}".rstrip()


def _text(value: float, decimals: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
