import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import load_ontology

SPECIFIED_KITTI_TYPES = {
    "car": "Car",
    "truck": "Truck",
    "van": "Van",
    "bus": "Truck",
    "haul_truck": "Truck",
    "excavator": "Misc",
    "loader": "Misc",
    "dozer": "Misc",
    "water_truck": "Truck",
    "person": "Pedestrian",
    "worker_ppe": "Pedestrian",
    "worker_no_ppe": "Pedestrian",
    "cyclist": "Cyclist",
    "motorcycle": "Cyclist",
    "tire": "Misc",
    "bucket": "Misc",
    "get": "Misc",
    "berm": "Misc",
    "stockpile": "Misc",
    "building": "Misc",
    "power_line": "Misc",
    "cone": "Misc",
    "barrier": "Misc",
    "sign": "Misc",
    "light_tower": "Misc",
}
SPECIFIED_PRIORS = {
    "car": ((3.5, 5.5), (1.5, 2.2), (1.3, 1.8)),
    "truck": ((5, 12), (2, 2.8), (2.5, 4)),
    "haul_truck": ((8, 16), (4, 8), (4, 8)),
    "excavator": ((6, 15), (2.5, 5), (3, 6)),
    "person": ((0.3, 0.8), (0.3, 0.8), (1.4, 2)),
    "cyclist": ((1.5, 2.5), (0.5, 1), (1.5, 2)),
    "tire": ((1, 4), (0.5, 2), (1, 4)),
    "cone": ((0.2, 0.5), (0.2, 0.5), (0.5, 1)),
}
# Category ids of published datasets: a change here would relabel them.
PUBLISHED_CATEGORY_IDS = {
    "car": 1,
    "truck": 2,
    "van": 3,
    "bus": 4,
    "person": 10,
    "cyclist": 13,
    "light_tower": 25,
    "bicycle": 26,
    "dog": 27,
    "cat": 28,
}


def entry(**changes: Any) -> dict[str, Any]:
    one = {"id": "car", "category_id": 1, "name": "Car", "prompt": "car", "color": "#ff0000", "kitti_type": "Car", "group": "vehicle"}
    return one | changes


def write(folder: Path, *entries: Any) -> Path:
    path = folder / "ontology.yaml"
    path.write_text(yaml.safe_dump({"classes": list(entries)}))
    return path


@pytest.mark.requirement("CFG-15")
def test_the_default_has_the_specified_classes_with_their_kitti_types_and_size_priors() -> None:
    classes = {each.id: each for each in load_ontology().classes}
    assert {name: classes[name].kitti_type for name in SPECIFIED_KITTI_TYPES} == SPECIFIED_KITTI_TYPES
    for name, (length, width, height) in SPECIFIED_PRIORS.items():
        prior = classes[name].size_prior
        assert prior is not None
        assert (prior.length, prior.width, prior.height) == (length, width, height)
    assert all(each.prompt and re.fullmatch("#[0-9a-f]{6}", each.color) for each in classes.values())
    assert len({each.color for each in classes.values()}) == len(classes)


@pytest.mark.requirement("CFG-15")
def test_what_only_the_detector_knows_is_misc_with_a_size_prior() -> None:
    for name in ("bicycle", "dog", "cat"):
        known = load_ontology().by_id(name)
        assert known.kitti_type == "Misc"
        assert known.size_prior is not None


def test_category_ids_are_the_published_ones_and_do_not_depend_on_the_order_in_the_file(tmp_path: Path) -> None:
    default = load_ontology()
    assert {name: default.by_id(name).category_id for name in PUBLISHED_CATEGORY_IDS} == PUBLISHED_CATEGORY_IDS
    van = entry(id="van", category_id=3)
    forward, backward = (load_ontology(write(tmp_path, *order)) for order in ((entry(), van), (van, entry())))
    assert forward.classes == backward.classes
    assert forward.digest != backward.digest


@pytest.mark.requirement("CFG-12")
def test_classes_are_selected_by_id_by_category_id_and_by_its_text() -> None:
    ontology = load_ontology()
    assert [each.id for each in ontology.select(["person", 1, "2", "car"])] == ["car", "truck", "person"]
    with pytest.raises(InputError, match=r"'unicorn' is not in the ontology.*car \(1\)"):
        ontology.select(["car", "unicorn"])
    with pytest.raises(InputError, match="99"):
        ontology.select([99])


