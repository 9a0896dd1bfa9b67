"""Box plots of tags as SVG, for places that show pictures only: Dagster's metadata."""

from collections.abc import Callable, Sequence
from html import escape

from lamm_pipeline.scenes.hotspots.tag_statistics import TagNumbers

WIDTH, LABELS, NUMBERS, ROW, TOP, BOTTOM, MARGIN = 640, 150, 120, 26, 30, 26, 10
MAX_ROWS = 30
MAX_LABEL = 20
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_INK, _SOFT, _BOX, _MEAN = "#1f2937", "#6b7280", "#bfd3ff", "#d23c3c"


def box_plot(title: str, rows: Sequence[TagNumbers]) -> str:
    """Draw the scores of scenes, a box a tag; the dot is the mean, the line through it its interval.

    Args:
        title: said above.
        rows: at least one.
    """
    shown = rows[:MAX_ROWS]
    low, high = min(row.box.minimum for row in shown), max(row.box.maximum for row in shown)
    step = next((each for each in _STEPS if each * 5 >= high - low), _STEPS[-1] * max(1.0, high - low))
    start = step * int(low / step)
    steps = max(1, round((high - start) / step + 0.499))
    left, right = LABELS, WIDTH - NUMBERS

    def x(value: float) -> str:
        return f"{left + (right - left) * (value - start) / (steps * step):.1f}"

    height = TOP + ROW * len(shown) + BOTTOM
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="18" fill="{_INK}" font-weight="600">{escape(title)}</text>',
    ]
    for number in range(steps + 1):
        at, bottom = x(start + number * step), height - BOTTOM
        parts.append(f'<line x1="{at}" y1="{TOP - 4}" x2="{at}" y2="{bottom}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{at}" y="{bottom + 15}" fill="{_SOFT}" text-anchor="middle">{start + number * step:.4g}</text>')
    for number, row in enumerate(shown):
        parts += _row(row, TOP + ROW * number + ROW // 2, x)
    return "".join([*parts, "</svg>"])


def _row(row: TagNumbers, y: int, x: Callable[[float], str]) -> list[str]:
    box, name = row.box, "all scenes" if row.tag is None else row.tag
    short = name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…"
    width = float(x(box.third_quartile)) - float(x(box.first_quartile))
    parts = [
        f'<text x="{LABELS - 8}" y="{y + 4}" fill="{_INK}" text-anchor="end">{escape(short)}</text>',
        f'<line x1="{x(box.low_whisker)}" y1="{y}" x2="{x(box.high_whisker)}" y2="{y}" stroke="{_SOFT}"/>',
        f'<rect x="{x(box.first_quartile)}" y="{y - 7}" width="{width:.1f}" height="14" fill="{_BOX}" stroke="{_SOFT}"/>',
        f'<line x1="{x(box.median)}" y1="{y - 7}" x2="{x(box.median)}" y2="{y + 7}" stroke="{_INK}" stroke-width="2"/>',
    ]
    if row.interval is not None:
        parts.append(f'<line x1="{x(row.interval.low)}" y1="{y}" x2="{x(row.interval.high)}" y2="{y}" stroke="{_MEAN}" stroke-width="3"/>')
    said = f"{row.mean:.3g}, {row.scenes} {'scene' if row.scenes == 1 else 'scenes'}"
    parts.append(f'<circle cx="{x(row.mean)}" cy="{y}" r="3.5" fill="{_MEAN}"/>')
    parts.append(f'<text x="{WIDTH - NUMBERS + 10}" y="{y + 4}" fill="{_SOFT}">{said}</text>')
    return parts
