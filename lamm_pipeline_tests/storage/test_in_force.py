import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline_tests.storage import places
from lamm_pipeline_tests.storage.places import Place, Store


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


def publish(store: Store, asset: str, config: int, *inputs: Artifact) -> Artifact:
    versions = {each.key.asset: each.version for each in inputs}
    return places.publish(
        store, ArtifactKey("recordings", "drive", asset), Identity(asset, "1", {"value": config}, versions, {}), {"a": asset}
    )


def whole(store: Store, config: int) -> dict[str, Artifact]:
    """All that `identities` reads, each made from the others."""
    frames = publish(store, "frames", config)
    detections = publish(store, "detections", 0, frames)
    boxes = publish(store, "boxes_3d", 0, detections)
    candidates = publish(store, "mask_candidates", 0, frames)
    found = [frames, publish(store, "tracks", 0, boxes), publish(store, "masklets", 0, frames, candidates)]
    return {each.key.asset: each for each in found}


def test_artifacts_that_were_made_from_each_other_are_found(store: Store) -> None:
    whole(store, 0)
    made = whole(store, 1)
    found = artifacts_in_force(store, "drive", ["frames", "tracks", "masklets"])
    assert {asset: each.version for asset, each in found.items()} == {asset: each.version for asset, each in made.items()}


def test_an_artifact_of_other_frames_is_refused_even_over_stages_between(store: Store) -> None:
    made = whole(store, 0)
    newer = publish(store, "frames", 1)
    candidates = publish(store, "mask_candidates", 0, newer)
    publish(store, "masklets", 0, newer, candidates)
    expected = r"The tracks of 'drive' were made from other frames\. Materialize `detections` and `boxes_3d` and `tracks` first\."
    with pytest.raises(InputError, match=expected):
        artifacts_in_force(store, "drive", ["frames", "tracks", "masklets"])
    assert artifacts_in_force(store, "drive", ["tracks"])["tracks"].version == made["tracks"].version


def test_a_missing_artifact_is_named(store: Store) -> None:
    publish(store, "frames", 0)
    with pytest.raises(InputError, match="There is no 'tracks' of 'drive' yet"):
        artifacts_in_force(store, "drive", ["frames", "tracks"])


def test_what_cannot_be_followed_is_refused(store: Store) -> None:
    """The version in between was removed: nobody can say what the tracks were made from."""
    frames = publish(store, "frames", 0)
    identity = Identity("tracks", "1", {}, {"boxes_3d": "gone"}, {})
    places.publish(store, ArtifactKey("recordings", "drive", "tracks"), identity, {"a": "tracks"})
    with pytest.raises(InputError, match=r"The tracks of 'drive' were made from other boxes_3d\. Materialize `tracks` first"):
        artifacts_in_force(store, "drive", ["frames", "tracks"])
    assert artifacts_in_force(store, "drive", ["frames"])["frames"].version == frames.version
