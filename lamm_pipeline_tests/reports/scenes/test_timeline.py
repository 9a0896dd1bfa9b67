"""The uncertainty of a scene, frame by frame: what the server tells, and the timeline in Chromium."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lamm_pipeline.reports.scenes import timeline
from lamm_pipeline_tests.browser import opened
from lamm_pipeline_tests.reports.scenes.plots import hovered, need_plotly, wait_for_plot
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import FRAMES, World
from lamm_pipeline_tests.scenes.view.scene_world import EVALUATION, PEAK, EmptyWorld, SceneWorld, row

pytestmark = pytest.mark.usefixtures("own_environment")

ADDRESS = "/api/library/scenes/drive/timeline"


@pytest.fixture
def world(tmp_path: Path) -> SceneWorld:
    """A recording with an evaluation of all frames, and one of two frames with scores of another kind."""
    world = SceneWorld(tmp_path / "root")
    boxes = {"evaluation": "boxes", "model_id": "three <b>detectors</b> & %{y}", "score_kind": "box_disagreement", "iou": None}
    world.publish_uncertainty(row(0, score=0.25, **boxes), row(3, score=0.5, **boxes))
    return world


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    with running(world.root) as found:
        yield found


def publish_view(world: SceneWorld, **made_from: str) -> None:
    """A scene view, as far as other pages know it; of a viewer that is not installed."""
    world._publish("scene_view", {}, lambda folder: (folder / "scene.json").write_text('{"rerun": "0.0.1"}'), **made_from)


def versions(world: SceneWorld) -> dict[str, str]:
    """Of everything that a scene view is made of."""
    found = {asset: world.store.current_version(key_of(world, asset)) for asset in ("detections", "frame_uncertainty")}
    return {asset: version for asset, version in found.items() if version is not None}


def key_of(world: SceneWorld, asset: str) -> timeline.ArtifactKey:
    return timeline.ArtifactKey("recordings", world.key, asset)


@pytest.mark.requirement("UNC-04")
def test_every_evaluation_and_kind_of_score_is_a_line_over_all_frames(site: Site) -> None:
    told = site.get(ADDRESS).content
    assert told["frames"] == list(range(FRAMES))
    assert told["seconds"] == sorted(told["seconds"])
    assert told["seconds"][0] == 0.0
    lines = {(each["evaluation"], each["kind"]): each["scores"] for each in told["series"]}
    assert lines == {
        (EVALUATION, "mutual_information_mean"): [0.9 if n == PEAK else 0.1 for n in range(FRAMES)],
        ("boxes", "box_disagreement"): [0.25, None, None, 0.5],
    }
    ranked = [(each["score_kind"], each["frame_index"]) for each in told["top"]]
    assert ranked[:2] == [("box_disagreement", 3), ("box_disagreement", 0)]
    assert ranked[2:] == [("mutual_information_mean", n) for n in (PEAK, 0, 1, 3)]
    assert (told["problem"], told["left_out"]) == (None, [])


def test_scores_of_frames_that_were_extracted_otherwise_are_not_shown(world: SceneWorld) -> None:
    world._publish("frames", {"other": 1}, world._write_frames)
    with running(world.root) as site:
        told = site.get(ADDRESS).content
    assert (told["series"], told["top"]) == ([], [])
    assert "were made from other frames" in told["problem"]


def test_a_scene_without_frames_or_without_uncertainty_has_an_empty_timeline(tmp_path: Path) -> None:
    empty = EmptyWorld(tmp_path / "empty")
    empty.publish_uncertainty()
    for world in (SceneWorld(tmp_path / "bare"), empty):
        with running(world.root) as site:
            told = site.get(ADDRESS).content
            assert (told["frames"], told["series"], told["top"], told["problem"]) == ([], [], [], None)
            assert site.get("/api/library/scenes/nobody/timeline").status == 404


@pytest.mark.requirement("UNC-05")
def test_a_link_to_a_frame_leads_to_the_page_of_the_scene_until_there_is_a_scene_view(site: Site, world: SceneWorld) -> None:
    answer = site.get("/scenes/drive/view?frame=2")
    assert (answer.status, answer.headers["location"]) == (303, "/scenes/drive?frame=2")
    assert site.get("/scenes/drive/view").headers["location"] == "/scenes/drive"
    assert site.get("/scenes/drive/view?frame=%2F%2Fevil").status == 400
    publish_view(world, **versions(world))
    assert site.get("/scenes/drive/view?frame=2").status == 200


def test_a_scene_view_that_is_older_than_what_is_in_force_is_told(site: Site, world: SceneWorld) -> None:
    assert "`lamm scenes view drive` makes it" in site.get(ADDRESS).content["view"]["note"]
    publish_view(world, **versions(world))
    assert site.get(ADDRESS).content["view"] == {"there": True, "note": None}
    world.publish_uncertainty()
    assert "older than what is in force now: frame uncertainty." in site.get(ADDRESS).content["view"]["note"]
    world._publish("frames", {"other": 1}, world._write_frames)
    note = site.get(ADDRESS).content["view"]["note"]
    assert "detections, frame uncertainty, frames" in note


def test_the_script_that_draws_is_the_installed_one_and_has_an_address_for_each_version(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_plotly()
    address = site.get(ADDRESS).content["plot"]
    answer = site.get(address)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert b"plotly.js" in answer.body[:200]
    assert site.get(address.replace(timeline.plot_version(), "0.0.1")).status == 404
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert site.get(ADDRESS).content["plot"] is None


@pytest.mark.requirement("UNC-04", "CAT-11")
@pytest.mark.parametrize("width", [1400, 400])
def test_a_person_reads_the_timeline_and_looks_closer(site: Site, browser: Browser, width: int) -> None:
    need_plotly()
    with opened(browser, "about:blank", width=width) as page:
        elsewhere: list[str] = []
        page.on("request", lambda request: None if request.url.startswith(site.url) else elsewhere.append(request.url))
        page.goto(f"{site.url}/scenes/drive")
        wait_for_plot(page, 4)
        titles = page.locator("#plot .ytitle, #plot .y2title")
        assert sorted(titles.all_text_contents()) == ["box disagreement", "mutual information"]
        expect(page.locator("#legend label")).to_have_text([f"{EVALUATION} model-v1", "boxes three <b>detectors</b> & %{y}"])
        hovered(page, 1, 0)
        expect(page.locator("#plot .hovertext")).to_contain_text("mutual information 0.9000")
        expect(page.locator("#plot .hovertext")).to_contain_text(f"frame {PEAK}, 0.")
        expect(page.locator("#plot .hovertext")).to_contain_text("model-v1")
        hovered(page, 3, 0)
        expect(page.locator("#plot .hovertext")).to_contain_text("three <b>detectors</b> &")
        page.locator("#plot").scroll_into_view_if_needed()
        area = page.locator("#plot .draglayer .xy .nsewdrag").bounding_box()
        assert area is not None

        def shown() -> list[float]:
            found: list[float] = page.evaluate("document.getElementById('plot')._fullLayout.xaxis.range")
            return found

        whole = shown()
        page.mouse.move(area["x"] + area["width"] * 0.4, area["y"] + 20)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] * 0.8, area["y"] + 25, steps=5)
        page.mouse.up()
        page.wait_for_function("before => document.getElementById('plot')._fullLayout.xaxis.range[0] > before + 0.5", arg=whole[0])
        assert shown()[1] < whole[1]
        assert page.locator("#plot .rangeslider-container").count() == 1
        page.get_by_label("Over").select_option("seconds")
        expect(page.locator("#plot .xtitle")).to_have_text("Seconds from the first frame")
        page.get_by_role("checkbox", name="boxes").uncheck()
        expect(page.locator("#plot .cartesianlayer .scatterlayer .trace")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert elsewhere == []


@pytest.mark.requirement("UNC-05")
def test_without_a_scene_view_a_click_tells_how_it_is_made_and_the_table_leads_to_the_review_page(site: Site, browser: Browser) -> None:
    need_plotly()
    with opened(browser, f"{site.url}/scenes/drive") as page:
        wait_for_plot(page, 4)
        page.mouse.click(*hovered(page, 1, 0))
        expect(page.locator("#frame-note")).to_contain_text(f"Frame {PEAK}: on the review page. There is no 3D view of this scene yet.")
        expect(page.locator("#frame-note code").first).to_have_text("lamm scenes view drive")
        assert page.locator("#frame-note a").get_attribute("href") == f"/recordings/drive#frame={PEAK}"
        first = page.locator("#top-frames table", has_text="mutual information").get_by_role("link").first
        assert first.get_attribute("href") == f"/recordings/drive#frame={PEAK}"
        page.goto(f"{site.url}/scenes/drive/view?frame=1")
        page.wait_for_url("**/scenes/drive?frame=1")
        expect(page.locator("#frame-note")).to_contain_text("Frame 1: on the review page.")


@pytest.mark.requirement("UNC-05")
def test_the_most_uncertain_frames_are_reached_by_keyboard(site: Site, browser: Browser, world: SceneWorld) -> None:
    publish_view(world, **versions(world))
    with opened(browser, f"{site.url}/scenes/drive", expected="400") as page:  # this view is for another viewer
        link = page.locator("#top-frames table", has_text="mutual information").get_by_role("link", name=f"Frame {PEAK}")
        expect(link).to_be_visible()
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/scenes/drive/view?frame={PEAK}")


def test_without_plotly_the_page_says_so_and_has_the_table(site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "plot_script", lambda: None)
    with opened(browser, f"{site.url}/scenes/drive") as page:
        expect(page.locator("#uncertainty-note")).to_contain_text("pip install 'lamm-pipeline[view]'")
        expect(page.locator("#plot")).to_be_hidden()
        expect(page.locator("#top-frames tbody tr")).to_have_count(2 + FRAMES)


def test_scenes_without_current_uncertainty_say_why(browser: Browser, world: SceneWorld, tmp_path: Path) -> None:
    with running(SceneWorld(tmp_path / "bare").root) as site, opened(browser, f"{site.url}/scenes/drive") as page:
        expect(page.locator("#uncertainty-note")).to_contain_text("No model was evaluated on this scene.")
        expect(page.locator("#uncertainty-note code").last).to_have_text("lamm evaluation ensemble drive")
    world._publish("frames", {"other": 1}, world._write_frames)
    with running(world.root) as site, opened(browser, f"{site.url}/scenes/drive") as page:
        expect(page.locator("#uncertainty-note")).to_contain_text("were made from other frames")
        expect(page.locator("#uncertainty-facts")).to_be_hidden()
        expect(page.locator("#plot")).to_be_hidden()