def test_detector_labels_mean_the_default_class_unless_the_measured_height_fits_another() -> None:
    ontology = load_ontology()

    def meaning(label: str, height_m: float | None = None) -> str | None:
        found = ontology.for_detector_label(label, height_m)
        return found.id if found else None

    assert [meaning(label) for label in ("Person", "Car", "Vehicle", "Bicycle", "Dog", "Cat", "Mug")] == [
        "person",
        "car",
        "car",
        "bicycle",
        "dog",
        "cat",
        None,
    ]
    assert meaning("Vehicle", 1.6) == "car"
    assert meaning("Vehicle", 3.0) == "truck"
    assert meaning("Vehicle", 2.4) == "truck"
    assert meaning("Vehicle", 2.0) == "car"
    assert meaning("Vehicle", 30.0) == "truck"


def test_a_seen_size_is_that_of_the_classes_it_lies_within_the_priors_of() -> None:
    ontology = load_ontology()

    def meant(width_m: float, height_m: float, thickness_m: float = 0.3) -> set[str]:
        return {each.id for each in ontology.of_size(width_m, height_m, thickness_m)}

    assert {"person", "worker_ppe", "worker_no_ppe"} <= meant(0.5, 1.7)
    assert "car" not in meant(0.5, 1.7)
    assert {"car"} <= meant(1.5, 1.5) & meant(5.9, 1.5) & meant(4.0, 1.5, thickness_m=5.9)
    assert "car" not in meant(1.4, 1.5) | meant(6.0, 1.5) | meant(4.0, 1.2) | meant(4.0, 1.9) | meant(4.0, 1.5, thickness_m=6.0)
    assert meant(12.0, 7.0) == {"haul_truck"}
    assert meant(100.0, 100.0) == set()
    assert ontology.by_id("berm").size_prior is None
    assert not any("berm" in meant(width, height) for width in (0.5, 2.0, 8.0) for height in (0.5, 2.0, 5.0))


@pytest.mark.requirement("SEG-06")
def test_the_alternatives_of_a_prompt_are_texts_of_their_own(tmp_path: Path) -> None:
    assert load_ontology().by_id("cone").prompts == ("traffic cone", "safety cone")
    assert load_ontology(write(tmp_path, entry(prompt=" pick-up truck,, van "))).by_id("car").prompts == ("pick-up truck", "van")


def test_color_is_given_as_numbers_for_drawing(tmp_path: Path) -> None:
    assert load_ontology(write(tmp_path, entry(color="#FF8000"))).by_id("car").color_rgb == (255, 128, 0)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([entry(), entry(category_id=2)], "several classes have the id 'car'"),
        ([entry(), entry(id="van")], "several classes have the category_id 1"),
        ([entry(color="red")], "'car' of the ontology .* has the color 'red'; write it as '#rrggbb'"),
        ([entry(kitti_type="Lorry")], "kitti_type 'Lorry'; KITTI knows Car"),
        ([entry(category_id=0)], "category_id 0; it must be a whole number of 1 or more"),
        ([entry(category_id=True)], "category_id True"),
        ([entry(id="Big Car")], "an id is made of small letters"),
        ([entry(name=" ")], "name must be a text that is not empty"),
        ([entry(colour="#ffffff")], "unknown keys: colour"),
        ([{"id": "car"}], "'car' of the ontology .* lacks category_id, name, prompt, color, kitti_type, group"),
        ([entry(size_prior={"length": [1, 2], "width": [1, 2]})], "size_prior must have length, width and height"),
        ([entry(size_prior={"length": [5, 2], "width": [1, 2], "height": [1, 2]})], "length of size_prior has its smallest value 5 above"),
        ([entry(size_prior={"length": [0, 2], "width": [1, 2], "height": [1, 2]})], "must lie above 0"),
        ([entry(size_prior={"length": "long", "width": [1, 2], "height": [1, 2]})], r"the length of size_prior must be \[smallest"),
        ([entry(detector_labels="Car")], "detector_labels must be a list"),
        ([entry(prompt=" , ,")], "has no text between the commas of its prompt"),
        (["car"], "Class 1 of the ontology .* is not a mapping"),
        ([], "has no list `classes`"),
    ],
)
@pytest.mark.requirement("CFG-15")
def test_mistakes_in_a_file_end_in_a_sentence(tmp_path: Path, entries: list[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_ontology(write(tmp_path, *entries))


def test_a_missing_file_and_broken_yaml_end_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml does not exist"):
        load_ontology(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("classes: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_ontology(broken)
