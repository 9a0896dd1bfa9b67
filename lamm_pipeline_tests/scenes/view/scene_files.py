"""Scenes read back by Rerun's own reader."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamm_pipeline_tests.needs import need


def need_rerun() -> None:
    """Skip the test where the extra `view` is not installed."""
    need(importlib.util.find_spec("rerun") is not None, "Rerun is not here (pip install 'lamm-pipeline[view]')")


def read_scene(path: Path) -> dict[str, dict[int | None, dict[str, Any]]]:
    """What is in a scene: by entity and frame index (None = at all times) the values by component."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[int | None, dict[str, Any]]] = {}
    for chunk in RrdReader(path).stream():
        columns: Mapping[str, list[Any]] = chunk.to_record_batch().to_pydict()
        for row in range(chunk.num_rows):
            frame = None if chunk.is_static else columns["frame"][row]
            values = {name: each[row] for name, each in columns.items() if ":" in name and each[row] is not None}
            found.setdefault(str(chunk.entity_path), {}).setdefault(frame, {}).update(values)
    return found


def rows_in_order(path: Path, entity: str) -> list[tuple[int, set[str]]]:
    """What is logged of an entity at a frame, in the order of the file: frame index and names of the components."""
    from rerun.chunk import RrdReader

    found = []
    for chunk in RrdReader(path).stream():
        if str(chunk.entity_path).removeprefix("/") == entity and not chunk.is_static:
            columns: Mapping[str, list[Any]] = chunk.to_record_batch().to_pydict()
            for row in range(chunk.num_rows):
                names = {name for name, each in columns.items() if ":" in name and each[row] is not None}
                found.append((int(columns["frame"][row]), names))
    return found


def rgb(packed: int) -> tuple[int, int, int]:
    """Red, green, blue of a colour as Rerun stores it."""
    return packed >> 24, packed >> 16 & 255, packed >> 8 & 255
