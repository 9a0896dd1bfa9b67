"""`tracking_manifest.json`: what each level gave: files, warnings, statistics. The result of a level, in memory and on disk."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.tracking.masklets.statistics import LevelStatistics
from lamm_pipeline.tracking.masklets.timings import Timings

FILE_NAME = "tracking_manifest.json"


@dataclass(frozen=True)
class LevelWarning:
    """Something about a level that people should know.

    Attributes:
        code: for programs, such as `comparison.missing_sources`.
        level: of the candidates.
        message: for people.
        frames: indices in the recording of the frames it is about.
    """

    code: str
    level: int
    message: str
    frames: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in manifests."""
        return asdict(self) | {"frames": list(self.frames)}


@dataclass(frozen=True)
class LevelResult:
    """What one level gave.

    Attributes:
        level: of the candidates.
        artifacts: files by role, relative to the artifact's folder, such as `video_segments`.
        previews: pictures, relative to the artifact's folder.
        warnings: about this level.
        statistics: its numbers.
        timings: where time went; not in the manifest, because outputs know no clock.
    """

    level: int
    artifacts: Mapping[str, str]
    previews: tuple[str, ...]
    warnings: tuple[LevelWarning, ...]
    statistics: LevelStatistics
    timings: Timings = field(default_factory=Timings, compare=False)


def update(path: Path, result: LevelResult) -> None:
    """Put a level into the manifest, in place of an earlier result of that level; the other levels stay.

    Args:
        path: of the manifest, which need not exist yet.
        result: of the level.

    Raises:
        InputError: the manifest that exists is damaged.
    """
    levels = read(path)["levels"] if path.exists() else {}
    levels[str(result.level)] = {
        "level": result.level,
        "artifacts": dict(sorted(result.artifacts.items())),
        "previews": list(result.previews),
        "warnings": [warning.to_json() for warning in result.warnings],
        "statistics": result.statistics.to_json(),
    }
    ordered = {name: levels[name] for name in sorted(levels, key=int)}
    totals = {key: sum(each["statistics"][key] for each in ordered.values()) for key in ("objects", "masks", "broken")}
    warnings = [warning for each in ordered.values() for warning in each["warnings"]]
    write_json(path, {"levels": ordered, "totals": {"levels": len(ordered), **totals}, "warnings": warnings})


def read(path: Path) -> dict[str, Any]:
    """The manifest.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"The manifest {path} does not exist; run the stage that writes it.") from None
    except ValueError as error:
        raise InputError(f"The manifest {path} is not valid JSON ({error}); run its stage again.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("levels"), dict):
        raise InputError(f"The manifest {path} has no `levels`; it is a file of another kind.")
    return manifest
