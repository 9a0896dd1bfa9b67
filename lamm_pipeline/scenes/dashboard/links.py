"""Addresses that the dashboard leads to: pages of the report server, as paths, and of Dagster's UI."""

from dataclasses import dataclass
from urllib.parse import quote

LOCATION = "lamm_pipeline.definitions"
"""What Dagster calls this code where `lamm up`, or the project's `workspace.yaml`, loads it."""


PROCESS = "Process a recording"


@dataclass(frozen=True)
class QuickLink:
    """Somewhere to go on.

    Attributes:
        group: `here` for pages of the report server, `dagster` for Dagster's UI.
        title: for people.
        note: what is there.
        href: None where there is nothing to go to yet; the note says why.
    """

    group: str
    title: str
    note: str
    href: str | None


def quick_links(dagster_url: str) -> tuple[QuickLink, ...]:
    """The quick links.

    Args:
        dagster_url: where Dagster's UI is.
    """
    here = f"{dagster_url}/locations/{LOCATION}"
    return (
        QuickLink("here", "Review recordings", "what was found, to be kept or left out", "/recordings"),
        QuickLink("here", "Scene library", "find, tag and assign scenes", "/scenes"),
        QuickLink("here", "Build a dataset", "choose scenes, split them, save a version", "/scenes?builder=open"),
        QuickLink("here", "Datasets", "versions and their downloads", "/datasets"),
        QuickLink("here", "Hotspots", "where models are least sure", "/hotspots"),
        QuickLink("dagster", "Take in recordings", "sensor new_recordings", f"{here}/sensors/new_recordings"),
        QuickLink("dagster", PROCESS, "Launchpad of production", f"{here}/jobs/production/playground"),
        QuickLink("dagster", "Import SAM2 exports", "Launchpad of prepare", f"{here}/jobs/prepare/playground"),
        QuickLink("dagster", "Create a dataset", "Launchpad of create_dataset", f"{here}/jobs/create_dataset/playground"),
        QuickLink("dagster", "All runs", "with their logs", f"{dagster_url}/runs"),
        QuickLink("dagster", "All assets", "and their lineage", f"{dagster_url}/asset-groups"),
        QuickLink("dagster", "Training", "is not part of the pipeline so far", None),
        QuickLink("dagster", "Best model", "no model is registered yet", None),
    )


def scene_page(scene: str) -> str:
    """Page of a scene."""
    return f"/scenes/{quote(scene, safe='')}"


def frame_in_3d(scene: str, index: int) -> str:
    """A scene in 3D, at a frame."""
    return f"{scene_page(scene)}/view?frame={index}"


def scenes_where(condition: str) -> str:
    """The scene library with those scenes of which a condition is true."""
    return f"/scenes?where={quote(condition)}"


def run_page(dagster_url: str, run_id: str) -> str:
    """A run in Dagster's UI."""
    return f"{dagster_url}/runs/{quote(run_id, safe='')}"
