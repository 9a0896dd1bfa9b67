"""Drafts of datasets, the split that they are told, and changes of many scenes at once."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lamm_pipeline.datasets.settings import SplitSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.changes import change_labelling, change_tag
from lamm_pipeline.scenes.library.dataset_draft import change_draft, discard_draft, drafts, read_draft
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.scenes.library.query import Question
from lamm_pipeline.scenes.library.scene_split import split_scenes
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, scene

EIGHT_ONE_ONE = {"train_ratio": 0.8, "val_ratio": 0.1, "test_ratio": 0.1, "balance_by": "recordings"}


@pytest.mark.requirement("DSB-02", "DSB-01")
def test_a_draft_grows_and_shrinks_and_is_everybodys(tmp_path: Path) -> None:
    assert read_draft(tmp_path, "night").scenes == ()
    discard_draft(tmp_path, "night")
    assert change_draft(tmp_path, "night", "eve", add=["b", "a", "b"]).scenes == ("a", "b")
    found = change_draft(tmp_path, "night", "bob", add=["c"], remove=["a", "never there"])
    assert (found.scenes, found.changed_by) == (("b", "c"), "bob")
    assert read_draft(tmp_path, "night") == found
    change_draft(tmp_path, "empty", "eve", remove=["x"])
    assert drafts(tmp_path) == [found]
    discard_draft(tmp_path, "night")
    assert drafts(tmp_path) == []
    for name in ("", "../x", "a/b", "x" * 81, ".hidden"):
        with pytest.raises(InputError, match="cannot be called"):
            change_draft(tmp_path, name, "eve", add=["a"])
    (tmp_path / "drafts" / "torn.json").write_text('{"scenes": 3')
    with pytest.raises(InputError, match="no draft"):
        read_draft(tmp_path, "torn")


def test_changes_of_several_people_at_once_all_count(tmp_path: Path) -> None:
    def add(person: int) -> None:
        for number in range(20):
            change_draft(tmp_path, "night", f"p{person}", add=[f"{person}-{number}"])

    threads = [threading.Thread(target=add, args=(person,)) for person in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(read_draft(tmp_path, "night").scenes) == 80


@pytest.mark.requirement("SPL-08", "AV-20", "DSB-03", "DSB-04")
@pytest.mark.parametrize("strategy", ["auto", "recording", "temporal"])
def test_200_scenes_are_told_as_160_20_20(strategy: str) -> None:
    found = split_scenes("night", [scene(number) for number in range(200)], SplitSettings(strategy=strategy, **EIGHT_ONE_ONE))
    assert found.sentence == "Total scenes: 200, Train: 160, Val: 20, Test: 20"
    assert found.notes == ()


@pytest.mark.requirement("DSB-04")
def test_few_scenes_none_and_strategies_that_cut_are_told_as_they_are() -> None:
    settings = SplitSettings(**EIGHT_ONE_ONE)
    assert split_scenes("night", [], settings).sentence == "Total scenes: 0, Train: 0, Val: 0, Test: 0"
    one = split_scenes("night", [scene(0)], settings)
    assert (one.scenes, one.sentence) == (None, "Total scenes: 1")
    assert "cut into blocks" in one.notes[0]
    refused = split_scenes("night", [scene(0)], settings.model_copy(update={"strategy": "recording"}))
    assert (refused.scenes, "too few" in refused.notes[0]) == (None, True)
    cut = split_scenes("night", [scene(n) for n in range(9)], settings.model_copy(update={"strategy": "random"}))
    assert cut.notes == ("Scenes are not kept whole by this strategy.",)
    bare = [replace(scene(number), frames=None, captured_at=None) for number in range(10)]
    assert split_scenes("night", bare, SplitSettings(strategy="temporal", **EIGHT_ONE_ONE)).scenes == {"train": 8, "val": 1, "test": 1}


def test_scenes_that_a_version_before_has_placed_stay() -> None:
    scenes = [scene(number) for number in range(10)]
    previous = {each.scene_id: "test" for each in scenes[:4]}
    found = split_scenes("night", scenes, SplitSettings(**EIGHT_ONE_ONE), previous)
    assert found.scenes is not None
    assert found.scenes["test"] == 4
    assert sum(found.scenes.values()) == 10
    assert "4 scenes stay where the version before has them." in found.notes


@pytest.mark.requirement("CAT-09", "CAT-13")
def test_many_scenes_change_at_once_or_none_of_them_with_an_audit(tmp_path: Path) -> None:
    scenes = [replace(scene(number), tags=("old",), status="unlabelled", labeler=None) for number in range(1200)]
    catalog, store = populate(tmp_path, scenes)
    keys = sorted(each.scene_id for each in scenes)
    library = SceneLibrary(store, catalog, tmp_path)
    assert len(library.queries().ids(Question("'old' in tags"))) == 1200
    assert library.queries() is library.queries()
    assert change_tag(catalog, keys, "rain", "eve") == 1200
    assert change_tag(catalog, keys[:3], "rain", "eve") == 0
    assert change_tag(catalog, keys[:5], "old", "eve", remove=True) == 5
    assert change_labelling(catalog, keys[:2], "eve", status="annotated", labeler="bob") == 2
    assert change_labelling(catalog, keys[:4], "eve", status="in_review") == 2
    assert change_labelling(catalog, keys[:1], "eve", labeler="") == 1
    assert len(library.queries().ids(Question("'rain' in tags and 'old' not in tags"))) == 5
    assert [(each.status, each.labeler) for each in library.queries().page(Question("status == 'in_review'"))] == [
        ("in_review", None),
        ("in_review", "bob"),
        ("in_review", None),
        ("in_review", None),
    ]
    mark = catalog.audit.watermark()
    for wrong in (
        lambda: change_tag(catalog, [*keys, "nobody"], "new", "eve"),
        lambda: change_labelling(catalog, [*keys, "nobody"], "eve", labeler="x"),
    ):
        with pytest.raises(InputError, match="'nobody'"):
            wrong()
    for tag in ("", " x", "a\nb", "x" * 101):
        with pytest.raises(InputError, match="is no tag"):
            change_tag(catalog, keys, tag, "eve")
    with pytest.raises(InputError, match="nothing to change"):
        change_labelling(catalog, keys, "eve")
    assert catalog.audit.watermark() == mark
    history = [(each.actor, each.action, each.details) for each in catalog.audit.events(keys[0])][-4:]
    assert [each[1] for each in history] == ["tag.add", "tag.remove", "labelling.set", "labelling.set"]
    assert history[2] == (
        "eve",
        "labelling.set",
        {"before": {"status": "unlabelled", "labeler": None}, "after": {"status": "in_review", "labeler": "bob"}},
    )
