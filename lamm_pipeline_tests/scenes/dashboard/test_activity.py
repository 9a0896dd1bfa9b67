"""The feed: what belongs together is one entry, people and runs in one order, and page after page tells everything once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.run_history import RunHistory
from lamm_pipeline.scenes.dashboard.activity import Cursor, Feed, read_feed
from lamm_pipeline.scenes.library.dataset_draft import BUILT
from lamm_pipeline_tests.orchestration.small_runs import SmallRuns
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, scene

Read = Callable[..., Feed]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return populate(tmp_path, [])[0]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


@pytest.fixture
def read(catalog: Catalog, instance: dg.DagsterInstance) -> Read:
    history = RunHistory(instance)

    def call(limit: int = 30, before: Cursor | None = None) -> Feed:
        runs = [(run, history.deeds(run)) for run in history.newest(limit + 1, before and before.runs)]
        return read_feed(
            catalog.activity,
            runs,
            limit,
            before,
            place_of=lambda name: f"/scenes/{name}" if name in {"drive", "night"} else None,
            run_url=lambda run: f"/runs/{run}",
        )

    return call


def said(feed: Feed) -> list[str]:
    return [f"{each.actor} {each.text}" for each in feed.entries]


@pytest.mark.requirement("CAT-05", "CAT-13")
def test_what_one_person_does_in_a_row_is_one_entry_in_words(tmp_path: Path) -> None:
    scenes = [scene(number) for number in range(50)]
    catalog, _ = populate(tmp_path / "root", scenes)
    for each in ("drive", "night"):
        catalog.audit.add("ada", "recording.add", each, {})
    for number in range(48):
        catalog.audit.add("ada", "recording.add", f"other-{number}", {})
    key = next(each.scene_id for each in scenes if (each.status, each.labeler) == ("unlabelled", None))
    catalog.tags.add([key], ["odd"], "eve")
    catalog.labelling.set([key], "eve", labeler="bob")
    catalog.labelling.set([key], "bob", status="labelled")
    catalog.labelling.set([key], "bob", status="in_review", labeler="")
    catalog.decisions.add(key, [NewDecision("frame", f"{key}:{number:06d}", "exclude") for number in range(12)], "bob")
    catalog.audit.add("ada", "version.create", "city.v1", {})
    catalog.audit.add("ada", BUILT, "city.v1", {})
    catalog.audit.add("ada", "evaluation.add", "night-v3", {})
    catalog.audit.add("ada", "export.add", "street", {})
    catalog.audit.add("ada", "gc", "store", {"removed": ["a", "b"], "bytes": 3_400_000})
    catalog.audit.add("ada", "something.new", "thing", {})
    feed = read_feed(catalog.activity, [], 11, place_of=lambda name: f"/scenes/{name}" if name in {"drive", "night"} else None, run_url=str)
    assert said(feed) == [
        "ada something.new: thing",
        "ada removed 2 things that nothing referred to, 3.4 MB",
        "ada imported the annotations street",
        "ada took in the evaluation night-v3",
        "ada made the dataset city.v1",
        f"bob reviewed {key}, 12 decisions",
        f"bob set {key} to in review, labeler nobody",
        f"bob set {key} to labelled",
        f"eve assigned {key} to bob",
        f"eve tagged {key} odd",
        "ada added other-47, other-46, other-45 and 47 more recordings",
    ]
    catalog.audit.add("ada", "recording.add", "drive", {})
    newest = read_feed(catalog.activity, [], 1, place_of=lambda name: f"/scenes/{name}", run_url=str)
    assert [(part.text, part.href) for part in newest.entries[0].parts] == [("added ", None), ("drive", "/scenes/drive")]


@pytest.mark.requirement("CAT-05")
def test_runs_failures_and_failed_checks_stand_among_what_people_do(read: Read, catalog: Catalog, instance: dg.DagsterInstance) -> None:
    runs = SmallRuns(instance)
    catalog.audit.add("ada", "recording.add", "drive", {})
    runs.rows("drive", fails="The file ends in the middle of a frame.\nSecond line.", lamm__actor="ada")
    catalog.audit.add("ada", "recording.change", "drive", {})
    run = runs.rows("drive", sound=False, lamm__actor="ada")
    feed = read()
    assert said(feed) == [
        "ada rows of drive finished: rows",
        "None 1 check of drive failed: sound",
        "ada took in the changed file of drive",
        "ada rows of drive failed at rows: The file ends in the middle of a frame.",
        "ada added drive",
    ]
    assert [each.bad for each in feed.entries] == [False, True, False, True, False]
    assert [part.href for part in feed.entries[0].parts] == [f"/runs/{run}", None, "/scenes/drive", None]
    assert feed.after is None


@pytest.mark.requirement("CAT-05")
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_page_after_page_tells_everything_once(read: Read, catalog: Catalog, instance: dg.DagsterInstance, limit: int) -> None:
    runs = SmallRuns(instance)
    for number in range(3):
        for tag in ("a", "b"):
            catalog.audit.add(f"person-{number}", "tag.add", "drive", {"tag": tag})
            catalog.audit.add(f"person-{number}", "tag.add", "night", {"tag": tag})
        runs.rows("drive", sound=number != 1)
    everything = read(100).entries
    assert len(everything) == 10
    pages, before = [], None
    while True:
        page = read(limit, before)
        assert page.entries
        assert len(page.entries) <= max(limit, 2)  # a run and its checks are never parted
        pages += page.entries
        if page.after is None:
            break
        before = Cursor.parse(str(page.after))
        catalog.audit.add("late", "tag.add", "drive", {"tag": f"{len(pages)}"})  # what happens meanwhile does not show up among the old
    assert tuple(pages) == everything


@pytest.mark.parametrize("text", ["", "1", "1-2", "1-2-x", "1-2-3-4", "1--3", "-1-2-3", "9" * 30 + "-1-1", "١-1-1"])
def test_what_is_no_place_in_the_feed_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Cursor.parse(text)
