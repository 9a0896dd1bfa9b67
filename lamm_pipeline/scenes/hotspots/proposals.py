"""Which frames to curate next: uncertain ones that do not look like each other.

How uncertain a scene is, is told by its standing: the share of the scenes scored by the same model, with the same kind of score, whose
highest score is lower (equal ones count half). So models and kinds of score need not be comparable. A frame has the standing of its scene
times its share of the scene's highest score. Frames are taken one by one: always the one with the highest product of that and of its
novelty, the number of bits in which the hash of its image differs from the nearest one taken, over `different_bits`, at most 1. Scenes
that people have begun with, or that a dataset version has, come after all others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.scenes.hotspots.scene_ranking import SceneScore
from lamm_pipeline.scenes.hotspots.settings import HotspotSettings

MAX_SCENES = 500
"""Of so many scenes the images are compared; those that stand highest."""

HASH_BITS = 64
Hashes = Mapping[int, int]
"""By frame index, the hash of 64 bits."""


@dataclass(frozen=True)
class SceneCandidate:
    """A scene that frames may be proposed of.

    Attributes:
        score: its scores by the model for which it stands highest.
        standing: share of the scenes of that model that are less uncertain.
        compared: how many scenes the model has scored.
        frames: index and score of its most uncertain frames.
        later: why it comes after others, None where nothing is against it.
    """

    score: SceneScore
    standing: float
    compared: int
    frames: tuple[tuple[int, float], ...]
    later: str | None


@dataclass(frozen=True)
class Proposal:
    """A frame to curate.

    Attributes:
        candidate: its scene.
        frame_index, score: the frame.
        nearest_bits: bits in which its image differs from the most similar one proposed before; None where none is known.
    """

    candidate: SceneCandidate
    frame_index: int
    score: float
    nearest_bits: int | None


def standings(scores: Sequence[SceneScore]) -> dict[tuple[str, str, str], tuple[float, int]]:
    """By scene, model and kind of score: standing of the scene, and of how many it is that.

    Args:
        scores: a row a scene, model and kind of score.
    """
    views: dict[tuple[str, str], list[SceneScore]] = {}
    for row in scores:
        views.setdefault(row.view, []).append(row)
    found = {}
    for rows in views.values():
        values = np.asarray([row.max_score for row in rows])
        ordered = np.sort(values)
        less, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
        for row, standing in zip(rows, ((less + upto) / 2 / len(rows)).tolist(), strict=True):
            found[row.scene_id, *row.view] = (standing, len(rows))
    return found


def propose(candidates: Sequence[SceneCandidate], hashes: Callable[[str], Hashes], settings: HotspotSettings) -> list[Proposal]:
    """Choose frames.

    Args:
        candidates: scenes.
        hashes: of the images of a scene; empty where they are not known.
        settings: how many, of how many scenes, how different.
    """
    by_id = sorted(candidates, key=lambda each: each.score.scene_id)
    ordered = sorted(by_id, key=lambda each: (each.later is not None, -each.standing, -each.score.evaluated_at.timestamp()))[:MAX_SCENES]
    pool = _Pool(ordered, hashes, settings)
    found: list[Proposal] = []
    for later in (False, True):
        while len(found) < settings.proposals and (place := pool.best(later=later)) is not None:
            found.append(pool.take(place))
    return found


class _Pool:
    """The frames that may be proposed, and how near each is to those that are."""

    def __init__(self, candidates: Sequence[SceneCandidate], hashes: Callable[[str], Hashes], settings: HotspotSettings) -> None:
        self._settings = settings
        self._candidates = candidates
        self._frames = [(place, *frame) for place, each in enumerate(candidates) for frame in each.frames]
        known = [hashes(each.score.scene_id) for each in candidates]
        self._scene = np.asarray([place for place, _, _ in self._frames], np.int64)
        self._hashed = np.asarray([index in known[place] for place, index, _ in self._frames], np.bool_)
        self._hash = np.asarray([known[place].get(index, 0) for place, index, _ in self._frames], np.uint64)
        self._uncertain = np.asarray([_share(candidates[place], score) for place, _, score in self._frames], np.float64)
        self._later = np.asarray([candidates[place].later is not None for place, _, _ in self._frames], np.bool_)
        self._nearest = np.full(len(self._frames), HASH_BITS, np.int64)
        self._compared = np.zeros(len(self._frames), np.bool_)
        self._open = np.ones(len(self._frames), np.bool_)

    def best(self, *, later: bool) -> int | None:
        """The place of the next frame; None where none is left that differs from those taken."""
        novelty = np.minimum(self._nearest / self._settings.different_bits, 1.0)
        gain: NDArray[np.float64] = np.where(self._open & (self._later == later), self._uncertain * novelty, 0.0)
        return int(gain.argmax()) if gain.size and gain.max() > 0 else None

    def take(self, place: int) -> Proposal:
        """Propose a frame."""
        scene, index, score = self._frames[place]
        nearest = int(self._nearest[place]) if self._compared[place] else None
        self._open[place] = False
        if np.count_nonzero(~self._open & (self._scene == scene)) >= self._settings.proposals_per_scene:
            self._open &= self._scene != scene
        if self._hashed[place]:
            bits = np.bitwise_count(self._hash ^ self._hash[place]).astype(np.int64)
            self._nearest = np.where(self._hashed, np.minimum(self._nearest, bits), self._nearest)
            self._compared |= self._hashed
        return Proposal(self._candidates[scene], index, score, nearest)


def _share(candidate: SceneCandidate, score: float) -> float:
    return candidate.standing * (score / candidate.score.max_score if candidate.score.max_score > 0 else 0.0)


def to_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal for people and pages."""
    candidate, row = proposal.candidate, proposal.candidate.score
    return {
        "scene_id": row.scene_id,
        "frame_index": proposal.frame_index,
        "score": proposal.score,
        "score_kind": row.score_kind,
        "model_id": row.model_id,
        "standing": candidate.standing,
        "compared_scenes": candidate.compared,
        "nearest_bits": proposal.nearest_bits,
        "later": candidate.later,
        "captured_at": None if row.captured_at is None else row.captured_at.isoformat(),
        "tags": list(row.tags),
    }
