"""The pie chart of labelling: slices that fill the circle, and a picture that is XML and fits Dagster's table."""

import base64
import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.review.labelling_status import LabellingStatus
from lamm_pipeline.scenes.dashboard.status_chart import COLORS, as_markdown, slices

COUNTS = st.dictionaries(st.sampled_from([str(each) for each in LabellingStatus]), st.integers(0, 99_999))


@pytest.mark.requirement("CAT-02")
@given(COUNTS)
def test_slices_follow_each_other_and_the_picture_has_one_for_each_status_with_scenes(counts: dict[str, int]) -> None:
    chart = slices(counts)
    assert [each.status for each in chart] == list(LabellingStatus)
    assert {each.status: each.scenes for each in chart if each.scenes} == {name: count for name, count in counts.items() if count}
    total = sum(counts.values())
    assert sum(each.share for each in chart) == pytest.approx(1.0 if total else 0.0)
    for one, next_one in itertools.pairwise(chart):
        assert next_one.begin == pytest.approx(one.begin + one.share)
    told = as_markdown(chart)
    assert len(told) < 1000
    found = re.search(r"base64,([^)]+)\)", told)
    assert found is not None
    rings = ET.fromstring(base64.b64decode(found[1])).iter("{http://www.w3.org/2000/svg}circle")  # noqa: S314  our own picture
    assert [ring.get("stroke") for ring in rings] == [COLORS[each.status] for each in chart if each.scenes]
    assert f"Labelled {counts.get('labelled', 0)}" in told
