"""Writes what people and later stages read of masklets, from the frames that were followed: table, list, archives, pictures, manifest."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets import manifest, masklet_table, masklets
from lamm_pipeline.tracking.masklets.archives import VideoArchiveWriter, archive_name, write_object_archive
from lamm_pipeline.tracking.masklets.comparison import ComparedFrame, write_comparisons
from lamm_pipeline.tracking.masklets.follow_window import DUPLICATE, PROMPTED, RESIZED, FrameState
from lamm_pipeline.tracking.masklets.manifest import LevelResult, LevelWarning
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow, MaskletTableWriter
from lamm_pipeline.tracking.masklets.masklets import Masklet, MaskletBuilder
from lamm_pipeline.tracking.masklets.previews import preview_frames
from lamm_pipeline.tracking.masklets.propagation import Video
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.settings import MaskletSettings
from lamm_pipeline.tracking.masklets.statistics import StatisticsBuilder

NO_CANDIDATES = "masklets.no_candidates"
UNKNOWN_FRAMES = "masklets.unknown_frames"
UNREADABLE_FRAMES = "masklets.unreadable_frames"
RESIZED_MASKS = "masklets.resized_masks"


@dataclass(frozen=True)
class FollowedFrame:
    """A frame that is final."""

    position: int
    unreadable: bool
    state: FrameState

    @classmethod
    def from_json(cls, record: Mapping[str, Any], size: tuple[int, int]) -> Self:
        """From the draft's log; `size` is width and height of the frame."""
        return cls(record["position"], record["unreadable"], FrameState.from_json(record, size))


@dataclass(frozen=True)
class LevelFacts:
    """What is known of a level before its frames are gone through.

    Attributes:
        level: its number.
        source: streams its candidates.
        unknown_frames: frames with candidates that the video does not have.
    """

    level: int
    source: Callable[[], Iterable[FrameCandidates]]
    unknown_frames: int


@dataclass(frozen=True)
class Support:
    """What candidates have to say for a masklet.

    Attributes:
        cut_back: it ends at the first looked-at frame without a candidate for it that none with one follows.
        least: in how many looked-at frames there has to be one, where it was seen in as many.
    """

    cut_back: bool
    least: int


def write_files(
    draft: Draft,
    followed: Callable[[int], Iterable[FollowedFrame]],
    levels: Sequence[LevelFacts],
    video: Video,
    frames: Sequence[VideoFrame],
    settings: MaskletSettings,
    *,
    recording: str,
    propagator: Mapping[str, Any],
    support: Support,
) -> list[LevelResult]:
    """Write all files of the artifact.

    Args:
        draft: gets them.
        followed: streams the frames of a level.
        levels: in the order of their ids.
        video: for pictures.
        frames: of the video.
        settings: of the stage.
        recording: recording key.
        propagator: identity of the back end.
        support: what candidates have to say for a masklet.
    """
    results: list[LevelResult] = []
    listed: list[Masklet] = []
    coverage: dict[str, dict[str, int]] = {}
    (draft.directory / manifest.FILE_NAME).unlink(missing_ok=True)  # of a run that was cut off while it wrote
    with MaskletTableWriter(draft.directory / masklet_table.FILE_NAME) as table:
        for facts in levels:
            ends, unconfirmed = _ends(followed(facts.level), support)

            def kept(level: int = facts.level, ends: Mapping[int, int] = ends) -> Iterator[FollowedFrame]:
                return (_trimmed(frame, ends) for frame in followed(level))

            writer = _LevelWriter(facts, video, frames, settings, draft, recording)
            found = writer.count(kept())
            writer.coverage["unconfirmed_masklets"] = unconfirmed
            results.append(writer.write(kept, table, found))
            manifest.update(draft.directory / manifest.FILE_NAME, results[-1])
            listed.extend(found)
            coverage[str(facts.level)] = writer.coverage
    head = {
        "recording": recording,
        "total_frames": len(frames),
        "total_masklets": len(listed),
        "propagator": dict(propagator),
        "levels": [each.statistics.to_json() for each in results],
        "coverage": coverage,
        "warnings": [warning.to_json() for each in results for warning in each.warnings],
    }
    masklets.write(draft.directory / masklets.FILE_NAME, head, listed)
    return results


