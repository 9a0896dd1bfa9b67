"""The `mask_candidates` stage: what may be an object in the frames of a recording, level by level."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.segmentation.candidates import mask_candidates
from lamm_pipeline.segmentation.candidates.filters import filter_candidates
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates
from lamm_pipeline.segmentation.candidates.proposer import Proposal, Proposer
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings
from lamm_pipeline.segmentation.detections import FailedFrame
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, map_ordered, no_progress


@dataclass(frozen=True)
class CandidateSummary:
    """What the stage made of a recording.

    Attributes:
        frames: frames that candidates were made for.
        frames_with_candidates: those with at least one.
        candidates: in all levels.
        by_level: candidates by level.
        by_source: candidates by what proposed them.
        refused: proposals that were left out or changed, by reason.
        failed_frames: frames that the source could not look at.
        report: what the source has to say about the recording besides.
    """

    frames: int
    frames_with_candidates: int
    candidates: int
    by_level: Mapping[int, int]
    by_source: Mapping[str, int]
    refused: Mapping[str, int]
    failed_frames: tuple[FailedFrame, ...]
    report: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it stands in the artifact and its counts."""
        return {
            "frames": self.frames,
            "frames_with_candidates": self.frames_with_candidates,
            "candidates": self.candidates,
            "by_level": {str(level): count for level, count in self.by_level.items()},
            "by_source": dict(self.by_source),
            "refused": dict(self.refused),
            "failed_frames": [{"frame": failed.frame_id, "reason": failed.reason} for failed in self.failed_frames],
            **self.report,
        }


def propose_candidates(
    registry: FrameRegistry,
    proposer: Proposer,
    settings: CandidateSettings,
    draft: Draft,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> CandidateSummary:
    """Propose objects in every N-th of the frames that the source knows, and write a tree with a folder for each level.

    Args:
        registry: of the recording's frames.
        proposer: the source.
        settings: of the stage.
        draft: where the files go; work up to its last checkpoint is not repeated.
        workers: threads; None means one a processor.
        progress: told after every frame.

    Raises:
        InputError: the source could not look at more than `settings.max_bad_share` of the frames, or has nothing for this recording.
    """
    report = proposer.begin(registry)
    frames = [frame for frame in registry.selected_frames if proposer.knows(frame)][:: settings.every]
    log = draft.log("proposed.jsonl")
    done = int(draft.state.get("done", 0))

    def work(item: tuple[int, Callable[[], Proposal]]) -> dict[str, Any]:
        local_index, make = item
        frame = frames[local_index]
        proposal = make()
        if proposal.failure is not None:
            return {"frame_id": frame.frame_id, "failure": proposal.failure}
        kept = filter_candidates(proposal.by_level, settings, frame.frame_id, registry.width, registry.height)
        levels = {
            str(level): mask_candidates.frame_to_json(
                FrameCandidates(frame.frame_id, local_index, frame.svo2_frame_index, candidates),
                packed=settings.packed_masks,
                mask_scale_ratio=settings.mask_scale_ratio,
            )
            for level, candidates in kept.by_level.items()
        }
        return {"frame_id": frame.frame_id, "levels": levels, "refused": Counter(proposal.refused) + Counter(kept.refused)}

    made = enumerate(proposer.proposals(frames[done:]), start=done)
    for (local_index, _), record in map_ordered(work, made, workers):
        log.append(record)
        progress(local_index + 1, len(frames))
        if (local_index + 1) % CHECKPOINT_EVERY == 0:
            draft.checkpoint({"done": local_index + 1})
    summary = _summarize(log, proposer.levels, report)
    failed = summary.failed_frames
    if len(failed) > settings.max_bad_share * len(frames):
        raise InputError(
            f"There are no proposals for {len(failed)} of {len(frames)} frames of {registry.recording} (the first: {failed[0].reason}), "
            f"more than max_bad_share {settings.max_bad_share:g} allows. Make what they come from again for all frames, or allow more."
        )
    _write(draft.directory, log, proposer, settings)
    return summary


def _write(folder: Path, log: RecordLog, proposer: Proposer, settings: CandidateSettings) -> None:
    for level in proposer.levels:
        mask_candidates.write_level(folder, level, _logged(log, level), mask_scale_ratio=settings.mask_scale_ratio)


def _logged(log: RecordLog, level: int) -> Iterator[Mapping[str, Any]]:
    return (record["levels"][str(level)] for record in log if "levels" in record)


def _summarize(log: RecordLog, levels: Sequence[int], report: Mapping[str, Any]) -> CandidateSummary:
    by_level: Counter[int] = Counter(dict.fromkeys(levels, 0))
    by_source: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    failed: list[FailedFrame] = []
    frames = frames_with = 0
    for record in log:
        if "failure" in record:
            failed.append(FailedFrame(record["frame_id"], record["failure"]))
            continue
        frames += 1
        frames_with += any(stored["count"] for stored in record["levels"].values())
        refused.update(record["refused"])
        for level, stored in record["levels"].items():
            by_level[int(level)] += stored["count"]
            by_source.update(item["source"] for item in stored["items"])
    return CandidateSummary(
        frames=frames,
        frames_with_candidates=frames_with,
        candidates=by_level.total(),
        by_level=dict(sorted(by_level.items())),
        by_source=dict(sorted(by_source.items())),
        refused=dict(sorted(refused.items())),
        failed_frames=tuple(failed),
        report=report,
    )
