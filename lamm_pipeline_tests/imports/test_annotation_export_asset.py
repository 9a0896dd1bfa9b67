"""The asset `annotation_export` by the command line and by plain functions: one and the same version."""

import json
import shutil
import zipfile

import dagster as dg
import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports import taking_in
from lamm_pipeline.imports.planning import bring_about, plan
from lamm_pipeline.imports.settings import ImportSettings
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity, Source
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.datasets import world
from lamm_pipeline_tests.datasets.world import make_recording
from lamm_pipeline_tests.imports.zips import a_frame, an_object, members, picture, rows, write_zip

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.mark.requirement("LLM-01")
def test_the_command_imports_and_the_function_makes_the_very_same_version(tmp_path, root):
    path = write_zip(tmp_path / "drive.zip", members([a_frame(0), a_frame(1, [an_object(label="automobile")])]))
    [row] = printed("import", path, "--class", "automobile=car", "--root", root)
    assert (row["key"], row["recording"], row["counts"]["classes"]) == ("drive", "Drive_7", {"car": 2, "person": 1})
    [listed] = printed("import", "--list", "--root", root)
    assert listed | {"version": None} == {
        "key": "drive",
        "recording": "Drive_7",
        "frames": 2,
        "annotations": 3,
        "version": None,
        "file": str(path),
    }
    assert "--list alone" in refused("import", "--root", root)
    workspace = Workspace(root=str(root))
    settings = ImportSettings(class_map={"automobile": "car"})
    planned = plan(workspace.store, workspace.catalog, workspace.ontology, "drive", settings)
    artifact = workspace.store.current(planned.key)
    assert artifact.version == planned.identity.version == row["version"]
    assert bring_about(workspace.store, planned).version == artifact.version
    elsewhere = Workspace(root=str(tmp_path / "other"))
    taking_in.add_exports(elsewhere.catalog, [path], "ada")
    made = bring_about(elsewhere.store, plan(elsewhere.store, elsewhere.catalog, elsewhere.ontology, "drive", settings))
    assert made.manifest == artifact.manifest
    samples = rows(artifact.folder)
    assert {each.artifact for each in samples} == {f"annotation_exports/drive/annotation_export/{artifact.version}"}
    assert "2 frames and 3 annotations of Drive_7" in lamm("import", path, "--class", "automobile=car", "--root", root).stdout


def test_what_is_wrong_is_said_and_shows_as_checks(tmp_path, root):
    frames = [a_frame(0, [an_object(label="lynx", mask_rle="1 2"), an_object(2, None)]), a_frame(1, [])]
    path = write_zip(tmp_path / "drive.zip", members(frames, images=[0]) | {"notes.txt": b"text"})
    outcome = lamm("import", path, "--root", root)
    assert "warn: annotation_export/masks_readable: 1 problems (mask: 1); import.json lists them." in outcome.stderr
    assert "warn: annotation_export/classes_known: The ontology lacks lynx (lynx); unknown (object_2); they stay" in outcome.stderr
    assert "problem: Object 0 of frame 0: The runs of the mask sum up to 3 pixels" in outcome.stdout
    assert "left out: 1 times: A frame has neither an image nor objects." in outcome.stdout
    assert "1 other files in the ZIP are not read." in outcome.stdout


def test_limits_are_raised_by_option(tmp_path, root):
    path = write_zip(tmp_path / "drive.zip", members([a_frame(0)]) | {"images/frame_000007.png": bytes(3_000_000)}, zipfile.ZIP_DEFLATED)
    assert "(max_ratio), as in a ZIP bomb. If you trust where it comes from, raise the limit: `lamm import --limit" in refused(
        "import", path, "--root", root
    )
    [row] = printed("import", path, "--limit", "max_ratio=5000", "--root", root)
    assert row["counts"]["problems"] == {"image_damaged": 1}
    assert "Write NAME=NUMBER" in refused("import", path, "--limit", "5000", "--root", root)
    assert "max_ratios" in refused("import", path, "--limit", "max_ratios=5000", "--root", root)
    assert "max_ratio" in refused("import", path, "--limit", "max_ratio=many", "--root", root)


@pytest.mark.requirement("AV-25", "OPT-05")
def test_a_refused_zip_ends_in_a_sentence_and_leaves_nothing_behind(tmp_path, root):
    path = write_zip(tmp_path / "evil.zip", {**members(), "../../evil.png": b"evil"})
    assert "leads outside" in refused("import", path, "--root", root)
    late = write_zip(tmp_path / "late.zip", {**members([a_frame(0)]), "images/frame_000000.png": b"no image"})
    assert "No frame of late.zip can be used" in refused("import", late, "--root", root)
    assert [each for each in (root / "annotation_exports").rglob("*") if each.is_file() and each.suffix != ".lock"] == []
    assert list(tmp_path.glob("**/evil.png")) == []
    assert "no pair" in refused("import", path, "--class", "x", "--root", root)
    assert "does not exist" in refused("import", tmp_path / "missing.zip", "--root", root)


@pytest.mark.requirement("LLM-01")
def test_clean_images_make_another_version_that_depends_on_their_content_alone(tmp_path, root):
    path = write_zip(tmp_path / "drive.zip", members([a_frame(0)]))
    versions = []
    for name, number in (("one", 50), ("two", 50), ("three", 51)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "frame_0000.png").write_bytes(picture(number))
        [row] = printed("import", path, "--images", tmp_path / name, "--root", root)
        versions.append(row["version"])
    assert versions[0] == versions[1] != versions[2]
    assert "Give one of them" in refused("import", path, "--images", tmp_path / "one", "--recording", "x", "--root", root)
    assert "There is no 'frames' of 'x' yet" in refused("import", path, "--recording", "x", "--root", root)


