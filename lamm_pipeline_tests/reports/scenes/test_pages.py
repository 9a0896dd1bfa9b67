"""The scene library and the page of a scene: over HTTP, and in Chromium as a person uses them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.scenes.library.collect import collect, known
from lamm_pipeline.scenes.library.dataset_draft import BUILT, change_draft, read_draft
from lamm_pipeline_tests.browser import opened
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, publish_library, publish_uncertainty, scene

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def many(tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """A site with 120 scenes."""
    root = tmp_path / "many"
    populate(root, [scene(number) for number in range(120)])
    with running(root) as site:
        yield site, root


def worlds(root: Path, *names: str) -> World:
    """Recordings that datasets can be made of."""
    for name in names[1:]:
        World(root, name)
    return World(root, names[0])


@pytest.mark.requirement("CAT-07", "CAT-08", "CAT-10", "UNC-03")
def test_questions_are_answered_page_by_page(many: tuple[Site, Path]) -> None:
    site, _ = many
    found = site.get("/api/library?sort=-max_uncertainty").content
    assert (len(found["scenes"]), found["total"], found["all"], found["refreshed"]) == (50, 120, 120, True)
    values = [each["max_uncertainty"] for each in found["scenes"]]
    assert values == sorted(values, reverse=True)
    rest = site.get("/api/library?sort=-max_uncertainty&offset=100").content["scenes"]
    assert len(rest) == 20
    assert rest[-1]["max_uncertainty"] is None
    some = site.get("/api/library?where=max_uncertainty%20%3E%200.6%20and%20%27rain%27%20in%20tags&search=harb").content["scenes"]
    assert all(each["max_uncertainty"] > 0.6 and "rain" in each["tags"] and "harb" in each["scene_id"] for each in some)
    wrong = site.get("/api/library?where=frames%20%3E%201%3B%20DROP%20TABLE%20scenes")
    assert (wrong.status, "is no condition" in wrong.content["error"]) == (400, True)
    assert site.get("/api/library?sort=nothing").status == 400
    words = site.get("/api/library/words").content
    assert (words["tags"], words["labelers"], words["actor"]) == (["city", "highway", "night", "rain", "tunnel"], ["bob", "eve"], "ada")


@pytest.mark.requirement("CAT-09")
def test_changes_are_checked_and_follow_the_rules_of_the_server(many: tuple[Site, Path]) -> None:
    site, _ = many
    keys = [each["scene_id"] for each in site.get("/api/library").content["scenes"]]
    change = {"actor": "eve", "scenes": keys[:3], "tag": "checked"}
    assert site.post("/api/library/changes", change).content == {"chosen": 3, "changed": 3}
    assert site.get("/api/library?search=checked").content["total"] == 3
    assert site.post("/api/library/changes", change, {"X-Lamm-Review": "0"}).status == 403
    assert site.post("/api/library/changes", change, {"Origin": "http://evil.example"}).status == 403
    fitting = site.get("/api/library?where=%27checked%27%20not%20in%20tags").content["total"]
    question = {"actor": "eve", "where": "'checked' not in tags", "search": "", "status": "labelled"}
    assert site.post("/api/library/changes", {**question, "expected": fitting - 1}).status == 400
    assert site.post("/api/library/changes", {**question, "expected": fitting}).content["chosen"] == 117
    for wrong in (
        {"actor": "", "scenes": keys[:1], "tag": "x"},
        {"actor": "eve", "scenes": [], "tag": "x"},
        {"actor": "eve", "scenes": ["nobody"], "tag": "x"},
        {"actor": "eve", "scenes": [3], "tag": "x"},
        {"actor": "eve", "scenes": keys[:1], "tag": 3},
        {"actor": "eve", "scenes": keys[:1], "tag": " "},
        {"actor": "eve", "scenes": keys[:1], "status": "nonsense"},
        {"actor": "eve", "scenes": keys[:1]},
        {"actor": "eve", "where": 3, "search": "", "expected": 1, "tag": "x"},
    ):
        assert site.post("/api/library/changes", wrong).status == 400, wrong
    for wrong_draft in ("..%2Fx", ".x", "a%20b"):
        assert site.post(f"/api/library/drafts/{wrong_draft}/scenes", {"actor": "eve", "scenes": keys[:1]}).status in (400, 404)
    assert site.post("/api/library/drafts/x/scenes", {"actor": "eve", "scenes": ["nobody"]}).status == 400
    assert site.post("/api/library/drafts/x/plan", {"split": {"train_ratio": 0.5}}).status == 400
    assert site.post("/api/library/drafts/x/plan", {"split": 3}).status == 400
    assert site.post("/api/library/drafts/x/save", {"actor": "eve", "scenes": 0}).status == 400
    assert site.get("/scenes/nobody").status == site.get("/api/library/scenes/nobody").status == 404


@pytest.mark.requirement("DSB-01", "DSB-02", "DSB-03", "DSB-05", "DSB-06", "CAT-14")
def test_a_draft_is_saved_as_the_version_that_the_command_line_would_make(tmp_path: Path) -> None:
    world = worlds(tmp_path / "root", "drive", "two", "three")
    with running(world.root) as site:
        site.post("/api/library/drafts/night/scenes", {"actor": "eve", "scenes": ["drive", "two", "three"]})
        split = {"train_ratio": 0.4, "val_ratio": 0.3, "test_ratio": 0.3}
        planned = site.post("/api/library/drafts/night/plan", {"split": split}).content
        assert planned["sentence"] == "Total scenes: 3, Train: 1, Val: 1, Test: 1"
        outdated = site.post("/api/library/drafts/night/save", {"actor": "eve", "scenes": 2, "split": split})
        assert (outdated.status, "has changed" in outdated.content["error"]) == (400, True)
        saved = site.post(
            "/api/library/drafts/night/save", {"actor": "eve", "scenes": 3, "split": split, "formats": ["coco"], "title": "Night"}
        )
        assert saved.status == 200, saved.content
        assert saved.content == {"version": "night.v1", "new": True, "scenes": 3}
        version = read_version(world.root, "night.v1")
        assert [each.recording for each in version.recordings] == ["drive", "three", "two"]
        assert (version.created_by, version.title, version.settings.split.balance_by) == ("eve", "Night", "recordings")
        assert list(version.settings.formats) == ["coco"]
        assert read_draft(world.root, "night").scenes == ()
        assert [each.subject for each in world.catalog.audit.events(action=BUILT, after=0)] == ["night.v1"]
        assert site.get("/api/library?where=used_in_training").content["total"] == 3
        about = site.get("/api/library/scenes/two").content
        assert [(each["version"], each["created_by"]) for each in about["datasets"]] == [("night.v1", "eve")]
        assert site.get("/api/library/scenes/two/runs").content == {"runs": []}
        change_draft(world.root, "night", "eve", add=["drive", "two", "three"])
        again = {"actor": "eve", "scenes": 3, "split": split, "formats": ["coco"]}
        assert site.post("/api/library/drafts/night/save", again).content["new"] is False
        assert site.get("/api/datasets").content["datasets"][0]["created_by"] == "eve"


@pytest.mark.requirement("CAT-07", "CAT-08", "CAT-09", "CAT-10")
@pytest.mark.parametrize("width", [1400, 400])
def test_a_person_finds_sorts_filters_and_tags_scenes(browser: Browser, many: tuple[Site, Path], width: int) -> None:
    site, _ = many
    with opened(browser, f"{site.url}/scenes?sort=-max_uncertainty", width=width) as page:
        rows = page.locator("#table tbody tr")
        expect(rows).to_have_count(50)
        page.get_by_role("button", name="Next").click()
        expect(page.locator("#range")).to_have_text("51 to 100")
        page.get_by_label("Find").fill("harbour")
        expect(page.locator("#count")).to_contain_text("24 of 120 scenes")
        page.get_by_text("Add a filter").click()
        page.locator("#filter-column").select_option("tags")
        page.locator("#filter-value").fill("rain")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#where")).to_have_value("'rain' in tags")
        expect(rows.first.locator(".chips")).to_contain_text("rain")
        page.locator("#choose-page").check()
        number = rows.count()
        expect(page.locator("#chosen-count")).to_have_text(f"{number} chosen")
        page.get_by_role("button", name="Add tag").click()
        page.locator("#dialog input").fill("wet roads")
        page.locator("#dialog-ok").click()
        page.get_by_label("Your name").fill("eve")
        page.locator("#dialog-ok").click()
        expect(rows.first.locator(".chips")).to_contain_text("wet roads")
        expect(page.locator("#note")).to_have_text(f"{number} of {number} scenes changed.")
        assert "where=" in page.url
        page.reload()
        expect(rows).to_have_count(number)
        assert page.evaluate("document.documentElement.scrollWidth") == width
    found = site.get("/api/library?where=%27wet%20roads%27%20in%20tags").content["scenes"]
    assert len(found) == number
    assert all("rain" in each["tags"] and "harbour" in each["scene_id"] for each in found)


@pytest.mark.requirement("CAT-08")
def test_a_wrong_condition_is_told_and_the_page_goes_on(browser: Browser, many: tuple[Site, Path]) -> None:
    site, _ = many
    with opened(browser, f"{site.url}/scenes", expected="400") as page:
        expect(page.locator("#table tbody tr")).to_have_count(50)
        page.locator("#where").fill("max_uncertainty >")
        page.locator("#where").press("Enter")
        expect(page.get_by_role("alert").first).to_contain_text("is no condition")
        page.locator("#where").fill("max_uncertainty > 2")
        page.locator("#where").press("Enter")
        expect(page.locator("#count")).to_have_text("No scene fits.")


@pytest.mark.requirement("CAT-09", "DSB-02", "DSB-03", "DSB-04", "SPL-08", "AV-20")
def test_a_person_builds_a_dataset_beside_the_library(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "root"
    populate(root, [scene(number) for number in range(200)])
    with running(root) as site, opened(browser, f"{site.url}/scenes", width=1500) as page:
        expect(page.locator("#table tbody tr")).to_have_count(50)
        page.locator("#choose-page").check()
        page.locator("#choose-all").click()
        expect(page.locator("#chosen-count")).to_have_text("200 chosen")
        page.get_by_role("button", name="Add to draft").click()
        page.get_by_label("Your name").fill("eve")
        page.locator("#dialog-ok").click()
        page.locator("#dialog input").fill("Urban_Night_Scenes")
        page.locator("#dialog-ok").click()
        expect(page.locator("#statistics")).to_have_text("Total scenes: 200, Train: 160, Val: 20, Test: 20")
        page.locator("#train").fill("50")
        page.locator("#val").fill("40")
        expect(page.locator("#statistics")).to_have_text("Total scenes: 200, Train: 100, Val: 80, Test: 20")
        page.locator("#draft-scenes button").first.click()
        expect(page.locator("#statistics")).to_contain_text("Total scenes: 199")
    assert len(read_draft(root, "Urban_Night_Scenes").scenes) == 199


@pytest.mark.requirement("DSB-05", "DSB-06")
def test_a_person_saves_a_draft(browser: Browser, tmp_path: Path) -> None:
    world = worlds(tmp_path / "root", "drive", "two", "three")
    change_draft(world.root, "night", "eve", add=["drive", "two", "three"])
    with running(world.root) as site, opened(browser, f"{site.url}/scenes") as page:
        page.get_by_role("button", name="Dataset builder").click()
        expect(page.locator("#statistics")).to_have_text("Total scenes: 3, Train: 1, Val: 1, Test: 1")
        page.get_by_role("button", name="Save 3 scenes as a version").click()
        page.get_by_label("Your name").fill("eve")
        page.locator("#dialog-ok").click()
        expect(page.locator("#dialog-title")).to_have_text("Save night?")
        page.locator("#dialog-ok").click()
        expect(page.locator("#draft-message")).to_have_text("Saved as night.v1.")
        expect(page.locator("#table tbody tr").first).to_contain_text("night.v1")
    assert world.catalog.versions.get("night.v1").created_by == "eve"


@pytest.mark.requirement("CAT-07", "CAT-11", "CAT-13", "CAT-14", "UNC-02")
@pytest.mark.parametrize("width", [1300, 400])
def test_the_page_of_a_scene_tells_all_of_it(browser: Browser, tmp_path: Path, width: int) -> None:
    world = World(tmp_path / "root")
    (world.root / "drive.gps.json").write_text('{"start": [48.1372, 11.5755]}')
    publish_uncertainty(world.store, "drive", [("nightly", "2", 0.5), ("nightly", "2", 0.25)])
    publish_library(world.store, collect(world.store, known(world.catalog, world.root), {}, draw=True))
    world.catalog.tags.add(["drive"], ["<b>rain</b>"], "eve")
    world.catalog.labelling.set(["drive"], "eve", status="in_review", labeler="bob")
    with running(world.root) as site, opened(browser, f"{site.url}/scenes", width=width) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        row = page.locator("#table tbody tr")
        expect(row).to_contain_text("<b>rain</b>")
        expect(row).to_contain_text("0.500")
        assert row.get_by_role("link", name="start").get_attribute("href") == (
            "https://www.openstreetmap.org/?mlat=48.1372&mlon=11.5755#map=17/48.13720/11.57550"
        )
        page.get_by_role("link", name="drive", exact=True).click()
        expect(page.locator("#scene-id")).to_have_text("drive")
        expect(page.locator("#facts")).to_contain_text("48.13720, 11.57550")
        expect(page.locator("#facts")).to_contain_text("no GPS")  # where it ends
        expect(page.locator("#uncertainty-facts")).to_contain_text("model-nightly")
        expect(page.locator("#history")).to_contain_text("Unlabelled \u2192 In review, labeler nobody \u2192 bob")
        expect(page.locator("#history")).to_contain_text("tag <b>rain</b> added")
        expect(page.locator("#datasets")).to_contain_text("No dataset version has this scene.")
        expect(page.locator("#runs")).to_contain_text("No run of it is known.")
        expect(page.locator("#file")).to_contain_text(str(world.root / "drive.svo2"))
        expect(page.locator("#artifacts")).to_contain_text("frame uncertainty")
        assert page.locator("#pictures img").evaluate_all("all => all.every((each) => each.complete && each.naturalWidth)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.get_by_role("link", name="Review", exact=True).click()
        page.wait_for_url(re.compile("/recordings/drive$"))
        assert all(each.startswith(site.url) for each in requested)


def test_a_library_that_was_never_made_shows_the_recordings_and_an_empty_root_says_so(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    with running(world.root) as site, opened(browser, f"{site.url}/scenes") as page:
        expect(page.locator("#table tbody tr")).to_have_count(1)
        expect(page.locator("#note")).to_contain_text("lamm scenes refresh")
    with running(tmp_path / "empty") as site, opened(browser, f"{site.url}/scenes") as page:
        expect(page.locator("#count")).to_contain_text("There are no scenes yet")