def _ends(followed: Iterable[FollowedFrame], support: Support) -> tuple[dict[int, int], int]:
    """Where objects end, at the latest, and how many of them are left out: they end where the video begins."""
    ends: dict[int, int] = {}
    covered: Counter[int] = Counter()
    looked: Counter[int] = Counter()
    for frame in followed:
        state = frame.state
        for key in state.masks if state.looked else ():
            looked[key] += 1
            if key in state.prompts or key in state.supports:
                covered[key] += 1
                ends.pop(key, None)
            else:
                ends.setdefault(key, frame.position)
    if not support.cut_back:
        ends.clear()
    unconfirmed = [key for key in looked if covered[key] < support.least <= looked[key]]
    ends.update(dict.fromkeys(unconfirmed, 0))
    return ends, len(unconfirmed)


def _trimmed(frame: FollowedFrame, ends: Mapping[int, int]) -> FollowedFrame:
    masks = frame.state.masks
    frame.state.masks = {key: found for key, found in sorted(masks.items()) if frame.position < ends.get(key, frame.position + 1)}
    return frame


class _LevelWriter:
    def __init__(
        self,
        facts: LevelFacts,
        video: Video,
        frames: Sequence[VideoFrame],
        settings: MaskletSettings,
        draft: Draft,
        recording: str,
    ) -> None:
        self._facts, self._video, self._frames, self._settings = facts, video, frames, settings
        self._directory = draft.directory
        self._folder = f"level_{facts.level}"
        self._recording = recording
        self._statistics = StatisticsBuilder(facts.level)
        self._fates: Counter[str] = Counter()
        self._unreadable: list[int] = []
        self._shown: list[int] = []
        self._looked = 0
        self.coverage = {"frames_with_candidates": 0, "of_these_with_masklets": 0}
        """How many frames have candidates that can be followed, and how many of these have masklets."""

    def count(self, followed: Iterable[FollowedFrame]) -> list[Masklet]:
        """Go through the frames once for all that has to be known before they are written."""
        builders: dict[int, MaskletBuilder] = {}
        for frame in followed:
            state, name = frame.state, self._frames[frame.position]
            for key in state.masks:
                builder = builders.setdefault(key, MaskletBuilder(key, self._facts.level, frame.position, name.frame_index))
                builder.see(frame.position, name.frame_index)
                for said, count in ((state.prompts, "prompts"), (state.supports, "supports")):
                    if key in said:
                        setattr(builder, count, getattr(builder, count) + 1)
                        builder.hear(said[key].class_id, said[key].score)
            self._statistics.add(name.timestamp_ns, state.masks)
            self._fates.update(state.counts)
            self._looked += state.looked
            if state.counts[PROMPTED] + state.counts[DUPLICATE]:
                self.coverage["frames_with_candidates"] += 1
                self.coverage["of_these_with_masklets"] += bool(state.masks)
            if frame.unreadable:
                self._unreadable.append(name.frame_index)
            if state.masks or state.counts:
                self._shown.append(frame.position)
        return [builders[key].result() for key in sorted(builders)]

    def write(self, followed: Callable[[], Iterable[FollowedFrame]], table: MaskletTableWriter, found: Sequence[Masklet]) -> LevelResult:
        """Go through the frames again and write them."""
        classes = {each.masklet_id: each.class_id for each in found}
        artifacts = self._write_masks(followed(), table, classes)
        warnings = self._warnings()
        if self._settings.render_previews:
            warnings += write_comparisons(self._directory / self._folder / "previews", self._compared(followed), self._facts.level)
        previews = sorted((self._directory / self._folder / "previews").glob("*.png"))
        return LevelResult(
            level=self._facts.level,
            artifacts=artifacts,
            previews=tuple(path.relative_to(self._directory).as_posix() for path in previews),
            warnings=tuple(warnings),
            statistics=self._statistics.result(self._fates),
        )

    def _write_masks(
        self, followed: Iterable[FollowedFrame], table: MaskletTableWriter, classes: Mapping[int, str | None]
    ) -> dict[str, str]:
        """The rows of the table, and both archives."""
        ratio = self._settings.mask_scale_ratio
        by_frame, by_object = (f"{self._folder}/tracking/{archive_name(stem, ratio)}" for stem in ("video_segments", "object_segments"))
        in_frames: dict[int, list[int]] = defaultdict(list)
        meta = {"level": self._facts.level, "recording": self._recording}
        with VideoArchiveWriter(self._directory / by_frame, meta=meta, mask_scale_ratio=ratio) as archive:
            for frame in followed:
                name = self._frames[frame.position]
                objects = {}
                for key, mask in frame.state.masks.items():
                    table.add(self._row(key, frame.state, name, classes[key]))
                    objects[key] = packed_mask.pack(rle.decode(mask.mask_rle), ratio)
                    in_frames[key].append(name.frame_index)
                archive.add(name.frame_index, name.name, objects)
        write_object_archive(
            self._directory / by_object,
            in_frames,
            level=self._facts.level,
            linked_video=by_frame.rsplit("/", 1)[1],
            mask_scale_ratio=ratio,
        )
        return {"video_segments": by_frame, "object_segments": by_object}

    def _row(self, key: int, state: FrameState, frame: VideoFrame, class_id: str | None) -> MaskletRow:
        mask_rle = state.masks[key].mask_rle
        prompt = state.prompts.get(key)
        x1, y1, x2, y2 = rle.box_xyxy(mask_rle)
        return MaskletRow(
            recording=self._recording,
            level=self._facts.level,
            masklet_id=key,
            class_id=class_id,
            frame_id=frame.frame_id,
            frame_index=frame.frame_index,
            timestamp_ns=frame.timestamp_ns,
            height=mask_rle["size"][0],
            width=mask_rle["size"][1],
            counts=mask_rle["counts"],
            area=rle.area(mask_rle),
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            score=None if prompt is None else prompt.score,
            origin=state.origin(key).value,
            candidate_id=None if prompt is None else prompt.candidate_id,
        )

    def _compared(self, followed: Callable[[], Iterable[FollowedFrame]]) -> Iterator[ComparedFrame]:
        """The frames that are drawn."""
        settings = self._settings
        chosen = set(preview_frames(self._shown, settings.preview_stride, settings.preview_max))
        wanted = {self._frames[position].frame_index for position in chosen}
        candidates = {each.frame_index: each.candidates for each in self._facts.source() if each.frame_index in wanted}
        for frame in followed():
            if frame.position in chosen:
                name = self._frames[frame.position]
                masks = {key: rle.decode(found.mask_rle) for key, found in frame.state.masks.items()}
                image = self._video.image(frame.position)
                yield name.frame_id, name.frame_index, image, candidates.get(name.frame_index, ()), masks

    def _warnings(self) -> list[LevelWarning]:
        level, found = self._facts.level, []
        if not self._fates.total():
            looked = f"the {self._looked} frames that were looked at show none" if self._looked else "no frame was looked at"
            found.append(LevelWarning(NO_CANDIDATES, level, f"There is nothing to follow: {looked}."))
        if self._facts.unknown_frames:
            message = f"{self._facts.unknown_frames} frames with candidates are not among the extracted frames; they were left out."
            found.append(LevelWarning(UNKNOWN_FRAMES, level, message))
        if self._unreadable:
            message = "Images are missing or damaged; masks stand still there."
            found.append(LevelWarning(UNREADABLE_FRAMES, level, message, tuple(self._unreadable)))
        if self._fates[RESIZED]:
            message = f"{self._fates[RESIZED]} masks of candidates had another size than their frame and were brought to it."
            found.append(LevelWarning(RESIZED_MASKS, level, message))
        return found
