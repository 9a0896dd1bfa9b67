"""Similar frames: what thresholds keep, as curation says it and as the page shows it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from lamm_pipeline.curation import selection
from lamm_pipeline.curation.assets import selection as selection_asset
from lamm_pipeline.curation.diversity_selection import diversity_clusters, select_diverse
from lamm_pipeline.extraction import diversity
from lamm_pipeline.extraction.diversity import DiversityMetrics
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline_tests.browser import opened
from lamm_pipeline_tests.command_line import lamm
from lamm_pipeline_tests.curation.houses import FRAME, House
from lamm_pipeline_tests.reports.sites import Site

pytestmark = pytest.mark.usefixtures("own_environment")

HASHES, MOTION = [0b0, 0b1, 0b111, 0b1111_1111], [1.0, 0.5, 0.5, 0.01]
"""Frames 1, 2 and 3 differ from frame 0 in 4, 12 and 32 of 256 bits. Little moves from frame 2 to 3, of which only 3 has annotations."""
API = "/api/recordings/drive/clusters"


@pytest.fixture
def world(tmp_path: Path) -> House:
    house = House(tmp_path / "root")
    house.measure(HASHES, MOTION)
    return house


def metrics(world: House) -> DiversityMetrics:
    artifact = world.store.current(ArtifactKey("recordings", "drive", "diversity_metrics"))
    assert artifact is not None
    return diversity.read_metrics(artifact.file(diversity.FILE_NAME))


def dropped(world: House) -> dict[int, str]:
    """Frames that the selection in force drops because others stand for them."""
    artifact = world.store.current(ArtifactKey("recordings", "drive", "selection"))
    assert artifact is not None
    rows = selection.read(artifact.file(selection.FILE_NAME))
    return {row.frame_index: row.reason for row in rows if row.reason in {"still", "repeated"}}


def shown(site: Site, query: str) -> tuple[Any, dict[int, str]]:
    """The answer, and the frames that it says are dropped, all of them by asking for the members of each kept frame."""
    found = site.get(f"{API}?{query}").content
    gone = {}
    for each in found["kept"]:
        if each["members"]:
            members = site.get(f"{API}/{each['index']}?{query}").content
            assert len(members["members"]) == members["total"] == each["members"]
            gone |= {member["index"]: "still" if member["still"] else "repeated" for member in members["members"]}
    return found, gone


# --- what is computed ---


@pytest.mark.requirement("CUR-05", "CUR-06")
@pytest.mark.parametrize(("similarity", "motion"), [(0.85, 0.02), (0.98, 0.02), (0.96, 0.0), (1.0, 0.6), (0.0, 0.0)])
def test_thresholds_keep_what_curation_keeps_and_what_the_command_then_selects(
    world: House, site: Site, similarity: float, motion: float
) -> None:
    found, gone = shown(site, f"similarity={similarity}&motion={motion}")
    expected = select_diverse(metrics(world).dhash, metrics(world).motion, similarity, motion, [1, 1, 2, 1])
    assert sorted(each["index"] for each in found["kept"]) == expected.kept.tolist()
    assert found["counts"]["kept"] == len(expected.kept)
    assert found["counts"]["dropped"] == found["counts"]["repeated"] + found["counts"]["still"] == 4 - len(expected.kept)
    program, *arguments = shlex.split(found["command"])
    assert program == "lamm"
    lamm(*arguments)
    assert dropped(world) == gone


@pytest.mark.requirement("CUR-06")
def test_the_config_for_the_launchpad_makes_the_same_selection(world: House, site: Site) -> None:
    world.curate(min_score=0.8, excluded_classes=["van"])
    found, gone = shown(site, "similarity=0.96&motion=0.001")
    assert gone == {1: "repeated"}
    config = yaml.safe_load(found["config"])
    assert config["ops"]["selection"]["config"]["min_score"] == 0.8
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("recordings", ["drive"])
        resources = {"workspace": Workspace(root=str(world.root))}
        dg.materialize([selection_asset], partition_key="drive", instance=instance, resources=resources, run_config=config)
    assert dropped(world) == gone


def test_decisions_count_as_soon_as_they_are_taken(world: House, site: Site) -> None:
    assert shown(site, "")[0]["counts"] == {
        "frames": 4,
        "kept": 1,
        "dropped": 3,
        "repeated": 2,
        "still": 1,
        "no_part": 0,
        "unreadable": 0,
        "clusters": 1,
    }
    site.decide(
        {"kind": "frame", "subject": FRAME(0), "action": "exclude", "version": world.frames.version},
        {"kind": "frame", "subject": FRAME(3), "action": "keep", "version": world.frames.version},
    )
    found, gone = shown(site, "")
    assert (found["counts"]["no_part"], found["counts"]["kept"]) == (1, 1)
    assert gone == {1: "repeated", 2: "still"}  # nothing moves between frames 2 and 3, and somebody keeps 3
    assert [each["index"] for each in found["kept"]] == [3]


def test_thresholds_begin_with_those_in_force(world: House, site: Site) -> None:
    found = site.get(API).content
    assert found["in_force"] == {"diversity": False, "similarity_threshold": 0.85, "motion_threshold": 0.02}
    world.curate(diversity=True, similarity_threshold=0.98)
    found = site.get(API).content
    assert (found["in_force"]["diversity"], found["similarity_threshold"], found["motion_threshold"]) == (True, 0.98, 0.02)


def test_frames_come_by_size_or_in_time_and_in_parts(world: House, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    world.measure([0b0, 0b1111, 0b1111, 0b1111], [1.0, 1.0, 1.0, 1.0])
    query = "similarity=0.95"
    assert [(each["index"], each["members"]) for each in site.get(f"{API}?{query}").content["kept"]] == [(1, 2), (0, 0)]
    assert [each["index"] for each in site.get(f"{API}?{query}&order=time").content["kept"]] == [0, 1]
    monkeypatch.setattr("lamm_pipeline.reports.reviews.clusters.CLUSTERS_AT_ONCE", 1)
    monkeypatch.setattr("lamm_pipeline.reports.reviews.clusters.MEMBERS_AT_ONCE", 1)
    second = site.get(f"{API}?{query}&offset=1").content
    assert ([each["index"] for each in second["kept"]], second["total"], second["rows"]) == ([0], 2, 1)
    members = site.get(f"{API}/1?{query}&offset=1").content
    assert ([each["index"] for each in members["members"]], members["total"]) == ([3], 2)


def test_frames_that_cannot_be_read_are_counted_apart(world: House, site: Site) -> None:
    world.measure(HASHES, MOTION, failed=(2,))
    counts = site.get(API).content["counts"]
    assert (counts["frames"], counts["unreadable"], counts["kept"] + counts["dropped"]) == (4, 1, 3)


def test_without_detections_all_frames_count_alike_and_it_is_said(world: House, site: Site) -> None:
    (world.root / "recordings" / "drive" / "detections" / "current.json").unlink()
    found = site.get(f"{API}?similarity=0.98&motion=0").content
    expected = diversity_clusters(metrics(world), 0.98, 0.0)
    assert found["counts"]["dropped"] == sum(len(each.members) for each in expected)
    assert "There is no 'detections' of 'drive' yet" in found["note"]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        (f"{API}?similarity=2", 400, "`similarity` is a number from 0 to 1."),
        (f"{API}?motion=nan", 400, "`motion` is a number from 0 to 1."),
        (f"{API}?motion=a", 400, "`motion` is a number from 0 to 1."),
        (f"{API}?offset=-1", 400, "`offset` is a number."),
        (f"{API}/1", 400, "Frame 1 stands for no other frames at these thresholds."),
        ("/api/recordings/nobody/clusters", 404, "There is no such recording."),
        ("/recordings/nobody/clusters", 404, "There is no such recording."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(site: Site, path: str, status: int, sentence: str) -> None:
    found = site.get(path)
    assert (found.status, found.content["error"]) == (status, sentence)


def test_without_metrics_the_page_says_what_to_do(world: House, site: Site) -> None:
    (world.root / "recordings" / "drive" / "diversity_metrics" / "current.json").unlink()
    assert "Materialize 'diversity_metrics'" in site.get(API).content["error"]


# --- what is seen ---


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    with opened(browser, f"{site.url}/recordings/drive/clusters") as found:
        yield found


def pictures_loaded(page: Page) -> None:
    for picture in page.locator(".picture img").all():
        expect(picture).not_to_have_js_property("naturalWidth", 0)


@pytest.mark.requirement("CUR-05", "CUR-06")
def test_a_moved_slider_shows_at_once_what_curation_answers(world: House, page: Page) -> None:
    expect(page.locator("#kept")).to_have_text("1 of 4 frames stay")
    for similarity, motion in ((0.98, 0.02), (0.98, 0.0), (0.94, 0.0)):
        page.get_by_label("Similarity threshold", exact=True).fill(str(similarity))
        page.get_by_label("Motion threshold", exact=True).fill(str(motion))
        kept = select_diverse(metrics(world).dhash, metrics(world).motion, similarity, motion, [1, 1, 2, 1]).kept
        expect(page.locator("#kept")).to_have_text(f"{len(kept)} of 4 frames stay")
        expect(page.locator("article.cluster")).to_have_count(len(kept))
        expect(page.get_by_label("Similarity threshold as a number")).to_have_value(str(similarity))
    expect(page.locator("#command")).to_have_text(
        re.compile(r"lamm curate drive --diversity --similarity-threshold 0\.94 --motion-threshold 0\.0 ")
    )
    page.get_by_label("Similarity threshold as a number").fill("0.86")
    expect(page.locator("#kept")).to_have_text("1 of 4 frames stay")


def test_members_are_shown_on_demand_and_lead_to_the_review_page(page: Page) -> None:
    page.get_by_role("button", name="3 more like it").click()
    member = page.get_by_role("link", name="2, nothing moves, 95.3 %")
    expect(member).to_be_visible()
    pictures_loaded(page)
    assert page.locator(".member").count() == 3
    member.click()
    page.wait_for_url("**/recordings/drive#frame=2")
    expect(page.locator("#caption")).to_contain_text("Frame 2")
    page.wait_for_load_state("networkidle")
    page.go_back()
    expect(page.locator("#kept")).to_have_text("1 of 4 frames stay")


def test_an_address_keeps_what_was_chosen(site: Site, browser: Browser) -> None:
    with opened(browser, f"{site.url}/recordings/drive/clusters#similarity=0.98&motion=0&order=time") as page:
        expect(page.locator("#kept")).to_have_text("3 of 4 frames stay")
        page.get_by_role("button", name="Back to these").click()
        expect(page.locator("#kept")).to_have_text("1 of 4 frames stay")
        assert page.url.endswith("#similarity=0.85&motion=0.02&order=time")


def test_the_other_pages_lead_here(site: Site, browser: Browser) -> None:
    with opened(browser, f"{site.url}/recordings") as page:
        page.get_by_role("link", name="similar ones").click()
        page.wait_for_url("**/recordings/drive/clusters")
        expect(page.locator("#kept")).to_have_text("1 of 4 frames stay")
        pictures_loaded(page)
        page.get_by_role("link", name="Review").click()
        page.wait_for_load_state("networkidle")
        assert page.locator("#clusters-link").get_attribute("href") == "/recordings/drive/clusters"
