import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.stages import assets_of, progress_spans, with_needs


@pytest.mark.requirement("AV-01", "CFG-03", "CFG-04")
def test_asking_for_tracking_runs_all_it_needs() -> None:
    assert with_needs(["tracking"]) == ["extraction", "segmentation", "reconstruction", "tracking"]
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
