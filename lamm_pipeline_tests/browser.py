"""Debian's Chromium, driven by Playwright, for tests of pages."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from lamm_pipeline_tests.needs import need

CHROMIUM = Path(shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"]

PATIENCE_S = 60
"""How long a page may take for anything; Playwright's own 5 s are too few where other tests keep the processor and the disk busy."""

expect.set_options(timeout=PATIENCE_S * 1000)

SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
"""Arguments with which pages draw in 3D without a GPU, slowly."""


@contextmanager
def chromium(drawing: Sequence[str] = ("--disable-gpu",)) -> Iterator[Browser]:
    """A browser of our own; skips the test where Chromium is not installed."""
    need(CHROMIUM.exists(), "Chromium is not here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *drawing])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, *, width: int = 1400, height: int = 900, expected: str | None = None) -> Iterator[Page]:
    """A page of a new person's browser; what goes wrong in it, but for `expected`, fails the test."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE_S * 1000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    # what the page no longer wants is aborted, such as the image before the one it shows now
    page.on("requestfailed", lambda request: None if request.failure == "net::ERR_ABORTED" else problems.append(request.url))
    page.goto(url)
    yield page
    page.close()
    unexpected = [each for each in problems if expected is None or expected not in each]
    assert unexpected == []
