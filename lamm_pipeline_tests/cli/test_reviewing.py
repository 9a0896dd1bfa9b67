"""`lamm decide`, `lamm decisions`, `lamm label`, and the job `decide`: on a recording in which the embedded detector found something."""

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.segmentation import detections
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.command_line import lamm, printed, refused

pytestmark = pytest.mark.usefixtures("own_environment")


def detect(root: Path, what: str | Path, tiles: str) -> None:
    lamm("run", what, "--root", root, "--stage", "segmentation", "--stereo", "half", "--tiles", tiles, "--no-export")


@pytest.fixture(scope="module")
def annotated_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated")
    render_sample(folder / "street.svo2", SampleSettings(frames=2, width=960, height=540))
    detect(folder / "root", folder / "street.svo2", "accurate")
    return folder / "root"


@pytest.fixture
def root(annotated_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(annotated_root, tmp_path / "root"))


def found(root: Path) -> dict[str, str]:
    """Classes of the detections in force by id."""
    current = json.loads((root / "recordings/street/detections/current.json").read_text())["version"]
    path = root / "recordings/street/detections" / current / detections.FILE_NAME
    return {each.detection_id: each.class_id for frame in detections.read(path) for each in frame.detections}


def log(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = printed("decisions", "street", "--root", root)
    return rows


@pytest.mark.requirement("CUR-02", "CUR-03", "CUR-04", "SEQ-15", "CAT-13")
def test_decisions_are_taken_listed_undone_and_say_who_took_them(root: Path) -> None:
    first = next(iter(found(root)))
    facts = printed("decide", "street", "--root", root, "--exclude", first, "--exclude", "cone", "--reviewed-empty", "000001")
    assert facts["decisions"] == [1, 2, 3]
    lamm("decide", "street", "--root", root, "--set-class", f"{first}=dog", "--negative", first, "--as", "bob", "--note", "it barks")
    lamm("decide", "street", "--root", root, "--false-positive", f"{first.removeprefix('street:')}=light,dust", "--keep", first)
    assert [(each["actor"], each["kind"], each["action"], each["says"], each["state"]) for each in log(root)] == [
        ("ada", "annotation", "exclude", None, "superseded"),
        ("ada", "class", "exclude", None, "in force"),
        ("ada", "frame", "reviewed_empty", None, "in force"),
        ("bob", "annotation", "set_class", "dog", "in force"),
        ("bob", "annotation", "set_positive", False, "in force"),
        ("ada", "annotation", "keep", None, "in force"),
        ("ada", "annotation", "set_false_positive_types", ["dust", "light"], "in force"),
    ]
    assert log(root)[3]["note"] == "it barks"
    lamm("decisions", "street", "--root", root, "--undo", "6")
    assert log(root)[0]["state"] == "in force"
    assert [(each["action"], each["state"]) for each in log(root)][5:] == [
        ("keep", "undone"),
        ("set_false_positive_types", "in force"),
        ("undo 6", "in force"),
    ]
    assert "undone already" in refused("decisions", "street", "--root", root, "--undo", "6")
    assert "has no decision 99" in refused("decisions", "street", "--root", root, "--undo", "99")
    table = lamm("decisions", "street", "--root", root).stdout
    assert "it barks" in table
    assert "undo 6" in table


@pytest.mark.requirement("CAT-13")
def test_decisions_carry_over_when_detections_are_computed_again_and_none_vanishes(root: Path) -> None:
    before = found(root)
    lamm("decide", "street", "--root", root, *(word for each in before for word in ("--keep", each)))
    detect(root, "street", "full")
    after = found(root)
    assert 0 < len(after) < len(before)
    rows = log(root)
    carried = {row["subject"]: row["now"] or row["subject"] for row in rows if row["state"] == "in force"}
    lost = [row for row in rows if row["state"].startswith("lost")]
    assert len(carried) + len(lost) == len(before)
    assert set(carried.values()) == set(after)
    assert all(before[old] == after[new] for old, new in carried.items())
    assert all("Nothing of the same class overlaps" in row["state"] for row in lost)
    assert "lost: Nothing" in lamm("decisions", "street", "--root", root).stdout
    detect(root, "street", "accurate")
    assert {row["state"] for row in log(root)} == {"in force"}


@pytest.mark.requirement("SEQ-13", "SEQ-15", "CAT-13")
def test_status_labeler_and_tags_are_set_shown_and_audited(root: Path) -> None:
    assert "nobody" in lamm("label", "status", "street", "ready_to_annotate", "--root", root).stdout
    lamm("label", "labeler", "street", "eve", "--root", root)
    lamm("label", "tag", "street", "rain", "night", "--root", root)
    assert printed("label", "tag", "street", "rain", "--remove", "--root", root)["tags"] == ["night"]
    [row] = printed("label", "show", "--tag", "night", "--root", root)
    assert row == {
        "recording": "street",
        "status": "in_progress",
        "stage": "ready_to_annotate",
        "labeler": "eve",
        "tags": ["night"],
        "in_force": 0,
    }
    assert printed("label", "show", "--tag", "rain", "--root", root) == []
    assert "in_progress" in lamm("label", "show", "--root", root).stdout
    history = printed("label", "show", "street", "--history", "--root", root)
    assert [each["action"] for each in history] == ["labelling.set", "labelling.set", "tag.add", "tag.add", "tag.remove"]
    assert "labelling.set" in lamm("label", "show", "street", "--history", "--root", root).stdout
    assert "is no labelling status" in refused("label", "status", "street", "finished", "--root", root)


def test_a_labelling_tool_gets_a_file_and_its_answer_is_taken_in(root: Path, tmp_path: Path) -> None:
    counts = printed("label", "export", "street", tmp_path / "out", "--masks", "polygons", "--root", root)
    assert (counts["images"], counts["annotations"]) == (2, len(found(root)))
    path = tmp_path / "out" / "annotations.json"
    document = json.loads(path.read_text())
    gone = document["annotations"].pop()
    path.write_text(json.dumps(document))
    facts = printed("label", "import", "street", path, "--root", root)
    assert facts["import"]["decisions"] == {"exclude": 1, "keep": counts["annotations"] - 1}
    assert [row["subject"] for row in log(root) if row["action"] == "exclude"] == [gone["detection_id"]]
    assert "no decision" in lamm("label", "import", "street", path, "--root", root).stdout
    assert "exists already" in refused("label", "export", "street", tmp_path / "out", "--root", root)
    assert "do not exist" in refused("label", "import", "street", tmp_path / "none.json", "--root", root)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("decide", "street"), "Nothing is decided"),
        (("decide", "street", "--note", "hm"), "Nothing is decided"),
        (("decide", "typo", "--exclude", "car"), "No recording is called 'typo'"),
        (("decide", "street", "--exclude", "unicorn"), "unicorn"),
        (("decide", "street", "--exclude", "other:000001"), "is not of recording street"),
        (("decide", "street", "--exclude", "000000:99"), "no annotation 'street:000000:99'"),
        (("decide", "street", "--set-class", "000000:0"), "is not SUBJECT=CLASS"),
        (("decide", "street", "--false-positive", "000000:0=fog"), "no false-positive type 'fog'"),
        (("decisions", "typo"), "No recording is called 'typo'"),
    ],
)
def test_what_cannot_be_decided_ends_in_a_sentence(annotated_root: Path, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*arguments, "--root", annotated_root)


