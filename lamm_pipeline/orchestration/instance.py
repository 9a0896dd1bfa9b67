"""The Dagster instance that the UI and the command line share: it lives in the root unless DAGSTER_HOME says otherwise."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from lamm_pipeline import partitions

INSTANCE_SETTINGS = Path(__file__).parent / "dagster.yaml"
POOL_LIMITS = {"gpu": 1, "io": 2}
ACTOR_TAG = "lamm/actor"
"""Run tag that names who launched the run."""


def dagster_home(root: Path) -> Path:
    """DAGSTER_HOME: the environment's, else `dagster` in the root; created, with instance settings when it has none."""
    home = Path(os.environ.get("DAGSTER_HOME") or root / "dagster").expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(INSTANCE_SETTINGS, home / "dagster.yaml")
    return home


@contextmanager
def open_instance(root: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of this root, with the pools' limits set where nobody has set them."""
    with dg.DagsterInstance.from_config(str(dagster_home(root))) as instance:
        storage = instance.event_log_storage
        present = {pool.name for pool in storage.get_pool_limits()}
        for pool, limit in POOL_LIMITS.items():
            if pool not in present:
                storage.set_concurrency_slots(pool, limit)
        yield instance


def add_recording_partitions(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Make recordings known to Dagster; returns the keys that are new to it."""
    return _add(instance, partitions.recordings, keys)


def add_export_partitions(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Make annotation exports known to Dagster; returns the keys that are new to it."""
    return _add(instance, partitions.annotation_exports, keys)


def add_version_partitions(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Make dataset versions known to Dagster; returns the keys that are new to it."""
    return _add(instance, partitions.dataset_versions, keys)


def remove_version_partition(instance: dg.DagsterInstance, key: str) -> None:
    """Have Dagster forget a dataset version that was deleted; what it did with it stays in its history."""
    instance.delete_dynamic_partition(str(partitions.dataset_versions.name), key)


def _add(instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, keys: Iterable[str]) -> list[str]:
    name = str(definition.name)
    present = set(instance.get_dynamic_partitions(name))
    new = [key for key in dict.fromkeys(keys) if key not in present]
    if new:
        instance.add_dynamic_partitions(name, new)
    return new
