"""The pie chart of labelling status: its slices, and the chart as SVG."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
SEAM = 0.3
"""Slices overlap by so many hundredths, so that nothing shines through between them."""


@dataclass(frozen=True)
class Slice:
    """A slice of the pie.

    Attributes:
        status: labelling status.
        name: for people.
        scenes: how many.
        begin: where it begins, in shares of the circle, clockwise from the top.
        share: of all, 0 to 1.
    """

    status: str
    name: str
    scenes: int
    begin: float
    share: float


def slices(counts: Mapping[str, int]) -> tuple[Slice, ...]:
    """Slices of the pie in the order of the work.

    Args:
        counts: scenes by status; those that are missing have none.
    """
    total = sum(counts.values())
    found, before = [], 0
    for status, name in NAMES.items():
        count = counts.get(status, 0)
        found.append(Slice(str(status), name, count, before / total if total else 0.0, count / total if total else 0.0))
        before += count
    return tuple(found)


def as_markdown(chart: Sequence[Slice]) -> str:
    """The chart as a picture within Markdown, with the numbers. Below 1,000 characters, so that Dagster shows it at once."""
    rings = "".join(
        f'<circle cx="40" cy="40" r="30" stroke="{COLORS[each.status]}" pathLength="100" '
        f'stroke-dasharray="{100 * each.share + SEAM:.2f} 100" stroke-dashoffset="{-100 * each.begin:.2f}"/>'
        for each in chart
        if each.scenes
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="80">'
    picture = f'{head}<g fill="none" stroke-width="19" transform="rotate(-90 40 40)">{rings}</g></svg>'
    told = ", ".join(f"{each.name} {each.scenes}" for each in chart)
    return f"![Labelling](data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()})\n\n{told}"
