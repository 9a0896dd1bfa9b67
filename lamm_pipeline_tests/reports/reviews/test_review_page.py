"""The review page in a real browser: what a person does with keys is what stands in the catalog."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from lamm_pipeline.curation import selecting, selection
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reports.security import access_for
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.decisions import outcome
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceBox
from lamm_pipeline.segmentation.detections import Detection
from lamm_pipeline_tests.browser import PATIENCE_S, opened
from lamm_pipeline_tests.reports.sites import Site, decision, publish_gifs, publish_sequences, running
from lamm_pipeline_tests.review.worlds import FRAMES, World, detection

pytestmark = pytest.mark.usefixtures("own_environment")

PER_FRAME = 4
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
WARNING = re.compile("computed again")


def many() -> dict[int, list[Detection]]:
    """Four cars in each frame but the last, which is empty."""
    boxes = [(5.0 + 40 * n, 20.0, 35.0 + 40 * n, 60.0) for n in range(PER_FRAME)]
    return {
        frame: [detection(frame, n, "car", box) for n, box in enumerate(boxes)] if frame < FRAMES - 1 else [] for frame in range(FRAMES)
    }


@pytest.fixture
def page(world: World, site: Site, browser: Browser) -> Iterator[Page]:
    """The review page with twelve annotations, as a person called Eve has just opened it."""
    world.detect(many())
    with opened(browser, f"{site.url}/recordings/drive#annotation=000000:0") as found:
        begin(found)
        yield found


def begin(page: Page, name: str = "eve") -> None:
    """Answer the question who reviews."""
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def settled(page: Page, world: World, count: int) -> None:
    """Wait until so many decisions are in the catalog."""
    for _ in range(PATIENCE_S * 20):
        if len(world.catalog.decisions.of("drive")) >= count:
            break
        page.wait_for_timeout(50)
    assert len(world.catalog.decisions.of("drive")) == count, said(world)


def becomes_true(page: Page, expression: str) -> None:
    """Wait for an expression; Playwright's own way needs an `eval` that the page's policy forbids."""
    for _ in range(PATIENCE_S * 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} is {page.evaluate(expression)}")


def said(world: World) -> list[tuple[str, str]]:
    return [(each.subject.removeprefix("drive:"), each.action) for each in world.catalog.decisions.of("drive")]


def kept_by_the_next_selection(world: World) -> tuple[list[str], list[str]]:
    """Ids and classes of the annotations that are for the next dataset version."""
    planned = selecting.plan(world.store, world.catalog, load_ontology(), "drive", SelectionSettings())
    rows = list(selection.read(selecting.bring_about(world.store, planned).file(selection.FILE_NAME)))
    return [each for row in rows for each in row.kept_detection_ids], [each for row in rows for each in row.kept_class_ids]


@pytest.mark.requirement("CAT-13", "SEQ-15", "CUR-03", "CUR-04")
def test_ten_annotations_are_reviewed_by_keyboard_and_stand_in_the_catalog(world: World, page: Page) -> None:
    press(page, "k", "x", "k", "p")  # keep, leave out, keep, no positive: each goes on to the next
    press(page, "c", "3")  # the third class: van
    press(page, "f", "6", "b", "Enter")  # a false positive: dust, light
    press(page, "k", "x", "k", "k")
    settled(page, world, 11)
    assert said(world) == [
        ("000000:0", "keep"),
        ("000000:1", "exclude"),
        ("000000:2", "keep"),
        ("000000:3", "set_positive"),
        ("000001:0", "set_class"),
        ("000001:1", "set_positive"),
        ("000001:1", "set_false_positive_types"),
        ("000001:2", "keep"),
        ("000001:3", "exclude"),
        ("000002:0", "keep"),
        ("000002:1", "keep"),
    ]
    rows = world.catalog.decisions.of("drive")
    assert {each.actor for each in rows} == {"eve"}
    assert {each.data_version for each in rows} == {world.detections.version}
    assert all(each.value["anchor"] for each in rows)
    state = decisions_now(world.store, world.catalog, "drive").state
    assert state.annotations["drive:000001:0"].class_id == "van"
    assert state.annotations["drive:000001:1"].false_positive_types == ("dust", "light")
    outcomes = [outcome(state, each.frame_id, one.detection_id, one.class_id) for each in world.found() for one in each.detections]
    left_out = [number for number, each in enumerate(outcomes) if each.excluded_by is not None]
    assert left_out == [1, 3, 5, 7]
    assert sum(each.reviewed for each in outcomes) == 10
    expect(page.locator("#progress-text")).to_have_text("10 of 12 annotations reviewed")
    expect(page.get_by_role("option", name="Van")).to_contain_text("kept")
    expect(page).to_have_url(re.compile("#annotation=000002:2$"))
    kept = dict(zip(*kept_by_the_next_selection(world), strict=True))
    every = [one.detection_id for each in world.found() for one in each.detections]
    assert list(kept) == [each for number, each in enumerate(every) if number not in left_out]
    assert kept["drive:000001:0"] == "van"
    assert {each for name, each in kept.items() if name != "drive:000001:0"} == {"car"}


@pytest.mark.requirement("CAT-13")
def test_undo_and_redo_go_back_to_where_it_was_said(world: World, page: Page) -> None:
    press(page, "x", "x", "u")
    settled(page, world, 3)
    expect(page).to_have_url(re.compile("#annotation=000000:1$"))
    expect(page.locator("#progress-text")).to_have_text("1 of 12 annotations reviewed")
    press(page, "u", "Shift+U")
    settled(page, world, 5)
    assert [(each.action, each.reverts) for each in world.catalog.decisions.of("drive")] == [
        ("exclude", None),
        ("exclude", None),
        ("undo", 2),
        ("undo", 1),
        ("undo", 4),
    ]
    assert list(decisions_now(world.store, world.catalog, "drive").state.annotations) == ["drive:000000:0"]
    page.reload()
    expect(page.locator("#actor-button")).to_have_text("eve")  # it is asked once
    press(page, "u")
    settled(page, world, 6)
    assert decisions_now(world.store, world.catalog, "drive").state.annotations == {}


def test_frames_are_reviewed_and_an_empty_one_becomes_a_negative(world: World, page: Page) -> None:
    press(page, "3", "End", "e", "Home", "x", "n")
    page.keyboard.type("too dark & <b>wet</b>")
    press(page, "Enter")
    settled(page, world, 3)
    assert said(world) == [("000003", "reviewed_empty"), ("000000", "exclude"), ("000001", "note")]
    assert world.catalog.decisions.of("drive")[2].note == "too dark & <b>wet</b>"
    expect(page.locator("#facts")).to_contain_text("too dark & <b>wet</b>")
    assert world.catalog.decisions.of("drive")[0].data_version == world.frames.version


def test_objects_are_reviewed_with_their_gifs(world: World, site: Site, browser: Browser) -> None:
    boxes = tuple(SequenceBox(f"drive:{n:06d}", (f"drive:{n:06d}:0",), (0.0625, 0.1, 0.375, 0.45), 0.75) for n in range(2))
    sequences = publish_sequences(world, [SequenceAnnotation("drive:s0001", "car", None, None, boxes)])
    publish_gifs(world, sequences, {"drive:s0001": GIF})
    with opened(browser, f"{site.url}/recordings/drive") as page:
        begin(page)
        expect(page.get_by_alt_text("s0001 close up, moving")).to_be_visible()
        assert page.get_by_alt_text("s0001 in the whole picture, moving").evaluate("image => image.naturalWidth") == 1
        press(page, "x")
        settled(page, world, 1)
        (row,) = world.catalog.decisions.of("drive")
        assert (row.subject_kind, row.subject, row.action, row.data_version) == ("sequence", "drive:s0001", "exclude", sequences.version)
        press(page, "2", "Home")
        expect(page.locator("#headline")).to_contain_text("left out with its sequence")


def test_filters_show_what_is_left_to_do_and_keys_jump_to_it(world: World, page: Page) -> None:
    press(page, "k", "k", "Home", " ")
    expect(page).to_have_url(re.compile("#annotation=000000:2$"))
    page.get_by_label("Show").select_option("open")
    expect(page.locator("#list-count")).to_have_text("10 of 12")
    page.get_by_label("Score from").fill("0.8")
    expect(page.locator("#list-count")).to_have_text("0 of 12")
    expect(page.locator("#headline")).to_have_text("Nothing passes the filters.")
    settled(page, world, 2)


@pytest.mark.parametrize(
    ("address", "headline"),
    [
        ("#annotation=000001:2", "drive:000001:2"),
        ("#annotation=drive:000001:2", "drive:000001:2"),
        ("#frame=2", "drive:000002"),
        ("#frame=000002", "drive:000002"),
        ("?frame=2", "drive:000002"),
        ("?annotation=000002:3", "drive:000002:3"),
    ],
)
def test_a_link_leads_to_a_frame_or_an_annotation(world: World, site: Site, browser: Browser, address: str, headline: str) -> None:
    world.detect(many())
    with opened(browser, f"{site.url}/recordings/drive{address}") as page:
        begin(page)
        expect(page.locator("#headline .id")).to_have_text(headline)
        shown = headline.split(":")[1]
        assert page.locator("#image").evaluate("image => image.src").endswith(f"/{int(shown)}")
        becomes_true(page, "document.getElementById('image').naturalWidth === 160")


DRAWN = (
    "Array.from(overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height).data)"
    ".filter((_, at) => at % 4 === 3).filter(Boolean).length"
)
"""Pixels over the picture that are not transparent."""


def test_masks_and_boxes_are_drawn_over_the_picture(page: Page) -> None:
    becomes_true(page, f"{DRAWN} > 20000")
    both = page.evaluate(DRAWN)
    press(page, "m")
    becomes_true(page, f"{DRAWN} < {both}")
    press(page, "b")
    becomes_true(page, f"{DRAWN} === 0")


def test_boxes_are_not_drawn_over_the_picture_of_another_frame(page: Page) -> None:
    becomes_true(page, f"{DRAWN} > 20000")
    held: list[Route] = []
    page.route("**/images/*/2", lambda route: held.append(route))  # noqa: PLW0108  Playwright cannot call builtins
    page.evaluate("location.hash = '#annotation=000002:0'")
    expect(page.locator("#caption")).to_contain_text("Frame 2")
    becomes_true(page, f"{DRAWN} === 0")
    for each in held:
        each.continue_()
    becomes_true(page, f"{DRAWN} > 20000")


def test_names_and_notes_are_text_and_never_markup(world: World, site: Site, browser: Browser) -> None:
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    world.catalog.tags.add(["drive"], [evil[:90]], evil)
    site.decide(decision(world, "annotation", "drive:000000:0", "exclude", note=evil), actor=evil)
    world.detect({0: []}, 0.9)  # what was said is lost now, and listed
    with opened(browser, f"{site.url}/recordings/drive") as page:
        begin(page, evil)
        page.get_by_role("button", name="1 lost").click()
        expect(page.get_by_role("dialog")).to_contain_text("Nothing of the same class overlaps it")
        expect(page.get_by_role("dialog")).to_contain_text(evil)
        press(page, "Escape", "h")
        expect(page.get_by_role("dialog")).to_contain_text("tag.add")
        expect(page.get_by_role("dialog")).to_contain_text(evil)
        assert page.evaluate("window.hacked") is None
        page.goto(f"{site.url}/recordings")
        expect(page.get_by_role("row", name="drive")).to_contain_text(evil[:90])
        expect(page.get_by_role("row", name="drive")).to_contain_text("1 lost")
        assert page.evaluate("window.hacked") is None


def test_the_page_says_when_the_data_were_computed_again(world: World, page: Page) -> None:
    before = world.detections.version
    world.detect(many(), 0.9)
    press(page, "x")
    expect(page.get_by_role("alert")).to_contain_text(WARNING)
    assert world.catalog.decisions.of("drive")[0].data_version == before
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#progress-text")).to_have_text("1 of 12 annotations reviewed")


def test_a_decision_that_is_not_taken_is_told_and_not_shown(world: World, site: Site, browser: Browser) -> None:
    world.detect(many())
    with opened(browser, f"{site.url}/recordings/drive#annotation=000000:0", expected="400 (Bad Request)") as page:
        begin(page)
        page.route("**/decisions", lambda route: route.fulfill(status=400, json={"error": "No more decisions today."}))
        press(page, "x")
        expect(page.get_by_role("alert")).to_contain_text("Not taken: No more decisions today.")
        expect(page.locator("#progress-text")).to_have_text("0 of 12 annotations reviewed")


def test_a_person_is_told_while_the_server_does_not_answer(world: World, page: Page) -> None:
    page.route("**/decisions", lambda _: None)
    page.clock.install()
    press(page, "x", "x")
    page.clock.run_for(9_000)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.clock.run_for(2_000)
    expect(page.get_by_role("alert")).to_contain_text("What is decided is not saved until it does")
    page.unroute("**/decisions")  # lets the request go on
    settled(page, world, 2)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_on_a_narrow_screen_everything_can_be_reached(world: World, site: Site, browser: Browser) -> None:
    with opened(browser, f"{site.url}/recordings/drive#annotation=000000:0", width=420, height=800) as page:
        begin(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Leave out").click()
        settled(page, world, 1)
        expect(page.get_by_role("button", name="Undo")).to_be_in_viewport()


def test_every_control_has_a_name_and_the_keys_are_told(page: Page) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, select, input, [role=slider], [role=listbox]')].filter((each) => each.offsetParent && "
        "!(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length)).map((each) => each.outerHTML)"
    )
    assert nameless == []
    press(page, "?")
    for word in ("keep as it is", "leave out", "false positive", "nothing is in this frame", "undo", "masks on, off"):
        expect(page.get_by_role("dialog")).to_contain_text(word)


def test_with_a_token_a_person_logs_in_and_comes_to_the_page_asked_for(world: World, browser: Browser) -> None:
    token = "token-of-the-tests-0123456789"  # noqa: S105
    with running(world.root, access_for("0.0.0.0", token)) as site:  # noqa: S104  nothing listens there
        page = browser.new_page()
        page.goto(f"{site.url}/recordings/drive#annotation=000000:1")
        page.get_by_label("Token").fill("a wrong one")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        begin(page)
        expect(page).to_have_url(f"{site.url}/recordings/drive#annotation=000000:1")
        assert page.get_by_label("Your name").input_value() == "eve"
        press(page, "k")
        settled(page, world, 1)
        page.close()
