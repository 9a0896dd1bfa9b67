"""The pie chart of labelling status: its slices, and the chart as SVG."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lamm_pipeline.review.labelling_status import LabellingStatus

NAMES: Mapping[str, str] = {
    LabellingStatus.unlabelled: "Unlabelled",
    LabellingStatus.in_progress: "In progress",
    LabellingStatus.in_review: "In review",
    LabellingStatus.labelled: "Labelled",
}
COLORS: Mapping[str, str] = {
    LabellingStatus.unlabelled: "#9aa3b2",
    LabellingStatus.in_progress: "#eab308",
    LabellingStatus.in_review: "#2563eb",
    LabellingStatus.labelled: "#16a34a",
}
RADIUS, HOLE = 50.0, 31.0


@dataclass(frozen=True)
class Slice:
    """A slice of the pie.

    Attributes:
        status: labelling status.
        name: for people.
        scenes: how many.
        share: of all, 0 to 1.
        path: outline in SVG's words, in a square of 100 with the centre at 50, 50; empty where there are no scenes.
        color: of the slice.
    """

    status: str
    name: str
    scenes: int
    share: float
    path: str
    color: str


def slices(counts: Mapping[str, int]) -> tuple[Slice, ...]:
    """Slices of the pie, clockwise from the top in the order of the work.

    Args:
        counts: scenes by status; those that are missing have none.
    """
    total = sum(counts.values())
    found, begin = [], 0.0
    for status, name in NAMES.items():
        count = counts.get(status, 0)
        share = count / total if total else 0.0
        found.append(Slice(str(status), name, count, share, _ring(begin, begin + share) if count else "", COLORS[status]))
        begin += share
    return tuple(found)


def as_markdown(chart: Sequence[Slice]) -> str:
    """The chart as a picture within Markdown, with a legend."""
    rows = [
        f'<rect x="118" y="{18 + 20 * number}" width="10" height="10" rx="2" fill="{each.color}"/>'
        f'<text x="134" y="{27 + 20 * number}">{escape(each.name)}: {each.scenes:,} ({each.share:.0%})</text>'
        for number, each in enumerate(chart)
    ]
    ring = [f'<path d="{each.path}" fill="{each.color}"/>' for each in chart if each.path]
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="100" viewBox="0 0 320 100" font-family="sans-serif" font-size="12" '
        f'fill="#8a93a2">{"".join([*ring, *rows])}</svg>'
    )
    told = ", ".join(f"{each.name} {each.scenes:,}" for each in chart)
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()})\n\n{told}"


def _ring(begin: float, end: float) -> str:
    """Outline of a part of the ring; turns are counted clockwise from the top."""
    if end - begin > 1 - 1e-9:  # an arc that ends where it begins is none: two circles, the inner one the other way round
        return f"{_circle(RADIUS, 1)}{_circle(HOLE, 0)}"
    large = int(end - begin > 0.5)
    (ax, ay), (bx, by) = _point(begin, RADIUS), _point(end, RADIUS)
    (cx, cy), (dx, dy) = _point(end, HOLE), _point(begin, HOLE)
    outer = f"M{ax:.3f} {ay:.3f}A{RADIUS} {RADIUS} 0 {large} 1 {bx:.3f} {by:.3f}"
    return f"{outer}L{cx:.3f} {cy:.3f}A{HOLE} {HOLE} 0 {large} 0 {dx:.3f} {dy:.3f}Z"


def _circle(radius: float, clockwise: int) -> str:
    half = f"A{radius} {radius} 0 0 {clockwise}"
    return f"M50 {50 - radius}{half} 50 {50 + radius}{half} 50 {50 - radius}Z"


def _point(turn: float, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return 50 + radius * math.sin(angle), 50 - radius * math.cos(angle)
