import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.stages import assets_of, needs_of, progress_after, progress_spans, with_needs


@pytest.mark.requirement("AV-01", "CFG-03", "CFG-04")
def test_asking_for_tracking_runs_all_it_needs() -> None:
    assert with_needs(["tracking"]) == ["extraction", "segmentation", "reconstruction", "tracking"]
    assert needs_of(["segmentation", "tracking"]) == ["recording", "frames", "diversity_metrics", "boxes_3d"]
    assert needs_of([]) == []
    assert assets_of(["segmentation"]) == ["recording", "frames", "diversity_metrics", "detections"]


@pytest.mark.requirement("AV-02", "CFG-13", "CFG-14")
def test_weights_are_renormalised_over_the_selected_stages() -> None:
    spans = progress_spans(["extraction", "segmentation"])
    assert spans["extraction"] == pytest.approx((0, 100 / 3))
    assert spans["segmentation"] == pytest.approx((100 / 3, 100))
    assert progress_spans(["extraction", "segmentation", "reconstruction", "tracking"])["tracking"] == pytest.approx((90, 100))


def test_an_unknown_stage_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"'training' is no stage.*extraction, segmentation"):
        with_needs(["training"])


@pytest.mark.requirement("CFG-13")
def test_progress_of_a_run_follows_the_assets_it_consists_of() -> None:
    everything = ["recording", "frames", "diversity_metrics", "detections", "boxes_3d", "tracks"]
    assert [progress_after(asset, everything) for asset in everything] == pytest.approx([25 / 3, 50 / 3, 25, 75, 90, 100])
    assert progress_after("detections", ["detections", "boxes_3d"]) == pytest.approx(100 * 50 / 65)
    assert progress_after("kitti_dataset", ["kitti_dataset"]) is None