@pytest.mark.requirement("LLM-01")
def test_the_frames_of_a_recording_take_the_place_of_painted_images(tmp_path, root):
    workspace = Workspace(root=str(root))
    make_recording(tmp_path / "made", "drive_7", range(3))
    [made] = (tmp_path / "made" / "recordings" / "drive_7" / "frames").iterdir()
    key = ArtifactKey("recordings", "drive_7", "frames")
    identity = Identity("frames", "1", {}, {}, {})
    with workspace.store.draft(key, identity.version) as draft:
        shutil.copytree(made, draft.directory, dirs_exist_ok=True)
        frames = workspace.store.publish(key, draft, identity, {}, {}, [Source("drive_7", None, "a" * 64)])
    listed = [a_frame(index, [an_object(mask_rle=None)]) for index in (1, 2, 7)]
    path = write_zip(tmp_path / "painted.zip", members(listed, width=world.WIDTH, height=world.HEIGHT))
    taking_in.add_exports(workspace.catalog, [path], "ada")
    settings = ImportSettings(from_recording="drive_7")
    artifact = bring_about(workspace.store, plan(workspace.store, workspace.catalog, workspace.ontology, "painted", settings))
    assert artifact.counts["recording"] == "drive_7"
    assert artifact.counts["problems"] == {"image_missing": 1}
    assert artifact.manifest.sources == frames.manifest.sources
    found = rows(artifact.folder)
    assert [each.frame_id for each in found] == ["drive_7:000001", "drive_7:000002"]
    clean = [(frames.folder / "image_left" / f"{index:06d}.png").read_bytes() for index in (1, 2)]
    assert [(artifact.folder / each.image).read_bytes() for each in found] == clean
    write_zip(path, members(listed))
    with pytest.raises(InputError, match="was annotated at 40 x 30"):
        bring_about(workspace.store, plan(workspace.store, workspace.catalog, workspace.ontology, "painted", settings))
    write_zip(path, members(listed, width=..., height=...))
    with pytest.raises(InputError, match="was annotated at 40 x 30"):
        bring_about(workspace.store, plan(workspace.store, workspace.catalog, workspace.ontology, "painted", settings))


def test_taking_in_knows_files_by_place_and_content(tmp_path):
    catalog = Catalog("sqlite://")
    first = write_zip(tmp_path / "a b.zip", members([a_frame(0)]))
    (tmp_path / "sub").mkdir()
    second = write_zip(tmp_path / "sub" / "a b.zip", members([a_frame(1)]))

    def add(*files):
        return [(each.key, each.status) for each in taking_in.add_exports(catalog, files, "ada")]

    [(key, status)] = add(first)
    assert (key, status) == ("a_b", "added")
    [(other, _)] = add(second)
    assert other.startswith("a_b-")
    assert add(first, second) == [("a_b", "unchanged"), (other, "unchanged")]
    digest = taking_in.current_digest(catalog, catalog.exports.get("a_b"))
    assert catalog.exports.get("a_b").digest == digest
    moved = first.rename(tmp_path / "moved.zip")
    assert add(moved) == [("a_b", "moved")]
    assert catalog.exports.get("a_b").digest == digest
    write_zip(moved, members([a_frame(2)]))
    assert add(moved) == [("a_b", "changed")]
    assert catalog.exports.get("a_b").digest is None
    assert [each.action for each in catalog.audit.events("a_b")] == ["export.add", "export.move", "export.change"]
    moved.unlink()
    with pytest.raises(InputError, match="is gone"):
        taking_in.current_digest(catalog, catalog.exports.get("a_b"))
    with pytest.raises(InputError, match="lamm import"):
        catalog.exports.get("nobody")


@pytest.mark.requirement("LLM-01")
def test_the_sensor_launches_each_new_zip_once_when_it_has_stopped_changing(tmp_path, root, monkeypatch):
    from lamm_pipeline.imports.sensors import new_annotation_exports

    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.setenv("LAMM_WATCH_EXPORTS", str(folder))
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        cursor = None
        launched = []

        def tick():
            nonlocal cursor
            context = dg.build_sensor_context(instance, cursor=cursor, resources={"workspace": Workspace(root=str(root))})
            outcome = new_annotation_exports(context)
            cursor = outcome.cursor
            for request in outcome.dynamic_partitions_requests or []:
                instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            fresh = [each for each in outcome.run_requests or [] if each.run_key not in launched]
            launched.extend(each.run_key for each in fresh)
            return [each.partition_key for each in fresh]

        write_zip(folder / "drive.ZIP", members())
        (folder / "notes.txt").write_text("no ZIP")
        assert [tick() for _ in range(4)] == [[], ["drive"], [], []]
        assert instance.get_dynamic_partitions("annotation_exports") == ["drive"]
        write_zip(folder / "drive.ZIP", members([a_frame(5)]))
        assert [tick() for _ in range(3)] == [[], ["drive"], []]
        (folder / "drive.ZIP").unlink()
        tick()
        assert Workspace(root=str(root)).catalog.exports.get("drive").missing_since is not None


def test_the_zip_may_be_packed_with_compression(tmp_path, root):
    path = write_zip(tmp_path / "drive.zip", members(), zipfile.ZIP_DEFLATED)
    [row] = printed("import", path, "--root", root)
    details = json.loads((root / "annotation_exports" / "drive" / "annotation_export" / row["version"] / "import.json").read_text())
    assert details["counts"]["frames"] == 3
