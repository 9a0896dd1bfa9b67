"""The catalog's activity: audit trail and decisions as one stream, the newest first, that can be read on from any place."""

from datetime import timedelta
from itertools import islice, pairwise
from pathlib import Path

import pytest

from lamm_pipeline.catalog import activity
from lamm_pipeline.catalog.activity import DECISION
from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline_tests.review.worlds import World


@pytest.mark.requirement("CAT-05")
def test_what_happened_comes_newest_first_and_goes_on_from_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "AT_ONCE", 3)
    catalog = World(tmp_path / "root").catalog
    begin = catalog.activity.start()
    for number in range(7):
        catalog.tags.add(["drive"], [f"tag-{number}"], "eve")
        catalog.decisions.add("drive", [NewDecision("frame", f"drive:{number:06d}", "exclude")], "bob")
    start = catalog.activity.start()
    assert (start.audit - begin.audit, start.decision - begin.decision) == (7, 7)
    everything = list(catalog.activity.newest(start))
    assert [(each.actor, each.action) for each in everything[:14]] == [("bob", DECISION), ("eve", "tag.add")] * 7
    assert [each.details.get("tag") for each in everything[1:14:2]] == [f"tag-{number}" for number in reversed(range(7))]
    assert all(a.at >= b.at for a, b in pairwise(everything))
    assert everything[0].at.utcoffset() == timedelta(0)
    for count in (1, 4, 9):
        some = list(islice(catalog.activity.newest(start), count))
        assert [*some, *catalog.activity.newest(some[-1].after)] == everything
    catalog.tags.add(["drive"], ["later"], "eve")
    assert list(catalog.activity.newest(start)) == everything
