"""Frames in batches for programs that play a recording."""

from dataclasses import replace

import pytest

from lamm_pipeline.reports.reviews.data import ReviewData
from lamm_pipeline.reports.reviews.reviews import Reviews
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import START_NS, STEP_NS, World

pytestmark = pytest.mark.usefixtures("own_environment")

API = "/api/recordings/drive/playback"


@pytest.mark.requirement("CUR-11", "API-15")
def test_batches_one_after_the_other_are_all_frames_with_their_images(world: World, site: Site) -> None:
    frames, start, batches = [], 0, 0
    while start is not None:
        batch = site.get(f"{API}?start={start}&count=3").content
        assert (batch["start"], batch["total"], batch["version"]) == (start, 4, world.frames.version)
        frames += batch["frames"]
        start, batches = batch["next"], batches + 1
    assert batches == 2
    assert [(each["frame_id"], each["index"]) for each in frames] == [(f"drive:{n:06d}", n) for n in range(4)]
    assert [each["timestamp_ns"] for each in frames] == [START_NS + n * STEP_NS for n in range(4)]
    for each in frames:
        assert site.get(each["image"]).body == world.frames.file(f"image_left/{each['index']:06d}.png").read_bytes()
        assert site.get(each["thumbnail"]).headers["content-type"] == "image/jpeg"


@pytest.mark.requirement("CUR-11", "API-15")
def test_a_batch_has_24_frames_unless_said_otherwise_and_100_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.registry.frames[0]
    frames = tuple(replace(one, frame_id=f"drive:{n:06d}", svo2_frame_index=n) for n in range(130))
    read = Reviews.data

    def longer(reviews: Reviews, recording: str) -> ReviewData:
        return replace(read(reviews, recording), registry=replace(world.registry, frames=frames))

    monkeypatch.setattr(Reviews, "data", longer)
    with running(world.root) as site:
        first = site.get(API).content
        assert ([each["index"] for each in first["frames"]], first["next"]) == (list(range(24)), 24)
        most = site.get(f"{API}?start=24&count=100").content
        assert ([each["index"] for each in most["frames"]], most["next"]) == (list(range(24, 124)), 124)
        last = site.get(f"{API}?start=124").content
        assert ([each["index"] for each in last["frames"]], last["next"]) == (list(range(124, 130)), None)


@pytest.mark.parametrize("query", ["count=0", "count=101", "count=-1", "count=ten", "count=99999999999999999999", "start=-1", "start=0x1"])
def test_what_is_no_batch_is_refused_in_a_sentence(site: Site, query: str) -> None:
    found = site.get(f"{API}?{query}")
    assert found.status == 400
    assert "is a number" in found.content["error"]


def test_after_the_end_there_is_nothing(site: Site) -> None:
    beyond = site.get(f"{API}?start=4").content
    assert (beyond["frames"], beyond["next"], beyond["total"]) == ([], None, 4)
    assert site.get("/api/recordings/nobody/playback").status == 404
