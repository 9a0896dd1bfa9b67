import json
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.tracking.masklets import manifest
from lamm_pipeline.tracking.masklets.manifest import LevelResult, LevelWarning
from lamm_pipeline.tracking.masklets.statistics import LevelStatistics, StatisticsBuilder

SECOND = 1_000_000_000


def statistics(level: int) -> LevelStatistics:
    builder = StatisticsBuilder(level)
    for number, objects in enumerate([[], [1], [1, 2], [2], [1, 2, 3], []]):
        builder.add(number * SECOND, objects)
    return builder.result({"covered": 4, "accepted": 3})


def result(level: int, *, warnings: tuple[LevelWarning, ...] = ()) -> LevelResult:
    artifacts = {"video_segments": f"level_{level}/tracking/video_segments.npz"}
    return LevelResult(level, artifacts, (f"level_{level}/previews/L{level:02d}_000001.png",), warnings, statistics(level))


@pytest.mark.requirement("VOS-23", "VOS-12")
def test_statistics_count_masklets_their_lengths_and_their_gaps() -> None:
    assert statistics(2).to_json() == {
        "level": 2,
        "objects": 3,
        "frames": 6,
        "frames_with_objects": 4,
        "masks": 7,
        "most_objects": 3,
        "mean_length": 2.333,
        "longest": 3,
        "shortest": 1,
        "mean_duration_s": 1.667,
        "broken": 1,
        "dedup": {"accepted": 3, "covered": 4},
    }


@pytest.mark.requirement("VOS-23")
def test_statistics_of_nothing_are_zero() -> None:
    empty = StatisticsBuilder(4).result({})
    assert (empty.objects, empty.frames, empty.mean_length, empty.shortest, empty.mean_duration_s) == (0, 0, 0.0, 0, 0.0)


@pytest.mark.requirement("VOS-22", "VOS-29", "VOS-30")
def test_levels_are_put_into_the_manifest_one_after_the_other_in_any_order(tmp_path: Path) -> None:
    warning = LevelWarning("comparison.no_targets", 2, "Nothing was chosen.", (4,))
    for name, levels in (("a", (10, 2, 4)), ("b", (2, 4, 10))):
        for level in levels:
            manifest.update(tmp_path / name / manifest.FILE_NAME, result(level, warnings=(warning,) if level == 2 else ()))
    content = (tmp_path / "a" / manifest.FILE_NAME).read_bytes()
    assert content == (tmp_path / "b" / manifest.FILE_NAME).read_bytes()
    whole = json.loads(content)
    assert list(whole["levels"]) == ["2", "4", "10"]
    assert whole["levels"]["4"]["artifacts"] == {"video_segments": "level_4/tracking/video_segments.npz"}
    assert whole["levels"]["4"]["previews"] == ["level_4/previews/L04_000001.png"]
    assert (
        whole["levels"]["2"]["warnings"]
        == whole["warnings"]
        == [{"code": "comparison.no_targets", "level": 2, "message": "Nothing was chosen.", "frames": [4]}]
    )
    assert whole["totals"] == {"levels": 3, "objects": 9, "masks": 21, "broken": 3}


@pytest.mark.requirement("VOS-22")
def test_a_level_made_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / manifest.FILE_NAME
    manifest.update(path, result(2, warnings=(LevelWarning("comparison.no_targets", 2, "Nothing was chosen."),)))
    manifest.update(path, result(2))
    assert manifest.read(path)["warnings"] == []
    assert manifest.read(path)["totals"]["levels"] == 1


@pytest.mark.requirement("VOS-27")
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"levels": []}'])
def test_a_damaged_manifest_is_refused_and_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / manifest.FILE_NAME
    path.write_text(content)
    with pytest.raises(InputError, match=manifest.FILE_NAME):
        manifest.update(path, result(2))
    assert path.read_text() == content


def test_a_missing_manifest_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        manifest.read(tmp_path / manifest.FILE_NAME)
