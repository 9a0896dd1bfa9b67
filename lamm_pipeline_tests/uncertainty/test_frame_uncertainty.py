"""The asset `frame_uncertainty`: all evaluations of a recording, what is reused, what is bad, what is stale."""

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.s3_store import open_s3_store
from lamm_pipeline.uncertainty import frame_uncertainty as table
from lamm_pipeline.uncertainty import score_frame, score_recording
from lamm_pipeline.uncertainty.evaluation_files import frame_files
from lamm_pipeline.uncertainty.planning import plan_recording, torch_device
from lamm_pipeline.uncertainty.predictions import MemberBoxes, PredictionWriter
from lamm_pipeline.uncertainty.scores import SCORES, score_points
from lamm_pipeline.uncertainty.settings import Backend, UncertaintySettings
from lamm_pipeline.uncertainty.taking_in import add_evaluation
from lamm_pipeline_tests.uncertainty.rides import CLASSES, FRAMES, KEY, POINTS, Ride, evaluation, predict, probabilities

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster-home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster-home")) as found:
        found.add_dynamic_partitions("recordings", [KEY])
        yield found


@pytest.fixture
def ride(tmp_path: Path) -> Ride:
    return Ride(tmp_path / "root")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of predictions that were read to be scored."""
    seen: list[Path] = []
    read = score_frame.read_frame

    def reading(path: Path, *rest: Any) -> Any:
        seen.append(path)
        return read(path, *rest)

    monkeypatch.setattr(score_frame, "read_frame", reading)
    return seen


def rows(ride: Ride) -> list[table.FrameUncertainty]:
    return list(table.read(ride.scored.file(table.FILE_NAME)))


def told(outcome: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert outcome.success
    (made,) = outcome.asset_materializations_for_node("frame_uncertainty")
    return {name: getattr(value, "value", value) for name, value in made.metadata.items()}


def verdicts(outcome: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in outcome.get_asset_check_evaluations()}


def add(ride: Ride, tmp_path: Path, name: str, **more: Any) -> Path:
    folder = predict(tmp_path / "predictions", name, **more)
    add_evaluation(ride.catalog, folder, "ada")
    return folder


@pytest.mark.requirement("UNC-01", "UNC-07", "UNC-08", "UNC-09")
def test_every_frame_has_its_scores_with_the_ensemble_that_gave_them(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    add(ride, tmp_path, "night")
    outcome = ride.score(instance)
    seen = told(outcome)
    found = rows(ride)
    assert [(row.evaluation, row.model_id, row.frame_id) for row in found] == [
        ("night", "night-model", f"{KEY}:{n:06d}") for n in range(FRAMES)
    ]
    for n, row in enumerate(found):
        scored = score_points(probabilities(n))
        for name in SCORES:
            assert row.statistics[f"{name}_mean"] == pytest.approx(scored.values[name].astype(float).mean())
            assert row.statistics[f"{name}_p95"] == np.percentile(scored.values[name], 95)
            inside = scored.values[name][scored.predicted == 1]
            assert row.statistics[f"{name}_foreground_mean"] == pytest.approx(inside.astype(float).mean())
        assert (row.score, row.score_kind) == (row.statistics["mutual_information_mean"], "mutual_information_mean")
        assert row.evaluated_at.isoformat() == "2026-05-01T12:00:00+00:00"
        kept = np.load(ride.scored.file(row.points_path or ""))
        assert (kept.dtype, kept.shape) == (np.float16, (POINTS, len(SCORES)))
        assert np.allclose(kept[:, 2], scored.values["mutual_information"], atol=1e-3)
        classes = np.load(ride.scored.file(row.classes_path or ""))
        assert (classes.dtype, classes.shape, row.class_names) == (np.int8, (POINTS, 2), CLASSES)
        assert classes[:, 0].tolist() == scored.predicted.tolist()
        assert set(classes[:, 1]) == {-1}, "nobody knows the truth"
    assert (seen["evaluations"], seen["frames_scored"], seen["bad_frames"]) == (1, FRAMES, 0)
    assert seen["newest_mean_score"] == pytest.approx(np.mean([row.score for row in found]))
    assert seen["newest_p95_score"] == np.percentile([row.score for row in found], 95)
    ranking = [row.data for row in seen["top"].records]
    assert [row["score"] for row in ranking] == sorted((row.score for row in found), reverse=True)
    assert ranking[0]["link"].endswith(f"/scenes/{KEY}/view?frame={ranking[0]['frame_index']}")
    assert "0.1-0.2" in seen["histogram"]
    assert len(seen["histogram"]) < 1000
    assert verdicts(outcome) == {"predictions_usable": True, "evaluations_fresh": True}
    event = instance.get_latest_data_version_record(dg.AssetKey("frame_uncertainty"), partition_key=KEY)
    assert event is not None
    assert event.asset_materialization.tags["dagster/data_version"] == ride.scored.version
    summary = json.loads(ride.scored.file("summary.json").read_text())["evaluations"][0]
    assert sum(bucket["frames"] for bucket in summary["histogram"]) == FRAMES


@pytest.mark.requirement("UNC-01")
def test_a_new_evaluation_reuses_what_is_published_of_the_others(
    ride: Ride, instance: dg.DagsterInstance, tmp_path: Path, counted: list[Path]
) -> None:
    first = add(ride, tmp_path, "night")
    told(ride.score(instance))
    assert len(counted) == FRAMES
    before = ride.scored
    counted.clear()
    second = add(ride, tmp_path, "day", day=2)
    told(ride.score(instance))
    assert sorted(counted) == [path for _, path in frame_files(second / KEY)], "only the new one is read"
    assert [row.evaluation for row in rows(ride)] == ["night"] * FRAMES + ["day"] * FRAMES
    for name in ("points/night/000000.npy", "classes/night/000000.npy", "evaluations/night/frames.parquet"):
        assert before.file(name).samefile(ride.scored.file(name))
    both = {name: entry.sha256 for name, entry in ride.scored.manifest.files.items()}

    counted.clear()
    told(ride.score(instance, workers=1))
    assert counted == [], "nothing is to do"
    told(ride.score(instance, force=True))
    assert len(counted) == 2 * FRAMES, "all is done again"
    assert {name: entry.sha256 for name, entry in ride.scored.manifest.files.items()} == both
    counted.clear()
    with PredictionWriter(first, evaluation("night"), KEY) as writer:
        writer.add(f"{KEY}:000000", probabilities(5))
    add_evaluation(ride.catalog, first, "ada")
    told(ride.score(instance))
    assert sorted(counted) == [path for _, path in frame_files(first / KEY)], "only the changed one is read"
    with PredictionWriter(first, evaluation("night"), KEY) as writer:
        writer.add(f"{KEY}:000000", probabilities(0))
    counted.clear()
    told(ride.score(instance))
    assert {name: entry.sha256 for name, entry in ride.scored.manifest.files.items()} == both, (
        "what it was made of decides, not its history"
    )


def test_in_a_bucket_a_new_evaluation_reuses_what_is_published_too(
    tmp_path: Path, instance: dg.DagsterInstance, s3_server: str, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch, counted: list[Path]
) -> None:
    address = f"s3://{s3_bucket.name}/lamm"
    monkeypatch.setenv("LAMM_STORE", address)
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    store = open_s3_store(address, s3_server, tmp_path / "root")
    ride = Ride(tmp_path / "root", store)
    ride.rebuild()
    with PredictionWriter(tmp_path / "flat", evaluation("flat", classes=("ground", "obstacle")), KEY) as writer:
        for n in range(FRAMES):
            writer.add(f"{KEY}:{n:06d}", probabilities(n, classes=2))
    add_evaluation(ride.catalog, tmp_path / "flat", "ada")
    told(ride.score(instance))
    assert {row.label_source for row in rows(ride)} == {"derived"}
    shutil.rmtree(store.root / "recordings")  # what was fetched can go at any time
    counted.clear()
    second = add(ride, tmp_path, "day", day=2)
    told(ride.score(instance))
    assert sorted(counted) == [path for _, path in frame_files(second / KEY)]
    assert len(rows(ride)) == 2 * FRAMES


def test_predictions_that_look_the_same_are_not_read_to_know_their_digest(
    ride: Ride, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ride, tmp_path, "night")
    told(ride.score(instance))
    monkeypatch.setattr("lamm_pipeline.uncertainty.evaluation_files.sha256_file", lambda path: pytest.fail(f"{path} is read"))
    told(ride.score(instance))


def test_a_recording_without_evaluations_has_an_empty_table(ride: Ride, instance: dg.DagsterInstance) -> None:
    seen = told(ride.score(instance))
    assert (seen["evaluations"], seen["frames_scored"], rows(ride)) == (0, 0, [])
    assert "No evaluation" in seen["histogram"]
    assert "max_score" not in seen


def spoil(folder: Path, frame: int, **arrays: Any) -> None:
    np.savez(folder / KEY / f"{frame:06d}.npz", **arrays)


@pytest.mark.requirement("UNC-01")
def test_bad_frames_are_counted_with_their_reasons_and_the_others_scored(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = predict(tmp_path, "night")
    p = probabilities(0)
    spoil(folder, 0, probabilities=p * 0.9)
    spoil(folder, 1, probabilities=np.where(p == p.max(), np.nan, p))
    spoil(folder, 2, probabilities=p[:, :-1])
    (folder / KEY / "000003.npz").write_bytes(b"PK")
    spoil(folder, 77, probabilities=p)
    add_evaluation(ride.catalog, folder, "ada")
    outcome = ride.score(instance, max_bad_share=0.8)
    seen = told(outcome)
    assert [(row.data["frame_id"], row.data["kind"]) for row in seen["bad"].records] == [
        ("drive:000000", "sum is not one"),
        ("drive:000001", "not finite"),
        ("drive:000002", "wrong point count"),
        ("drive:000003", "unreadable"),
        ("drive:000077", "unknown frame"),
    ]
    assert [row.frame_index for row in rows(ride)] == [4, 5]
    assert verdicts(outcome) == {"predictions_usable": False, "evaluations_fresh": True}
    assert told(outcome)["bad_frames"] == 5
    summary = json.loads(ride.scored.file("evaluations/night/summary.json").read_text())
    assert (summary["predicted_frames"], summary["frames"], summary["frames_without_predictions"]) == (FRAMES + 1, 2, 4)

    add(ride, tmp_path, "day", day=2)
    outcome = ride.score(instance, max_bad_share=0.5)
    [refused, scored] = ride.scored.counts["evaluations"]
    assert (refused["status"], refused["frames"], refused["mean"]) == ("refused", 0, None)
    assert "5 of 7 frames cannot be scored" in refused["reason"]
    assert (scored["status"], scored["frames"]) == ("scored", FRAMES)
    assert {row.evaluation for row in rows(ride)} == {"day"}
    assert not [name for name in ride.scored.manifest.files if name.startswith(("points/night", "classes/night"))]


def test_evaluations_of_other_frames_are_stale_and_not_mixed_in(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    add(ride, tmp_path, "named", frames_version=ride.frames.version)
    add(ride, tmp_path, "unnamed", day=2)
    assert verdicts(ride.score(instance))["evaluations_fresh"]
    assert len(rows(ride)) == 2 * FRAMES
    ride.extract(points=POINTS + 4)
    outcome = ride.score(instance)
    named, unnamed = ride.scored.counts["evaluations"]
    assert (named["status"], unnamed["status"]) == ("stale", "stale")
    assert "its predictions are for version" in named["reason"]
    assert "wrong point count" in unnamed["reason"]
    assert rows(ride) == []
    assert verdicts(outcome) == {"predictions_usable": True, "evaluations_fresh": False}
    ride.extract()
    assert verdicts(ride.score(instance))["evaluations_fresh"], "the frames are as they were"
    assert len(rows(ride)) == 2 * FRAMES


def test_predictions_that_are_gone_stay_as_published_and_are_refused_otherwise(
    ride: Ride, instance: dg.DagsterInstance, tmp_path: Path, counted: list[Path]
) -> None:
    folder = add(ride, tmp_path, "night")
    told(ride.score(instance))
    folder.rename(folder.with_name("elsewhere"))
    add(ride, tmp_path, "day", day=2)
    assert verdicts(ride.score(instance))["predictions_usable"]
    assert len(rows(ride)) == 2 * FRAMES
    outcome = ride.score(instance, keep_points=False)
    assert [(each["evaluation"], each["status"]) for each in ride.scored.counts["evaluations"]] == [("night", "refused"), ("day", "scored")]
    assert "is no evaluation" in ride.scored.counts["evaluations"][0]["reason"]
    assert not verdicts(outcome)["predictions_usable"]
    folder.with_name("elsewhere").rename(folder)
    counted.clear()
    assert verdicts(ride.score(instance, keep_points=False))["predictions_usable"]
    assert {path.parent.parent.name for path in counted} == {"night"}
    assert all((row.points_path, row.classes_path, row.class_names) == (None, None, ()) for row in rows(ride))


@pytest.mark.requirement("UNC-01")
def test_truth_comes_with_the_predictions(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    with PredictionWriter(folder, evaluation("night"), KEY) as writer:
        for n in range(FRAMES):
            p = probabilities(n)
            labels = p.mean(axis=0).argmax(axis=-1)
            labels[:100] = (labels[:100] + 1) % 3 if n else labels[:100]
            labels[-50:] = -1
            writer.add(f"{KEY}:{n:06d}", p, labels=labels)
    add_evaluation(ride.catalog, folder, "ada")
    told(ride.score(instance))
    found = rows(ride)
    assert (found[0].iou, found[0].accuracy, found[0].label_source) == (1.0, 1.0, "file")
    assert all(row.accuracy == pytest.approx(250 / 350) for row in found[1:])
    for n, row in enumerate(found):
        predicted, true = np.load(ride.scored.file(row.classes_path or "")).T
        assert (true[-50:] == -1).all()
        assert (predicted[100:-50] == true[100:-50]).all()
        assert (predicted[:100] == true[:100]).all() == (n == 0)
    labels_of = json.loads(ride.scored.file("summary.json").read_text())["evaluations"][0]["labels"]
    assert (labels_of["sources"], labels_of["points"]) == (["file"], FRAMES * 350)
    assert labels_of["accuracy"] == pytest.approx((350 + 5 * 250) / (6 * 350))
    assert set(labels_of["iou"]) == {"ground", "obstacle", "sky"}
    assert sum(each["points"] for each in labels_of["calibration"]) == labels_of["points"]
    assert labels_of["ause"] is not None


def test_truth_is_read_from_semantickittis_label_files(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    (truth / KEY).mkdir(parents=True)
    numbers = np.array([40, 10, 30])
    for n in range(3):
        best = probabilities(n).mean(axis=0).argmax(axis=-1)
        raw = numbers[best].astype("<u4") | np.uint32(7 << 16)  # the upper bits name the instance
        raw[:10] = 0
        raw[: POINTS if n < 2 else 5].tofile(truth / KEY / f"{n:06d}.label")
    class_map = tmp_path / "classes.yaml"
    class_map.write_text("40: ground\n10: obstacle\n30: sky\n0: null\n99: tree\n")
    folder = predict(tmp_path, "night")
    add_evaluation(ride.catalog, folder, "ada", labels_folder=truth, class_map=class_map)
    assert not verdicts(ride.score(instance))["predictions_usable"], "the truth of one frame cannot be read"
    found = rows(ride)
    assert [(row.label_source, row.accuracy) for row in found] == [("semantickitti", 1.0)] * 2 + [(None, None)] * 4
    summary = json.loads(ride.scored.file("evaluations/night/summary.json").read_text())
    assert summary["labels"]["points"] == 2 * (POINTS - 10)
    assert [(each["frame_id"], "bytes" in each["reason"]) for each in summary["bad_labels"]] == [("drive:000002", True)]
    version = ride.scored.version
    class_map.write_text("40: ground\n10: sky\n30: obstacle\n")
    told(ride.score(instance))
    assert ride.scored.version != version
    assert rows(ride)[0].accuracy < 1.0  # type: ignore[operator]


def test_truth_is_derived_from_boxes_and_ground_and_marked(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    right = np.repeat([0, 1, 1], [POINTS // 2, POINTS // 4, POINTS // 4])  # street, in the box, high up
    with PredictionWriter(folder, evaluation("flat", members=None, classes=("ground", "obstacle")), KEY) as writer:
        writer.add(f"{KEY}:000000", mean=np.eye(2)[right])
        writer.add(f"{KEY}:000001", mean=np.eye(2)[np.zeros(POINTS, int)])
    add_evaluation(ride.catalog, folder, "ada")
    told(ride.score(instance))
    assert [row.label_source for row in rows(ride)] == [None, None], "there are no boxes"
    ride.rebuild()
    told(ride.score(instance))
    one, other = rows(ride)
    assert (one.label_source, one.accuracy, one.iou) == ("derived", 1.0, 1.0)
    assert other.accuracy == pytest.approx(0.5, abs=0.03)
    assert (one.score_kind, one.statistics["mutual_information_mean"]) == ("predictive_entropy_mean", None)
    assert np.isnan(np.load(ride.scored.file(one.points_path or ""))[:, 2]).all()
    told(ride.score(instance, derive_labels=False))
    assert [row.label_source for row in rows(ride)] == [None, None]


def test_scores_of_frames_and_boxes_of_detectors_are_enough(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    boxes = MemberBoxes(np.array([[0.0, 0, 9, 9], [0, 0, 9, 9]]), np.array([0, 1]), np.array([1, 1]))
    given: list[dict[str, Any]] = [
        {"scores": {"mutual_information": 0.25, "predictive_entropy": 0.5}},
        {"scores": {"mutual_information": np.linspace(0, 1, POINTS)}},
        {"boxes": boxes},
        {"scores": {"variation_ratio": 0.5}},
        {"scores": {"max_softmax": 0.75}},
        {"mean": probabilities(0)[0], "scores": {"mutual_information": 0.125}},
    ]
    with PredictionWriter(folder, evaluation("night"), KEY) as writer:
        for n, each in enumerate(given):
            writer.add(f"{KEY}:{n:06d}", **each)
    add_evaluation(ride.catalog, folder, "ada")
    told(ride.score(instance))
    assert [(row.score_kind, pytest.approx(row.score)) for row in rows(ride)] == [
        ("mutual_information_mean", 0.25),
        ("mutual_information_mean", 0.5),
        ("box_disagreement", 2 / 3),
        ("variation_ratio_mean", 0.5),
        ("least_confidence", 0.25),
        ("mutual_information_mean", 0.125),
    ]
    assert [row.points for row in rows(ride)] == [None, POINTS, None, None, None, POINTS]
    assert rows(ride)[1].statistics["mutual_information_p95"] == pytest.approx(0.95)


def test_an_interrupted_scoring_is_resumed_with_the_same_bytes(
    ride: Ride, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[Path]
) -> None:
    monkeypatch.setattr(score_recording, "CHECKPOINT_EVERY", 2)
    for day, name in enumerate(("night", "day"), start=1):
        folder = tmp_path / name
        with PredictionWriter(folder, evaluation(name, day=day), KEY) as writer:
            for n in range(FRAMES):
                writer.add(f"{KEY}:{n:06d}", probabilities(n), labels=np.arange(POINTS) % 3)
        add_evaluation(ride.catalog, folder, "ada")
    plan = plan_recording(ride.store, ride.catalog, KEY, UncertaintySettings(), "cpu")

    def run(folder: Path, stop_after: int | None = None) -> dict[str, Any]:
        def progress(done: int, total: int | None) -> None:
            assert total == 2 * FRAMES
            if done == stop_after:
                raise KeyboardInterrupt

        return score_recording.score_recording(
            plan.inputs(), FRAMES, 0.1, Draft.open(folder, tmp_path / f"{folder.name}.book"), workers=1, progress=progress
        )

    undisturbed = run(tmp_path / "whole")
    whole = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    for stop in (1, 3, FRAMES, FRAMES + 3, 2 * FRAMES - 1):
        folder = tmp_path / f"stop{stop}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, stop)
        counted.clear()
        assert run(folder) == undisturbed
        assert len(counted) <= 2 * FRAMES - stop + 2, "what was before the checkpoint is not done again"
        assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole


def test_columns_are_those_of_the_contract(ride: Ride, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    add(ride, tmp_path, "night")
    told(ride.score(instance))
    columns = set(pq.read_schema(ride.scored.file(table.FILE_NAME)).names)
    assert {"evaluation", "model_id", "evaluated_at", "frame_id", "frame_index", "timestamp_ns", "points", "score", "score_kind"} <= columns
    assert {f"{score}_{what}" for score in SCORES for what in ("mean", "p95", "foreground_mean")} <= columns
    assert {"iou", "accuracy", "points_path", "label_source", "classes_path", "class_names"} <= columns


def test_a_table_from_before_points_had_classes_has_none_and_another_table_is_refused(tmp_path: Path) -> None:
    row = table.FrameUncertainty("night", "model", datetime(2026, 5, 1, tzinfo=UTC), f"{KEY}:000000", 0, 1, None, 0.5, "box_disagreement")
    table.write(tmp_path / "now.parquet", [row])
    content = pq.read_table(tmp_path / "now.parquet")
    pq.write_table(content.drop_columns(["classes_path", "class_names"]), tmp_path / "before.parquet")
    [found] = table.read(tmp_path / "before.parquet")
    assert (found.score, found.classes_path, found.class_names) == (0.5, None, ())
    pq.write_table(content.drop_columns(["score"]), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="has no column score"):
        list(table.read(tmp_path / "other.parquet"))


@pytest.mark.parametrize(("classes", "dtype"), [(2, np.int8), (128, np.int8), (129, np.int16)])
def test_classes_take_a_byte_as_long_as_one_is_enough(tmp_path: Path, classes: int, dtype: Any) -> None:
    table.write_classes(tmp_path / "classes.npy", np.array([0, classes - 1]), None, classes)
    kept = np.load(tmp_path / "classes.npy")
    assert (kept.dtype, kept.tolist()) == (dtype, [[0, -1], [classes - 1, -1]])


def test_the_back_end_is_numpy_unless_there_is_a_gpu_or_torch_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_device(Backend.auto, "cpu") is None
    assert torch_device(Backend.numpy, "cuda") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert torch_device(Backend.auto, "cuda") is None
    with pytest.raises(InputError, match="needs torch"):
        torch_device(Backend.torch, "cpu")


def test_memory_stays_flat_over_the_frames(ride: Ride, tmp_path: Path) -> None:
    peaks = []
    frames, points = 3, 20_000
    ride.extract(points=points)
    folder = predict(tmp_path, "night", frames=range(frames), points=points)
    add_evaluation(ride.catalog, folder, "ada")
    plan = plan_recording(ride.store, ride.catalog, KEY, UncertaintySettings(keep_points=False), "cpu")
    [each] = plan.inputs()
    files = frame_files(folder / KEY)
    each.scorer(files[0], tmp_path)
    for rounds in (2, 40):
        tracemalloc.start()
        for n in range(rounds):
            each.scorer(files[n % frames], tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
