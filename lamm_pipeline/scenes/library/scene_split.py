"""How a draft would be split, told before it is saved: by the function that splits the version itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lamm_pipeline.datasets.settings import BalanceBy, SplitSettings, SplitStrategy
from lamm_pipeline.datasets.splits.split_frames import NEWCOMER, SPLITS, SplitFrames
from lamm_pipeline.datasets.splits.split_plans import plan_splits
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.scene_table import Scene


@dataclass(frozen=True)
class SceneSplit:
    """Numbers of scenes.

    Attributes:
        total: of the draft.
        scenes: by split; None where scenes are not kept whole, or cannot be split so.
        notes: sentences for people.
    """

    total: int
    scenes: Mapping[str, int] | None
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`Total scenes: 200, Train: 160, Val: 20, Test: 20`."""
        return ", ".join([f"Total scenes: {self.total}", *(f"{name.title()}: {count}" for name, count in (self.scenes or {}).items())])


def split_scenes(name: str, scenes: Sequence[Scene], settings: SplitSettings, previous: Mapping[str, str] | None = None) -> SceneSplit:
    """Plan the split of whole scenes.

    The counts are those of the version if every scene has selected frames; where shares are of frames, the selection can move them.

    Args:
        name: of the dataset.
        scenes: of the draft.
        settings: strategy, ratios, seed.
        previous: split of the scenes that keep their place, by id.
    """
    if not scenes:
        return SceneSplit(0, dict.fromkeys(SPLITS, 0))
    wanted = sum(ratio > 0 for ratio in settings.ratios.values())
    whole = {SplitStrategy.recording, SplitStrategy.temporal} | ({SplitStrategy.auto} if len(scenes) >= wanted else set())
    if settings.strategy not in whole:
        words = {SplitStrategy.auto: "There are too few scenes to keep them whole: each is cut into blocks"}
        return SceneSplit(len(scenes), None, (f"{words.get(settings.strategy, 'Scenes are not kept whole by this strategy')}.",))
    by_frames = settings.balance_by is BalanceBy.frames
    known = previous or {}
    ordered = sorted(scenes, key=lambda each: each.scene_id)
    sizes = [max(each.frames or 1, 1) if by_frames else 1 for each in ordered]
    recording = np.repeat(np.arange(len(ordered)), sizes)
    places = [SPLITS.index(known[each.scene_id]) if each.scene_id in known else NEWCOMER for each in ordered]
    frames = _frames(ordered, recording)
    try:
        plan = plan_splits(frames, settings, name, np.asarray(places, np.int8)[recording])
    except InputError as error:
        return SceneSplit(len(scenes), None, (str(error),))
    first = np.unique(recording, return_index=True)[1]
    counts = {split: int(np.count_nonzero(plan.codes[first] == number)) for number, split in enumerate(SPLITS)}
    kept = sum(each.scene_id in known for each in ordered)
    notes = [*plan.notes, *([f"{kept} scenes stay where the version before has them."] if kept else [])]
    if by_frames:
        notes.append("Shares are of frames: which frames are selected can move them.")
    return SceneSplit(len(scenes), counts, tuple(notes))


def _frames(scenes: Sequence[Scene], recording: np.ndarray[tuple[int], np.dtype[np.int64]]) -> SplitFrames:
    """Frames that stand for scenes in a plan that keeps scenes whole."""
    nothing = np.zeros(len(recording), np.int64)
    stamps = [None if each.captured_at is None else int(each.captured_at.timestamp() * 1e9) for each in scenes]
    return SplitFrames(
        frame_ids=pa.chunked_array([pa.array([f"{number}" for number in range(len(recording))])]),
        recordings=tuple(each.scene_id for each in scenes),
        recording=recording,
        frame_index=np.arange(len(recording)),
        place=np.arange(len(recording)),
        first_stamps=tuple(stamps),
        image_hash=nothing.astype(np.uint64),
        hashed=nothing.astype(bool),
        classes=(),
        owner=np.empty(0, np.int64),
        label=np.empty(0, np.int64),
    )
