"""The stage `masklets`: candidates of some frames in, masks with identities in all frames out.

The video is worked on in windows, so that memory does not grow with its length. What is final after a window goes to the draft's log and
the rest is handed to the next window; a run that was cut off goes on at the last checkpoint, which lies between two windows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, no_progress
from lamm_pipeline.tracking.masklets.follow_window import Carry, Rules, follow_window
from lamm_pipeline.tracking.masklets.manifest import LevelResult
from lamm_pipeline.tracking.masklets.masklet_files import FollowedFrame, LevelFacts, Support, write_files
from lamm_pipeline.tracking.masklets.prompts import long_tail_area
from lamm_pipeline.tracking.masklets.propagation import Propagator, Video
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.settings import WINDOW, MaskletSettings
from lamm_pipeline.tracking.masklets.timings import Timings, progress_line
from lamm_pipeline.tracking.masklets.windows import Window, even_windows, windows_between

MAX_UNSUPPORTED = 10
MIN_SUPPORT = 3
LOG = "masklets.jsonl"
LevelSource = Callable[[], Iterable[FrameCandidates]]


@dataclass(frozen=True)
class MaskletSummary:
    """What the stage made of a recording.

    Attributes:
        frames: of the video.
        masklets: of all levels.
        masks: of all masklets in all frames.
        levels: results by level.
    """

    frames: int
    masklets: int
    masks: int
    levels: tuple[LevelResult, ...]


def track_masklets(
    levels: Mapping[int, LevelSource],
    video: Video,
    frames: Sequence[VideoFrame],
    propagator: Propagator,
    settings: MaskletSettings,
    draft: Draft,
    *,
    recording: str,
    min_area: int | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] | None = None,
    timings: Timings | None = None,
) -> MaskletSummary:
    """Follow the objects that candidates show through a video, and write `masklets.parquet` and what belongs to it into the draft.

    Args:
        levels: candidates by level; each call of a source streams its frames anew, in the order of the recording.
        video: the frames.
        frames: what they are called, as many as the video has.
        propagator: the back end.
        settings: of the stage.
        draft: continued from its last checkpoint; the result is the same to the byte.
        recording: recording key.
        min_area: least area of the candidates, where known; see `MaskletSettings.long_tail_area`.
        progress: told after every frame of every level.
        say: told at checkpoints which frame of the recording has been reached.
        timings: where time is counted to.

    Raises:
        InputError: a level that is wanted has no candidates file, or candidates are not in the order of the recording.
    """
    run = _Run(video, frames, propagator, settings, draft, min_area, progress, say, timings or Timings())
    facts = run.follow({level: levels[level] for level in _wanted(levels, settings.levels)})
    with run.timings.track("files"):
        results = write_files(
            draft,
            lambda level: _followed(run.log, level, video.size),
            facts,
            video,
            frames,
            settings,
            recording=recording,
            propagator=propagator.identity,
            support=Support(cut_back=run.rules.max_unsupported is not None, least=_min_support(settings, propagator)),
        )
    statistics = [each.statistics for each in results]
    return MaskletSummary(len(frames), sum(each.objects for each in statistics), sum(each.masks for each in statistics), tuple(results))


def _wanted(levels: Mapping[int, LevelSource], named: Sequence[int]) -> list[int]:
    missing = sorted(set(named) - set(levels))
    if missing or not levels:
        there = ", ".join(str(level) for level in sorted(levels)) or "none"
        wanted = f"level {missing[0]}" if missing else "any level"
        raise InputError(
            f"There are no mask candidates of {wanted} (there are: {there}). Run mask_candidates with it, or set other `levels`."
        )
    return sorted(named or levels)


def _rules(settings: MaskletSettings, propagator: Propagator, min_area: int | None) -> Rules:
    unsupported = settings.max_unsupported
    if unsupported is None and propagator.corrects:
        unsupported = MAX_UNSUPPORTED
    return Rules(
        prompt_mode=settings.prompt_mode,
        long_tail_area=long_tail_area(settings.long_tail_area, min_area),
        dedup_iou=settings.dedup_iou,
        match_iou=settings.match_iou,
        max_propagate=settings.max_propagate,
        max_unsupported=unsupported,
        corrects=propagator.corrects,
    )


def _min_support(settings: MaskletSettings, propagator: Propagator) -> int:
    if settings.min_support is not None:
        return settings.min_support
    return MIN_SUPPORT if propagator.corrects else 1


class _Run:
    def __init__(
        self,
        video: Video,
        frames: Sequence[VideoFrame],
        propagator: Propagator,
        settings: MaskletSettings,
        draft: Draft,
        min_area: int | None,
        progress: Progress,
        say: Callable[[str], None] | None,
        timings: Timings,
    ) -> None:
        if len(video) != len(frames):
            raise ValueError(f"the video has {len(video)} frames, {len(frames)} are named")
        self.rules = _rules(settings, propagator, min_area)
        self.log = draft.log(LOG)
        self.timings = timings
        self._video, self._frames, self._propagator, self._settings = video, frames, propagator, settings
        self._draft, self._progress, self._say = draft, progress, say
        self._positions = {frame.frame_index: position for position, frame in enumerate(frames)}
        self._done = self._checkpointed = int(draft.state.get("done", 0))

    def follow(self, levels: Mapping[int, LevelSource]) -> list[LevelFacts]:
        """Follow the objects of each level, as far as the draft has not got them."""
        self._total = len(levels) * len(self._frames)
        state = self._draft.state
        first = int(state.get("level", 0))
        carry = Carry.from_json(state["carry"], self._video.size) if state else Carry()
        facts = []
        for number, (level, source) in enumerate(levels.items()):
            with self.timings.track("candidates"):
                looked, unknown = self._looked(level, source)
            facts.append(LevelFacts(level, source, unknown))
            if number >= first:
                windows = self._windows(looked)
                begin = int(state.get("window", 0)) if number == first else 0
                carry = self._follow_level(number, level, source, windows, begin, looked, carry)
                carry = Carry(next_id=carry.next_id)
        return facts

    def _follow_level(
        self, number: int, level: int, source: LevelSource, windows: Sequence[Window], begin: int, looked: Sequence[int], carry: Carry
    ) -> Carry:
        candidates = _CandidateWindows(source(), self._positions)
        for n, window in enumerate(windows[begin:], start=begin):
            watched = _Watched(self._video)
            given = candidates.take(window)
            with self.timings.track("follow"), self._propagator.session(watched, window.start, window.end) as session:
                states, carry = follow_window(session, window, carry, given, looked, self._video.size, self.rules)
            for position in range(window.start, window.final):
                missing = position in watched.missing
                self.log.append({"level": level, "position": position, "unreadable": missing, **states[position].to_json()})
                self._done += 1
                self._progress(self._done, self._total)
            last = n + 1 == len(windows)
            if self._done - self._checkpointed >= CHECKPOINT_EVERY or last:
                reached = {"level": number + last, "window": 0 if last else n + 1}
                kept = Carry(next_id=carry.next_id) if last else carry
                self._draft.checkpoint({"done": self._done, **reached, "carry": kept.to_json()})
                self._checkpointed = self._done
                if self._say is not None:
                    index = self._frames[window.final - 1].frame_index
                    self._say(progress_line(f"masklets, level {level}", window.final, len(self._frames), index))
        return carry

    def _windows(self, looked: Sequence[int]) -> list[Window]:
        settings = self._settings
        if self._propagator.corrects and settings.window is None:
            return windows_between(looked, len(self._frames), WINDOW)
        length = settings.window or WINDOW
        return even_windows(len(self._frames), length, min(settings.overlap, length - 1))

    def _looked(self, level: int, source: LevelSource) -> tuple[list[int], int]:
        """Positions of the frames that have candidates or were searched in vain, and how many frames the video does not have."""
        looked: list[int] = []
        unknown = 0
        for frame in source():
            position = self._positions.get(frame.frame_index)
            if position is None:
                unknown += 1
            elif looked and position <= looked[-1]:
                raise InputError(
                    f"The candidates of level {level} are not in the order of the recording: frame {frame.frame_index} comes too late or "
                    "twice. Sort the frames of the file."
                )
            else:
                looked.append(position)
        return looked, unknown


class _CandidateWindows:
    """Takes the candidates of one window after the other from a stream."""

    def __init__(self, frames: Iterable[FrameCandidates], positions: Mapping[int, int]) -> None:
        self._coming = ((positions[each.frame_index], each.candidates) for each in frames if each.frame_index in positions)
        self._held: dict[int, tuple[MaskCandidate, ...]] = {}

    def take(self, window: Window) -> dict[int, tuple[MaskCandidate, ...]]:
        self._held = {position: each for position, each in self._held.items() if position >= window.start}
        while max(self._held, default=-1) < window.end:
            following = next(self._coming, None)
            if following is None:
                break
            if following[0] >= window.start:
                self._held[following[0]] = following[1]
        return {position: each for position, each in self._held.items() if position < window.end}


class _Watched:
    """A video that remembers which of the frames asked for it did not have."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self.missing: set[int] = set()

    def __len__(self) -> int:
        return len(self._video)

    @property
    def size(self) -> tuple[int, int]:
        return self._video.size

    def image(self, index: int) -> NDArray[np.uint8] | None:
        image = self._video.image(index)
        if image is None:
            self.missing.add(index)
        return image

    def depth(self, index: int) -> NDArray[np.float32] | None:
        return self._video.depth(index)


def _followed(log: RecordLog, level: int, size: tuple[int, int]) -> Iterator[FollowedFrame]:
    return (FollowedFrame.from_json(record, size) for record in log if record["level"] == level)
