"""Makes the source of candidates that the settings name, and the one that takes the detections."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.candidates.filters import WITHIN_SHARE, by_nesting
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.segmentation.candidates.proposer import Proposal, Proposer
from lamm_pipeline.segmentation.candidates.sam2_proposer import Sam2Proposer
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings, CandidateSource
from lamm_pipeline.segmentation.candidates.tree import ExternalTree
from lamm_pipeline.segmentation.detections import FrameDetections

ONE_LEVEL = (1,)


def make_proposer(settings: CandidateSettings, frames_folder: Path, detections_path: Path | None) -> Proposer:
    """Make the source `settings.source`.

    Args:
        settings: of the stage.
        frames_folder: the artifact folder of the frames.
        detections_path: `detections.json` of the recording, for the source `detections`.

    Raises:
        InputError: a level is named twice, or a package or file that the source needs is missing or damaged.
    """
    levels = tuple(sorted(settings.levels)) or ONE_LEVEL
    if len(set(levels)) < len(levels) or min(levels) < 0:
        raise InputError(f"`levels` is {settings.levels}; give numbers of 0 or more, each once, such as [2, 4, 6].")
    if settings.source is CandidateSource.external:
        return ExternalTree(settings)
    if settings.source is CandidateSource.sam2:
        return Sam2Proposer(settings, levels, frames_folder)
    if detections_path is None:
        raise InputError("The source 'detections' needs the detections of the recording; materialize `detections` first.")
    return DetectionsProposer(detections_path, levels)


class DetectionsProposer:
    """Proposes the detections of a recording, with their classes and masks.

    Args:
        path: `detections.json`.
        levels: ascending, at least one.
    """

    def __init__(self, path: Path, levels: tuple[int, ...]) -> None:
        self._path = path
        self._levels = levels

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Proposer`. The version of the detections is among the artifact's inputs."""
        return {"source": "detections", "within_share": WITHIN_SHARE}

    @property
    def levels(self) -> tuple[int, ...]:
        """See `Proposer`."""
        return self._levels

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:  # noqa: ARG002 - of the protocol
        """Nothing to prepare."""
        return {}

    def knows(self, frame: FrameRecord) -> bool:  # noqa: ARG002 - of the protocol
        """Every frame."""
        return True

    def proposals(self, frames: Sequence[FrameRecord]) -> Iterator[Callable[[], Proposal]]:
        """See `Proposer`."""
        seen = detections.read(self._path)
        ahead = next(seen, None)
        for frame in frames:
            while ahead is not None and ahead.frame_index < frame.svo2_frame_index:
                ahead = next(seen, None)
            yield partial(self._propose, ahead if ahead is not None and ahead.frame_index == frame.svo2_frame_index else None)

    def _propose(self, frame: FrameDetections | None) -> Proposal:
        if frame is None:
            return Proposal({}, failure="the detections have not looked at this frame")
        candidates = [
            MaskCandidate(each.detection_id, each.class_id, each.confidence, None, each.box_xyxy, each.mask_rle, each.area, "detections")
            for each in frame.detections
        ]
        return Proposal(by_nesting(candidates, self._levels, frame.width, frame.height))