def test_a_recording_without_decisions_says_how_to_take_some(annotated_root: Path) -> None:
    assert "lamm decide street" in lamm("decisions", "street", "--root", annotated_root).stdout


def test_a_team_has_its_own_words_for_false_positives(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.yaml").write_text("false_positive_types: [fog]")
    monkeypatch.setenv("LAMM_FALSE_POSITIVES", str(tmp_path / "words.yaml"))
    lamm("decide", "street", "--root", root, "--false-positive", "000000:0=fog")
    assert log(root)[0]["says"] == ["fog"]
    assert "There are: fog." in refused("decide", "street", "--root", root, "--false-positive", "000000:0=dust")


def run_job(root: Path, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    job = build_definitions(Settings.from_environment({}, root=root)).resolve_job_def("decide")
    return job.execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"ops": {"take_decisions": {"config": config}}},
        tags={ACTOR_TAG: "carl"},
        raise_on_error=False,
    )


@pytest.mark.requirement("CUR-02", "CUR-03", "CUR-04", "SEQ-15", "SEQ-13")
def test_the_job_says_the_same_from_the_launchpad(root: Path, tmp_path: Path) -> None:
    first, second = list(found(root))[:2]
    lamm("label", "export", "street", tmp_path / "out", "--root", root)
    config = {
        "recording": "street",
        "exclude": ["cone", "000001"],
        "set_class": {first: "dog"},
        "false_positive_types": {second: ["dust"]},
        "positive": [first],
        "status": "annotated",
        "labeler": "eve",
        "tags": ["night"],
        "import_file": str(tmp_path / "out" / "annotations.json"),
        "note": "from the launchpad",
    }
    result = run_job(root, config)
    assert result.success
    catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
    taken = catalog.decisions.of("street")
    assert {each.actor for each in taken} == {"carl"}
    assert [each.action for each in taken][:5] == ["exclude", "exclude", "set_class", "set_positive", "set_false_positive_types"]
    assert {each.action for each in taken[5:]} == {"keep"}
    assert len(taken) == len(result.output_for_node("take_decisions"))
    assert (catalog.labelling.of("street").status, catalog.labelling.of("street").labeler) == ("in_review", "eve")
    assert catalog.tags.of("street") == ["night"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"recording": "typo", "exclude": ["car"]}, "No recording is called 'typo'"),
        ({"recording": "street", "exclude": ["000000:99"]}, "no annotation"),
        ({"recording": "street", "min_iou": 7.0}, "min_iou"),
    ],
)
def test_a_wrong_config_fails_the_job_with_a_sentence(annotated_root: Path, config: dict[str, Any], sentence: str) -> None:
    result = run_job(annotated_root, config)
    assert not result.success
    [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = failure.step_failure_data
    assert data.user_failure_data is not None
    assert sentence in data.user_failure_data.description
