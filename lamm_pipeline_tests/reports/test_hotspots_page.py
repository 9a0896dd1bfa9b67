"""The page of the hotspots: over HTTP, and in Chromium as a person uses it, down to a dataset of hard cases."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, expect

from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline_tests.browser import opened
from lamm_pipeline_tests.reports.sites import running
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.hotspots.scored import ENTROPY, MI, Evaluated, Scored

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Fourteen scenes, less sure in the rain; datasets can be made of three of them."""
    found = tmp_path / "root"
    worlds = [World(found, name) for name in ("drive", "rainy", "calm")]
    scored = Scored(found)
    scored.score(worlds[0].key, Evaluated([0.2, 0.6, 0.1, 0.3]))
    scored.score(worlds[1].key, Evaluated([0.9, 0.7, 0.1, 0.8]), Evaluated([0.5, 0.4, 0.3, 0.2], "<b>model</b>", "other", kind=ENTROPY))
    scored.score(worlds[2].key, Evaluated([0.01, 0.02, 0.03, 0.04]))
    for n in range(11):
        wet = n % 2 == 0
        scored.scene(f"scene-{n:02d}", Evaluated([0.1 + 0.3 * wet + n / 200]), tags=["<i>rain</i>"] if wet else ["sun"])
    scored.hotspots()
    return found


@pytest.mark.requirement("UNC-10", "UNC-11", "UNC-12", "UNC-13")
def test_the_page_is_told_rankings_tags_insights_and_proposals(root: Path) -> None:
    with running(root) as site:
        found = site.get("/api/hotspots").content
        assert (found["published"], found["total"], len(found["ranking"]), found["counts"]["scenes"]) == (True, 14, 14, 14)
        first = found["ranking"][0]
        assert (first["scene_id"], first["max_score"], first["kind"], first["link"]) == (
            "rainy",
            0.9,
            "mutual information",
            "/scenes/rainy",
        )
        assert site.get(first["image"]).status == 200
        assert found["models"] == ["<b>model</b>", "model-a"]
        assert [view["scenes"] for view in found["views"]] == [14, 1]
        assert any("less sure of scenes tagged <i>rain</i>" in sentence for sentence in found["insights"])
        only = site.get("/api/hotspots?model=%3Cb%3Emodel%3C/b%3E").content
        assert ([each["max_score"] for each in only["ranking"]], only["insights"], len(only["views"])) == ([0.5], [], 1)
        assert [each["scene_id"] for each in site.get("/api/hotspots?offset=13").content["ranking"]] == ["calm"]
        assert site.get("/api/hotspots?tag=nothing").content["ranking"] == []
        assert site.get("/api/hotspots?offset=x").status == 400


@pytest.mark.requirement("UNC-03")
def test_the_page_is_told_how_to_make_a_dataset(root: Path) -> None:
    with running(root) as site:
        found = site.get(f"/api/hotspots/dataset?name=hard&top=2&min_gap_frames=2&score_kind={MI}&tags=&above=").content
        assert (found["frames"], found["scenes"], found["problem"]) == (2, {"rainy": 2}, None)
        assert found["command"] == f"lamm dataset create hard --hard-cases-top 2 --hard-cases-gap 2 --hard-cases-score {MI} --root {root}"
        assert yaml.safe_load(found["config"]) == {
            "ops": {"write_version": {"config": {"name": "hard", "hard_cases": {"top": 2, "score_kind": MI, "min_gap_frames": 2}}}}
        }
        mixed = site.get("/api/hotspots/dataset?name=hard&top=2").content
        assert (mixed["frames"], "different kinds" in mixed["problem"]) == (0, True)
        for wrong in ("name=hard", "name=..&top=2", "name=hard&top=x", "name=hard&top=0", "name=hard&min_gap_frames=3"):
            assert site.get(f"/api/hotspots/dataset?{wrong}").status == 400


