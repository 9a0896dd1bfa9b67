"""What a run will take: frames, disk space and time, before any work."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.cli.session import Session
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.checks import estimated_bytes, wanted_frames
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.recordings.assets import FILE_NAME
from lamm_pipeline.recordings.frame_timing import measure
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore

MUCH_BYTES = 20 * 10**9
MUCH_SECONDS = 30 * 60.0
RATES_FPS = (15.0, 10.0, 5.0, 2.0, 1.0, 0.5)
SCALING = frozenset({"frames", "diversity_metrics", "detections", "masklets"})
"""Assets whose time grows with the size of the image."""

DEFAULT_PIXELS = 1280 * 720
DEFAULT_RATES = {"frames": 4.0, "diversity_metrics": 40.0, "detections": 1.5, "boxes_3d": 7.0, "tracks": 200.0, "masklets": 8.0}
"""Frames a second at 1280x720 on two processors, from runs over street scenes with default settings."""

MIN_UNITS = 10
"""Runs over fewer frames are start-up more than work, and say nothing about the rate."""


@dataclass(frozen=True)
class Estimate:
    """What is to be expected; published work that need not be done again is not taken off.

    Attributes:
        recordings: number of recordings that can be read.
        frames: frames to extract.
        size_bytes: disk space of the extracted frames.
        seconds: of all stages asked for.
        measured: assets whose rate comes from this root; the others have default rates.
        suggested_fps: a rate of extraction that makes it a bearable amount; None when it is one.
    """

    recordings: int
    frames: int
    size_bytes: int
    seconds: float
    measured: tuple[str, ...]
    suggested_fps: float | None

    @property
    def sentence(self) -> str:
        """For people."""
        source = "rates measured in this root" if self.measured else "default rates: nothing was measured in this root yet"
        amount = f"{self.recordings} recordings, {self.frames:,} frames: about {self.size_bytes / 1e9:.1f} GB"
        text = f"{amount} and {_time(self.seconds)} ({source})."
        if self.suggested_fps is not None:
            text += f" That is a lot; --fps {self.suggested_fps:g} takes fewer frames, --dry-run only shows this."
        return text


def estimate(session: Session, targets: Iterable[str], assets: Sequence[str], config: Mapping[str, Any]) -> Estimate:
    """Estimate a run; nothing is taken in or computed.

    Args:
        session: the house.
        targets: SVO2 files, or keys of known recordings; those that cannot be read count nothing, their run will say why.
        assets: what is to be made.
        config: settings by asset.
    """
    settings = FrameSettings.model_validate(
        {name: value for name, value in config.get("frames", {}).items() if name in FrameSettings.model_fields}
    )
    facts = [each for target in dict.fromkeys(targets) if (each := _facts(session, target)) is not None]
    rates = {asset: rate for asset in DEFAULT_RATES if (rate := _rate(session, asset)) is not None}

    def totals(chosen: FrameSettings) -> tuple[int, int, float]:
        frames = [wanted_frames(each, chosen) for each in facts]
        seconds = sum(count * _seconds_a_frame(each, assets, rates) for each, count in zip(facts, frames, strict=True))
        return sum(frames), sum(estimated_bytes(each, chosen) for each in facts), seconds

    frames, size, seconds = totals(settings)
    suggested = None
    if size > MUCH_BYTES or seconds > MUCH_SECONDS:
        fewer = [fps for fps in RATES_FPS if totals(settings.model_copy(update={"target_fps": fps}))[0] < frames]
        bearable = (fps for fps in fewer if _is_bearable(*totals(settings.model_copy(update={"target_fps": fps}))[1:]))
        suggested = next(bearable, fewer[-1] if fewer else None)
    return Estimate(len(facts), frames, size, seconds, tuple(name for name in assets if name in rates), suggested)


def _is_bearable(size_bytes: int, seconds: float) -> bool:
    return size_bytes <= MUCH_BYTES and seconds <= MUCH_SECONDS


def _facts(session: Session, target: str) -> dict[str, Any] | None:
    """Size, rate and number of frames of a recording, from its published facts or from the file; None when it cannot be read."""
    catalog, path = session.workspace.catalog, Path(target).expanduser()
    if not path.exists() and catalog.recordings.has(target):
        row = catalog.recordings.get(target)
        published = session.workspace.store.current(ArtifactKey("recordings", target, "recording"))
        if published is not None and row.digest is not None and published.manifest.identity.files.get("recording") == row.digest:
            return dict(json.loads(published.file(FILE_NAME).read_text()))
        path = Path(row.path)
    try:
        with open_svo2(path) as reader:
            info = reader.info
            rate = measure(info.frame_timestamps_ns).fps
            return {"frame_count": info.frame_count, "width": info.width, "height": info.height, "measured_fps": rate}
    except (InputError, OSError):
        return None


def _seconds_a_frame(facts: Mapping[str, Any], assets: Sequence[str], rates: Mapping[str, float]) -> float:
    size = facts["width"] * facts["height"] / DEFAULT_PIXELS
    return sum(
        (size if asset in SCALING else 1.0) / rates.get(asset, default) for asset, default in DEFAULT_RATES.items() if asset in assets
    )


def _rate(session: Session, asset: str) -> float | None:
    """Median rate of an asset in this root, frames a second at 1280x720; None when nothing was measured."""
    store = session.workspace.store
    found = (_measured(store, key, asset) for key in session.workspace.catalog.recordings.all_keys())
    rates = [rate for rate in found if rate is not None]
    return statistics.median(rates) if rates else None


def _measured(store: ArtifactStore, key: str, asset: str) -> float | None:
    made, recording = (store.current(ArtifactKey("recordings", key, name)) for name in (asset, "recording"))
    run = None if made is None else store.run(made)
    if run is None or recording is None or run.get("units", 0) < MIN_UNITS or run.get("units_per_second", 0) <= 0:
        return None
    facts = json.loads(recording.file(FILE_NAME).read_text())
    return float(run["units_per_second"]) * (facts["width"] * facts["height"] / DEFAULT_PIXELS if asset in SCALING else 1.0)


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
