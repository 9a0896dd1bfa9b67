"""One window of a video: candidates become objects, objects are followed, and their identities go on from the window before."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.tracking.masklets.dedup import DedupStore
from lamm_pipeline.tracking.masklets.prompts import Proposal, propose
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt, Session
from lamm_pipeline.tracking.masklets.settings import PromptMode
from lamm_pipeline.tracking.masklets.windows import Window

PROMPTED = "prompted"
DUPLICATE = "on what is followed already"
RESIZED = "mask of another size than the frame"


class Origin(StrEnum):
    """Where the mask of an object in a frame comes from; names equal values."""

    prompt = "prompt"
    carried = "carried"
    forward = "forward"
    backward = "backward"


@dataclass(frozen=True)
class Rules:
    """What decides how objects are found and followed; see `MaskletSettings`."""

    prompt_mode: PromptMode
    long_tail_area: int
    dedup_iou: float
    match_iou: float
    max_propagate: int | None
    max_unsupported: int | None
    corrects: bool


@dataclass(frozen=True)
class Evidence:
    """A candidate that speaks for an object in a frame."""

    candidate_id: str
    class_id: str | None
    score: float | None

    @classmethod
    def of(cls, candidate: MaskCandidate) -> Self:
        """What a candidate says."""
        return cls(candidate.candidate_id, candidate.class_id, candidate.score)


@dataclass(frozen=True)
class Found:
    """An object in a frame; `origin` says how its mask got there, a prompt in this very frame aside."""

    mask_rle: Mapping[str, Any]
    origin: Origin


@dataclass
class FrameState:
    """All objects of one frame.

    Attributes:
        masks: by object id.
        prompts: the candidate that an object was prompted by in this frame.
        supports: candidates that lie on an object in this frame without being its prompt.
        looked: whether candidates were looked for in this frame, found or not.
        counts: what became of the frame's candidates.
    """

    masks: dict[int, Found] = field(default_factory=dict)
    prompts: dict[int, Evidence] = field(default_factory=dict)
    supports: dict[int, Evidence] = field(default_factory=dict)
    looked: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def origin(self, key: int) -> Origin:
        """Where the mask of an object comes from."""
        return Origin.prompt if key in self.prompts else self.masks[key].origin

    def to_json(self) -> dict[str, Any]:
        """For the draft's log and checkpoint."""
        return {
            "masks": {str(key): [found.mask_rle["counts"], found.origin] for key, found in self.masks.items()},
            "prompts": _evidence_to_json(self.prompts),
            "supports": _evidence_to_json(self.supports),
            "looked": self.looked,
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: tuple[int, int]) -> Self:
        """From the draft's log and checkpoint; `size` is width and height of the frame."""
        rows = [size[1], size[0]]
        masks = {int(key): Found({"size": rows, "counts": counts}, Origin(origin)) for key, (counts, origin) in value["masks"].items()}
        prompts, supports = ({int(key): Evidence(*each) for key, each in value[name].items()} for name in ("prompts", "supports"))
        return cls(masks, prompts, supports, value["looked"], Counter(value["counts"]))


@dataclass(frozen=True)
class Life:
    """What is remembered of a followed object.

    Attributes:
        prompted: the frame of its last prompt.
        covered: the last frame in which a candidate lay on it.
    """

    prompted: int
    covered: int