def test_without_hotspots_the_page_says_how_to_make_them(browser: Browser, tmp_path: Path) -> None:
    World(tmp_path / "root")
    with running(tmp_path / "root") as site:
        assert site.get("/api/hotspots").content == {"published": False}
        with opened(browser, f"{site.url}/hotspots") as page:
            expect(page.get_by_role("alert").first).to_contain_text("lamm hotspots --refresh")


@pytest.mark.requirement("UNC-03", "UNC-10", "UNC-11", "UNC-12", "UNC-13", "DSB-05")
@pytest.mark.parametrize("width", [1400, 400])
def test_a_person_goes_from_a_hotspot_to_a_dataset_of_hard_cases(browser: Browser, root: Path, width: int) -> None:
    with running(root) as site, opened(browser, f"{site.url}/hotspots", width=width, expected="400") as page:  # some scenes have no images
        rows = page.locator("#ranking tbody tr")
        expect(rows).to_have_count(14)
        expect(rows.first).to_contain_text("rainy")
        expect(page.locator("#insights")).to_contain_text("less sure of scenes tagged <i>rain</i>")
        expect(page.locator("#kinds")).to_contain_text("cannot be compared")
        expect(page.locator(".view").first.locator("svg")).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#model").select_option("model-a")
        expect(page.locator("#kinds")).to_be_hidden()
        expect(page.locator(".view")).to_have_count(1)
        page.get_by_role("button", name="sun").click()
        expect(rows).to_have_count(5)
        assert "tag=sun" in page.url
        page.locator("#tag").select_option("")
        expect(rows).to_have_count(14)
        page.locator("#top").fill("3")
        page.locator("#min_gap_frames").fill("2")
        expect(page.locator("#found")).to_have_text("3 frames of 2 scenes")
        page.get_by_role("button", name="Into the dataset builder").click()
        page.get_by_label("Your name").fill("eve")
        page.locator("#dialog-ok").click()
        expect(page.locator("#hard-found")).to_have_text("3 frames of 2 scenes")
        expect(page.locator("#statistics")).to_contain_text("Total scenes: 2")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#hard-top").fill("2")
        expect(page.locator("#hard-found")).to_have_text("2 frames of 1 scene")
        page.locator("#train").fill("100")
        page.locator("#val").fill("0")
        page.locator("#test").fill("0")
        expect(page.locator("#statistics")).to_have_text("Total scenes: 1, Train: 1, Val: 0, Test: 0")
        page.get_by_role("button", name="Save 2 frames as a version").click()
        page.locator("#dialog-ok").click()
        expect(page.locator("#draft-message")).to_have_text("Saved as hard_cases.v1.")
    version = read_version(root, "hard_cases.v1")
    assert version.hard_cases is not None
    assert version.hard_cases.frame_ids == ("rainy:000000", "rainy:000003")
    assert (version.hard_cases.condition.models, version.members) == (["model-a"], ["rainy"])


@pytest.mark.requirement("UNC-03")
def test_a_draft_that_no_frame_fits_cannot_be_saved(root: Path) -> None:
    with running(root) as site:
        site.post("/api/library/drafts/night/scenes", {"actor": "eve", "scenes": ["drive"]})
        hard = {"hard_cases": {"above": "0.95"}}
        planned = site.post("/api/library/drafts/night/plan", hard).content
        assert (planned["hard_cases"]["frames"], planned["hard_cases"]["scenes"]) == (0, 0)
        assert "none is above 0.95" in planned["hard_cases"]["problem"]
        saved = site.post("/api/library/drafts/night/save", {"actor": "eve", "scenes": 1, **hard})
        assert (saved.status, "none is above 0.95" in saved.content["error"]) == (400, True)
        assert site.post("/api/library/drafts/night/plan", {"hard_cases": 3}).status == 400
        assert site.post("/api/library/drafts/night/plan", {}).content["hard_cases"] is None
