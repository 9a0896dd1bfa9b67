"""The home page: over HTTP, and in Chromium as a person uses it."""

import re
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Browser, expect

from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline_tests.browser import opened
from lamm_pipeline_tests.orchestration.small_runs import SmallRuns
from lamm_pipeline_tests.reports.sites import running
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.dashboard.evaluated import publish
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, scene

pytestmark = pytest.mark.usefixtures("own_environment")

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.mark.requirement("CAT-01", "CAT-05", "CAT-06")
def test_the_dashboard_is_the_present_and_its_feed_goes_on_from_any_place(tmp_path: Path) -> None:
    catalog, _ = populate(tmp_path, [scene(number) for number in range(40)])
    with running(tmp_path) as site:
        assert site.get("/").status == 200
        found = site.get("/api/dashboard").content
        assert (found["scenes"]["scenes"], found["root"]) == (40, str(tmp_path))
        assert {each["group"] for each in found["links"]} == {"here", "dagster"}
        assert all(each["href"] or each["note"] for each in found["links"])
        key = scene(0).scene_id
        for number in range(40):
            catalog.audit.add(f"person-{number}", "tag.add", key, {"tag": "night"})
        found = site.get("/api/dashboard").content["feed"]
        assert [each["actor"] for each in found["entries"]] == [f"person-{number}" for number in range(39, 9, -1)]
        older = site.get(f"/api/activity?before={found['after']}").content
        assert [each["actor"] for each in older["entries"][:10]] == [f"person-{number}" for number in range(9, -1, -1)]
        assert site.get("/api/activity?before=nonsense").status == 400
        with open_instance(tmp_path) as instance:
            SmallRuns(instance, key).rows(key, fails="The disk is full.")
        found = site.get("/api/dashboard").content
        assert [(each["partition"], each["problem"]) for each in found["failed"]] == [(key, "The disk is full.")]


@pytest.mark.requirement("CAT-01", "CAT-02", "CAT-03", "CAT-05", "CAT-06", "UNC-07")
@pytest.mark.parametrize("width", [1400, 400])
def test_a_person_sees_the_state_of_everything_and_gets_to_it(browser: Browser, tmp_path: Path, width: int) -> None:
    root = tmp_path / "many"
    scenes = [replace(scene(number), status="in_review" if number % 3 else "labelled") for number in range(60)]
    catalog, _ = populate(root, scenes)
    with running(root) as site, opened(browser, site.url, width=width) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        tiles = page.locator("#tiles li")
        expect(tiles).to_have_count(5)
        expect(tiles.first).to_contain_text("60")
        expect(page.get_by_role("img", name="Unlabelled: 0, In progress: 0, In review: 40, Labelled: 20")).to_be_visible()
        expect(page.locator("#labelling circle")).to_have_count(2)
        expect(page.locator("#uncertain tbody tr")).to_have_count(8)
        expect(page.locator("#volume")).to_contain_text("Point clouds")
        expect(page.locator("#attention")).to_contain_text("40 scenes to approve")
        expect(page.locator("#links")).to_contain_text("no model is registered yet")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert "NaN" not in page.inner_text("main")
        page.locator("#labelling").get_by_role("link", name="Labelled", exact=True).focus()
        catalog.audit.add("grace", "recording.add", scenes[0].scene_id, {})
        expect(page.locator("#feed li").first).to_contain_text(re.compile("grace added .*just now"))
        focused = page.evaluate("document.activeElement.textContent")
        assert focused == "Labelled"  # what is new does not take people from where they are
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/scenes\?where=status"))
        expect(page.locator("#count")).to_contain_text("20 of 60 scenes")
        page.get_by_role("link", name="Dashboard").click()
        expect(tiles).to_have_count(5)
        page.keyboard.press("/")
        page.keyboard.type(scenes[7].scene_id)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/scenes/{scenes[7].scene_id}")
        assert all(each.startswith(site.url) for each in requested)


@pytest.mark.requirement("CAT-05")
def test_names_and_reasons_are_text_and_never_markup(browser: Browser, tmp_path: Path) -> None:
    world = World(tmp_path / "root")
    publish(world, [0.25, 0.5], evaluation=EVIL, iou=0.5)
    world.catalog.tags.add(["drive"], [EVIL[:90]], EVIL)
    world.catalog.audit.add(EVIL, "evaluation.add", EVIL, {})
    world.catalog.audit.add(EVIL, EVIL[:50], EVIL, {"tag": EVIL})
    with open_instance(world.root) as instance:
        runs = SmallRuns(instance, "drive", EVIL)
        runs.rows("drive", sound=False, lamm__actor=EVIL)
        runs.rows(EVIL, fails=EVIL)
        running_now = {"dagster/partition": EVIL, "lamm/progress": EVIL}
        instance.add_run(dg.DagsterRun(job_name=EVIL, status=dg.DagsterRunStatus.STARTED, tags=running_now))
    with running(world.root) as site, opened(browser, site.url) as page:
        expect(page.locator("#attention")).to_contain_text(EVIL)
        expect(page.locator("#active")).to_contain_text(EVIL)
        expect(page.locator("#evaluations")).to_contain_text(EVIL)
        expect(page.locator("#uncertain")).to_contain_text(EVIL[:90])
        expect(page.locator("#feed")).to_contain_text(EVIL)
        assert page.locator("main img").count() == 0
        assert page.evaluate("window.hacked") is None


@pytest.mark.requirement("CAT-06")
def test_a_new_root_says_what_to_do_first(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path / "new") as site, opened(browser, site.url) as page:
        expect(page.get_by_role("heading", name="Nothing is here yet")).to_be_visible()
        expect(page.locator("#empty-run")).to_have_text(f"lamm run demo.svo2 --root {tmp_path / 'new'}")
        assert page.locator("#empty-launchpad").get_attribute("href") == (
            "http://127.0.0.1:3000/locations/lamm_pipeline.definitions/jobs/production/playground"
        )
        expect(page.locator("#tiles")).to_be_hidden()
        assert "NaN" not in page.inner_text("main")
        World(tmp_path / "new")
        expect(page.get_by_role("heading", name="Nothing is here yet")).to_be_hidden(timeout=15_000)
        expect(page.locator("#tiles li").first).to_contain_text("1")


def test_what_the_home_page_was_is_still_there(browser: Browser, tmp_path: Path) -> None:
    world = World(tmp_path / "root")
    with running(world.root) as site, opened(browser, site.url) as page:
        page.get_by_role("link", name="Recordings", exact=True).click()
        page.get_by_role("row", name="drive").get_by_role("link", name="drive").click()
        page.wait_for_url("**/recordings/drive")
        page.goto(site.url)
        page.get_by_role("link", name="Build a dataset").click()
        expect(page.locator("#builder")).to_be_visible()
