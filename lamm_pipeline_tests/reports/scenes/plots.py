"""Plots of Plotly in a page."""

import importlib.util

from playwright.sync_api import Page, expect

from lamm_pipeline_tests.needs import need


def need_plotly() -> None:
    """Skip the test where the extra `view` is not installed."""
    need(importlib.util.find_spec("plotly") is not None, "Plotly is not here (pip install 'lamm-pipeline[view]')")


def wait_for_plot(page: Page, traces: int) -> None:
    """Wait until the timeline is drawn: Plotly takes its time on a busy machine."""
    expect(page.locator("#plot .cartesianlayer .scatterlayer .trace")).to_have_count(traces)


def hovered(page: Page, trace: int, point: int) -> tuple[float, float]:
    """Move to a point of the plot and wait until Plotly says what it is; returns where that is."""
    place = page.locator("#plot .cartesianlayer .scatterlayer .trace").nth(trace).locator(".points path").nth(point)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    expect(page.locator("#plot .hoverlayer .hovertext")).to_have_count(1)
    return x, y