@dataclass(frozen=True)
class Carry:
    """What a window hands to the next; it does not grow with the video.

    Attributes:
        next_id: of the next new object.
        frames: the overlap, as this window left it.
        lives: of the objects in the overlap.
    """

    next_id: int = 1
    frames: Mapping[int, FrameState] = field(default_factory=dict)
    lives: Mapping[int, Life] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the draft's checkpoint."""
        return {
            "next_id": self.next_id,
            "frames": {str(frame): state.to_json() for frame, state in self.frames.items()},
            "lives": {str(key): [life.prompted, life.covered] for key, life in self.lives.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: tuple[int, int]) -> Self:
        """From the draft's checkpoint; `size` is width and height of a frame."""
        return cls(
            value["next_id"],
            {int(frame): FrameState.from_json(state, size) for frame, state in value["frames"].items()},
            {int(key): Life(*life) for key, life in value["lives"].items()},
        )


def follow_window(
    session: Session,
    window: Window,
    carry: Carry,
    candidates: Mapping[int, Sequence[MaskCandidate]],
    looked: Sequence[int],
    size: tuple[int, int],
    rules: Rules,
) -> tuple[dict[int, FrameState], Carry]:
    """Follow what was followed before, and what candidates show, through one window.

    Args:
        session: the back end, opened for this window.
        window: its frames.
        carry: from the window before.
        candidates: of the window's frames, by frame; a frame that was looked at without finding any has an empty list.
        looked: all frames of the video that were looked at, ascending.
        size: width and height of a frame.
        rules: thresholds.

    Returns:
        Every frame of the window, those of the overlap with the next window included, and what to hand to that one.
    """
    run = _Run(session, window, carry, looked, size, rules)
    run.begin()
    for frame in sorted({run.first, *candidates}):
        run.look(frame, candidates.get(frame))
    run.stitch()
    return run.frames, run.hand_over()


class _Run:
    def __init__(self, session: Session, window: Window, carry: Carry, looked: Sequence[int], size: tuple[int, int], rules: Rules) -> None:
        self.frames = {frame: FrameState() for frame in range(window.start, window.end)}
        self._session = session
        self._window = window
        self._carry = carry
        self._looked = looked
        self._width, self._height = size
        self._rules = rules
        self._dedup = DedupStore(rules.dedup_iou)
        self._lives = dict(carry.lives)
        self._next_id = carry.next_id
        # a back end may see nothing in the window's first frame, when its image is damaged
        self.first = next((frame for frame, before in carry.frames.items() if before.masks), window.start)
        before = carry.frames.get(self.first, FrameState())
        self._carried = {key: rle.decode(found.mask_rle) for key, found in before.masks.items()}

    def begin(self) -> None:
        """Take over from the window before: the masks of the first frame with any, and what prompted whom in the overlap."""
        for frame, before in self._carry.frames.items():
            self.frames[frame].prompts = dict(before.prompts)
        self._keep(self.first, self._carried, Origin.carried)

    def look(self, frame: int, candidates: Sequence[MaskCandidate] | None) -> None:
        """Follow objects from one frame on: at the window's start what was followed before, in frames with candidates what they show."""
        state = self.frames[frame]
        proposals = self._proposals(frame, candidates or ())
        corrected = self._corrections(frame, proposals) if self._rules.corrects else {}
        found = self._new(frame, proposals, corrected)
        if candidates is not None:
            state.looked = True
            self._end_unsupported(frame)
        prompts: dict[int, Prompt] = {}
        if frame == self.first:
            prompts = {key: Prompt(mask=self._carried[key]) for key in state.masks}
        prompts |= {key: self._prompt(each) for key, each in (corrected | found).items()}
        for key in corrected:
            self._forget(key, frame + 1)
        self._propagate(frame, prompts, Origin.forward)
        if frame > self._window.start:
            self._propagate(frame, {key: prompts[key] for key in found}, Origin.backward)

    def stitch(self) -> None:
        """Give objects that were found in the overlap the ids that the window before had for them, where those were not followed on."""
        overlap = list(self._carry.frames)
        followed = {key for frame, state in self.frames.items() if frame > self.first for key in state.masks}
        before = sorted({key for frame in overlap for key in self._carry.frames[frame].masks} - followed)
        after = sorted({key for frame in overlap for key in self.frames[frame].masks if key >= self._carry.next_id})
        if not before or not after:
            return
        shared = np.zeros((len(before), len(after)))
        frames = np.zeros_like(shared)
        for frame in overlap:
            old, new = self._carry.frames[frame].masks, self.frames[frame].masks
            rows = [n for n, key in enumerate(before) if key in old]
            columns = [n for n, key in enumerate(after) if key in new]
            iou = rle.iou_matrix([old[before[n]].mask_rle for n in rows], [new[after[n]].mask_rle for n in columns])
            shared[np.ix_(rows, columns)] += iou
            frames[np.ix_(rows, columns)] += 1
        mean = np.divide(shared, frames, out=np.zeros_like(shared), where=frames > 0)
        self._rename({after[column]: before[row] for row, column in _one_to_one(mean, self._rules.match_iou)})

    def hand_over(self) -> Carry:
        """What the next window needs."""
        frames = {frame: self.frames[frame] for frame in range(self._window.final, self._window.end)}
        known = {key for state in frames.values() for key in (*state.masks, *state.prompts)}
        return Carry(self._next_id, frames, {key: self._lives[key] for key in sorted(known)})

    def _proposals(self, frame: int, candidates: Iterable[MaskCandidate]) -> list[Proposal]:
        counts = self.frames[frame].counts
        proposals = []
        for candidate in candidates:
            proposal = propose(candidate, self._width, self._height)
            if isinstance(proposal, str):
                counts[proposal] += 1
                continue
            if proposal.resized:
                counts[RESIZED] += 1
            proposals.append(proposal)
        return proposals

    def _corrections(self, frame: int, proposals: list[Proposal]) -> dict[int, Proposal]:
        """Candidates that lie on followed objects, by object; they are taken out of `proposals`."""
        state = self.frames[frame]
        keys = sorted(state.masks)
        overlap = _overlap(proposals, [state.masks[key].mask_rle for key in keys])
        pairs = _one_to_one(overlap, self._rules.match_iou)
        corrected = {keys[column]: proposals[row] for row, column in pairs}
        for row, _ in sorted(pairs, reverse=True):
            del proposals[row]
        for key, proposal in corrected.items():
            self._take(frame, key, proposal)
        return corrected

    def _new(self, frame: int, proposals: Iterable[Proposal], corrected: Mapping[int, Proposal]) -> dict[int, Proposal]:
        """New objects: candidates that do not lie on what is followed, nor on a better candidate of the frame."""
        for key, proposal in corrected.items():
            self._dedup.add(frame, key, self._mask(proposal))
        found: dict[int, Proposal] = {}
        for proposal in proposals:
            owner = self._dedup.seen(frame, proposal.mask, proposal.box_xyxy)
            if owner is not None:
                self._support(frame, owner, proposal)
                continue
            key = self._next_id
            self._next_id += 1
            found[key] = proposal
            self._take(frame, key, proposal)
            self._dedup.add(frame, key, self._mask(proposal))
        return found

    def _take(self, frame: int, key: int, proposal: Proposal) -> None:
        """Remember that an object, and no other, is prompted by a candidate."""
        state = self.frames[frame]
        self._lives[key] = Life(frame, frame)
        evidence = Evidence.of(proposal.candidate)
        state.prompts = {other: each for other, each in state.prompts.items() if each.candidate_id != evidence.candidate_id}
        state.prompts[key] = evidence
        state.counts[PROMPTED] += 1

    def _support(self, frame: int, key: int, proposal: Proposal) -> None:
        """Remember that a candidate lies on an object, unless it is the object's prompt, known from the window before."""
        state = self.frames[frame]
        self._lives[key] = Life(self._lives[key].prompted, max(self._lives[key].covered, frame))
        prompt = state.prompts.get(key)
        if prompt is not None and prompt.candidate_id == proposal.candidate.candidate_id:
            state.counts[PROMPTED] += 1
            return
        state.counts[DUPLICATE] += 1
        if prompt is None:
            state.supports.setdefault(key, Evidence.of(proposal.candidate))

    def _mask(self, proposal: Proposal) -> Mask:
        if proposal.mask is not None:
            return proposal.mask
        x1, y1, x2, y2 = np.rint(proposal.box_xyxy).astype(int)
        mask = np.zeros((self._height, self._width), np.bool_)
        mask[y1:y2, x1:x2] = True
        return mask

    def _prompt(self, proposal: Proposal) -> Prompt:
        return proposal.prompt(self._rules.prompt_mode, self._rules.long_tail_area)

    def _end_unsupported(self, frame: int) -> None:
        """End objects that no candidate has lain on for too long."""
        if self._rules.max_unsupported is None:
            return
        now = bisect_right(self._looked, frame)
        for key in list(self.frames[frame].masks):
            if now - bisect_right(self._looked, self._lives[key].covered) >= self._rules.max_unsupported:
                self._forget(key, frame)

    def _propagate(self, start: int, prompts: Mapping[int, Prompt], origin: Origin) -> None:
        if not prompts:
            return
        limit = self._rules.max_propagate
        if limit is not None and origin is Origin.forward:  # what was carried here was prompted in another frame
            limit += max(self._lives[key].prompted for key in prompts) - start
        for frame, masks in self._session.propagate(start, prompts, reverse=origin is Origin.backward, limit=limit):
            kept = {key: mask for key, mask in masks.items() if self._within_reach(key, frame)}
            self._keep(frame, kept, Origin.carried if frame == start else origin)

    def _within_reach(self, key: int, frame: int) -> bool:
        reach = self._rules.max_propagate
        return reach is None or abs(frame - self._lives[key].prompted) <= reach

    def _keep(self, frame: int, masks: Mapping[int, Mask], origin: Origin) -> None:
        state = self.frames[frame]
        for key in sorted(masks):
            if masks[key].any():
                state.masks[key] = Found(rle.encode(masks[key]), origin)
                self._dedup.add(frame, key, masks[key])

    def _forget(self, key: int, start: int) -> None:
        """Take an object out of the frames from `start` on."""
        for frame in range(start, self._window.end):
            if self.frames[frame].masks.pop(key, None) is not None:
                self._dedup.forget(frame, key)

    def _rename(self, names: Mapping[int, int]) -> None:
        """Objects under new ids: the keys of `names` become their values."""
        for state in self.frames.values():
            state.masks = {names.get(key, key): found for key, found in state.masks.items()}
            state.prompts = {names.get(key, key): each for key, each in state.prompts.items()}
            state.supports = {names.get(key, key): each for key, each in state.supports.items()}
        for new, old in names.items():
            self._lives[old] = self._lives.pop(new)


def _overlap(proposals: Sequence[Proposal], masks_rle: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """`(proposals, masks)` IoU: of masks, and of boxes where a proposal is only a box."""
    overlap = np.zeros((len(proposals), len(masks_rle)))
    if not overlap.size:
        return overlap
    boxes_xyxy = np.array([rle.box_xyxy(each) for each in masks_rle], np.float64)
    for row, proposal in enumerate(proposals):
        if proposal.mask is None:
            overlap[row] = iou_matrix(proposal.box_xyxy, boxes_xyxy)[0]
        else:
            overlap[row] = rle.iou_matrix([rle.encode(proposal.mask)], masks_rle)[0]
    return overlap


def _one_to_one(overlap: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs with the greatest total overlap, each above the limit."""
    allowed = np.where(overlap > least, overlap, 0.0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column] > 0.0]


def _evidence_to_json(evidence: Mapping[int, Evidence]) -> dict[str, list[Any]]:
    return {str(key): [each.candidate_id, each.class_id, each.score] for key, each in evidence.items()}
