"""Scenes on the report server: what it serves, what it refuses, and that a link opens the very frame in a real browser."""

import gzip
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from lamm_pipeline.errors import InputError
from lamm_pipeline.reports.scenes import rerun_viewer, viewer
from lamm_pipeline.scenes.view.scene_view import write_scene
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline_tests.browser import SOFTWARE_WEBGL, chromium, opened
from lamm_pipeline_tests.reports.scenes.plots import hovered, need_plotly, wait_for_plot
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import FRAMES
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun
from lamm_pipeline_tests.scenes.view.scene_world import CLASSES, PEAK, SceneWorld

pytestmark = pytest.mark.usefixtures("own_environment")

WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SceneWorld:
    need_rerun()
    world = SceneWorld(tmp_path_factory.mktemp("scene") / "root")
    source = world.publish_everything()
    world._publish("scene_view", {}, lambda folder: write_scene(source, SceneViewSettings(), folder, workers=1))
    return world


@pytest.fixture(scope="module")
def site(world: SceneWorld) -> Iterator[Site]:
    with running(world.root) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(SOFTWARE_WEBGL) as found:
        yield found


def about(site: Site) -> dict[str, Any]:
    content: dict[str, Any] = site.get("/api/scenes/drive").content
    return content


def test_the_scene_and_the_viewer_come_from_this_server(site: Site, world: SceneWorld) -> None:
    told = about(site)
    scene = site.get(told["scene"])
    assert (scene.status, scene.body[:3]) == (200, b"RRF")
    wasm = site.get(f"{told['viewer']}/re_viewer_bg.wasm")
    assert (wasm.status, wasm.headers["content-type"], wasm.headers["content-encoding"]) == (200, "application/wasm", "gzip")
    assert gzip.decompress(wasm.body)[:4] == b"\0asm"
    script = site.get(f"{told['viewer']}/re_viewer.js")
    assert b"wasm_bindgen" in gzip.decompress(script.body)
    kept = sorted(path.name for path in (world.root / viewer.VIEWER_FOLDER).rglob("*") if path.is_file())
    assert kept == ["re_viewer.js.gz", "re_viewer_bg.wasm.gz"]


@pytest.mark.requirement("NFR-10")
def test_only_the_page_of_a_scene_may_compile_and_no_page_may_ask_other_servers(site: Site) -> None:
    page = site.get("/scenes/drive/view").headers["content-security-policy"]
    assert "script-src 'self' 'wasm-unsafe-eval';" in page
    assert "connect-src 'self';" in page
    assert "wasm" not in site.get("/recordings/drive").headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/scenes/other/view",
        "/api/scenes/other",
        "/scenes/drive/0123456789abcdef/scene.rrd",
        "/scenes/drive/..%2f..%2fframes/scene.rrd",
        "/rerun/0.0.1/re_viewer.js",
        "/rerun/%2e%2e/re_viewer.js",
    ],
)
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert site.get(path).status == 404


def test_other_files_of_the_viewer_are_not_served(site: Site) -> None:
    assert site.get(f"{about(site)['viewer']}/index.html").status == 404


def test_a_recording_without_a_scene_says_what_to_do(tmp_path: Path) -> None:
    world = SceneWorld(tmp_path / "root")
    with running(world.root) as site:
        answer = site.get("/api/scenes/drive")
    assert answer.status == 400
    assert "`lamm scenes view drive` makes it" in answer.content["error"]


def test_a_scene_of_another_rerun_is_to_be_made_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "rerun_version", lambda: "9.9.9")
    assert "Rerun 9.9.9 is installed here" in site.get("/api/scenes/drive").content["error"]


def test_without_rerun_the_answer_says_what_to_install(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert "pip install 'lamm-pipeline[view]'" in site.get("/api/scenes/drive").content["error"]


def test_a_viewer_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="Rerun's viewer does not start"):
        rerun_viewer.viewer_file(tmp_path, "0.41.0", "re_viewer.js")
    assert list(tmp_path.rglob("*.gz")) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_nothing_of_the_viewer_is_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_rerun()
    monkeypatch.setenv("LAMM_TEST_MARK", str(tmp_path))  # all that is started from here has it
    rerun_viewer.viewer_file(tmp_path, "0.41.0", "re_viewer.js")
    assert not any(str(tmp_path).encode() in environment_of(each) for each in Path("/proc").glob("[0-9]*"))


def environment_of(process: Path) -> bytes:
    """Empty for processes that are not ours to look into."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def current_frame(page: Page) -> int | None:
    """Where the viewer's time cursor is, out of its own account of its state: a `GetViewerStateResponse` of `viewer_control.proto`."""
    state = bytes(page.evaluate("window.rerunViewer ? Array.from(window.rerunViewer.viewer_state()) : []"))
    for recording in fields(state).get(3, []):
        for cursor in fields(recording).get(3, []):
            for moment in fields(cursor).get(3, []):
                return int(fields(moment).get(1, [0])[0])
    return None


def fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number: numbers and bytes."""
    found: dict[int, list[Any]] = {}
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        tag = varint()
        value: Any = varint()
        if tag & 7 == 2:
            value, place = message[place : place + value], place + value
        found.setdefault(tag >> 3, []).append(value)
    return found


def wait_for_frame(page: Page, frame: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while current_frame(page) != frame:
        assert time.monotonic() < deadline, f"the viewer shows frame {current_frame(page)}"
        page.wait_for_timeout(200)


@pytest.mark.requirement("UNC-05", "CAT-12")
def test_a_link_opens_the_very_frame_and_nothing_is_asked_of_other_servers(site: Site, browser: Browser) -> None:
    with opened(browser, "about:blank", width=640, height=400) as page:
        elsewhere: list[str] = []
        page.on("request", lambda request: None if request.url.startswith((site.url, "blob:", "data:")) else elsewhere.append(request.url))
        page.goto(f"{site.url}/scenes/drive/view?frame={FRAMES - 1}")
        wait_for_frame(page, FRAMES - 1)
        expect(page.locator("#scene")).to_be_visible()
        assert page.locator("#frame").input_value() == str(FRAMES - 1)
        picture = page.locator("#scene").screenshot()
        page.locator("#frame").fill("1")
        page.keyboard.press("Enter")
        wait_for_frame(page, 1)
        assert page.url.endswith("?frame=1")
        assert page.locator("#scene").screenshot() != picture
        assert elsewhere == []


@pytest.mark.requirement("UNC-05", "UNC-04")
def test_a_click_on_a_peak_of_the_timeline_shows_its_frame(site: Site, browser: Browser) -> None:
    need_plotly()
    with opened(browser, f"{site.url}/scenes/drive") as page:
        wait_for_plot(page, 2)
        page.mouse.click(*hovered(page, 1, 0))
        page.wait_for_url(f"**/scenes/drive/view?frame={PEAK}")
        wait_for_frame(page, PEAK)
        assert page.locator("#title").get_attribute("href") == "/scenes/drive"
        assert page.locator("#classes").inner_text().split() == list(CLASSES)


def test_a_page_that_cannot_load_says_so(site: Site, browser: Browser) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=503, body="")

    with opened(browser, "about:blank", expected="503") as page:
        page.route("**/re_viewer.js", refuse)
        page.goto(f"{site.url}/scenes/drive/view")
        expect(page.get_by_role("status")).to_contain_text("cannot be loaded")
