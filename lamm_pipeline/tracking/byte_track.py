"""ByteTrack's association, whatever it is that moves.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022. Per frame, after every track is predicted:

1. detections with high scores against confirmed tracks, the lost ones included (similarity times score);
2. detections with low scores against the confirmed tracks that are left and were seen in the frame before (similarity alone);
3. the high scores that are left against unconfirmed tracks (similarity times score); an unconfirmed track that finds nothing is dropped;
4. what is still left and scores well enough starts an unconfirmed track; a track lost for too long ends.

How boxes move and how alike a track and a detection are is a `MotionModel`: `motion_2d.py` for boxes in an image, `motion_3d.py` for boxes
in space. Time is in the model's unit (frames or seconds).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]


class MotionModel(Protocol):
    """How the state of a track follows from measurements, and what it has in common with one. T tracks, S state, Z measured numbers."""

    def start(self, measurements: Array) -> tuple[Array, Array]:
        """`(T, S)` means and `(T, S, S)` covariances of tracks begun by `(T, Z)` measurements."""
        ...

    def predict(self, means: Array, covariances: Array, dt: float) -> tuple[Array, Array]:
        """States `dt` later."""
        ...

    def update(self, means: Array, covariances: Array, measurements: Array) -> tuple[Array, Array]:
        """States corrected by one `(Z,)` measurement each."""
        ...

    def similarity(self, means: Array, covariances: Array, measurements: Array) -> Array:
        """`(T, N)` in 0..1 for T predicted states and N measurements; 0 where they cannot be the same."""
        ...


@dataclass(frozen=True)
class AssociationRules:
    """Thresholds of the association.

    Attributes:
        high_score: detections from here on are matched first.
        low_score: detections above it, but below `high_score`, can continue a track; others are not used.
        new_track_score: a detection starts a track from here on.
        min_similarity_high: least similarity times score of step 1.
        min_similarity_low: least similarity of step 2.
        min_similarity_unconfirmed: least similarity times score of step 3.
        max_lost: a confirmed track ends when it was not measured for longer than this, in the model's unit of time.
        min_hits: detections a track needs to be confirmed.
        confirm_first_frame: tracks begun in the very first frame are confirmed at once.
    """

    high_score: float
    low_score: float
    new_track_score: float
    min_similarity_high: float
    min_similarity_low: float
    min_similarity_unconfirmed: float
    max_lost: float
    min_hits: int
    confirm_first_frame: bool = False


@dataclass
class LiveTrack:
    """A track the tracker still follows.

    Attributes:
        serial: number of its birth, from 1; every track has one.
        track_id: 0 until the track is confirmed, then 1, 2, ... in the order of confirmation, never used twice.
        group: detections of other groups cannot continue it.
        hits: detections so far.
        missed: frames since the last detection, 0 when the current frame has one.
        elapsed: time since the last detection.
        mean: `(S,)` state.
        covariance: `(S, S)`.
    """

    serial: int
    track_id: int
    group: int
    hits: int
    missed: int
    elapsed: float
    mean: Array
    covariance: Array


class ByteTracker:
    """Gives every detection of a sequence the track it belongs to, frame by frame."""

    def __init__(self, rules: AssociationRules, model: MotionModel) -> None:
        self.rules = rules
        self.model = model
        self.tracks: list[LiveTrack] = []
        self._frames = 0
        self._births = 0
        self._confirmed = 0

    def update(self, measurements: Array, scores: Array, groups: NDArray[np.int64], dt: float) -> list[LiveTrack | None]:
        """Process one frame; one without detections counts as well.

        Args:
            measurements: `(N, Z)`.
            scores: `(N,)` in 0..1.
            groups: `(N,)` numbers of class groups.
            dt: time since the frame before, in the model's unit; not used for the first frame.

        Returns:
            For every detection the track it now belongs to, or None when it was not used. The tracks are live: their state is that after
            this frame, and they change with the next.
        """
        self._frames += 1
        self._predict(dt)
        frame = _Frame(measurements, scores, groups, [None] * len(scores))
        rules = self.rules
        high = [n for n, score in enumerate(scores) if score >= rules.high_score]
        low = [n for n, score in enumerate(scores) if rules.low_score < score < rules.high_score]
        followed = [track for track in self.tracks if track.track_id and track.missed == 1]
        lost = [track for track in self.tracks if track.track_id and track.missed > 1]
        unconfirmed = [track for track in self.tracks if not track.track_id]

        high = self._associate(frame, [*followed, *lost], high, rules.min_similarity_high, fuse_score=True)
        self._associate(frame, [track for track in followed if track.missed], low, rules.min_similarity_low, fuse_score=False)
        high = self._associate(frame, unconfirmed, high, rules.min_similarity_unconfirmed, fuse_score=True)
        self._start(frame, [n for n in high if scores[n] >= rules.new_track_score])
        self.tracks = [track for track in self.tracks if not track.missed or (track.track_id and track.elapsed <= rules.max_lost)]
        return frame.owners

    def to_json(self) -> dict[str, Any]:
        """Everything the tracker knows, for a checkpoint. JSON keeps every bit of a Python float."""
        tracks = [asdict(track) | {"mean": track.mean.tolist(), "covariance": track.covariance.tolist()} for track in self.tracks]
        return {"frames": self._frames, "births": self._births, "confirmed": self._confirmed, "tracks": tracks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned; the tracks to come are the same to the last bit."""
        self._frames, self._births, self._confirmed = state["frames"], state["births"], state["confirmed"]
        self.tracks = [
            LiveTrack(**{**track, "mean": np.array(track["mean"]), "covariance": np.array(track["covariance"])})
            for track in state["tracks"]
        ]

    def _predict(self, dt: float) -> None:
        if not self.tracks:
            return
        means, covariances = self.model.predict(*_states(self.tracks), dt)
        for track, mean, covariance in zip(self.tracks, means, covariances, strict=True):
            track.mean, track.covariance = mean, covariance
            track.missed += 1
            track.elapsed += dt

    def _associate(
        self, frame: "_Frame", tracks: Sequence[LiveTrack], candidates: Sequence[int], threshold: float, *, fuse_score: bool
    ) -> list[int]:
        """Match tracks and detections one to one for the greatest total similarity; returns the detections that are left."""
        if not tracks or not candidates:
            return list(candidates)
        similarity = self.model.similarity(*_states(tracks), frame.measurements[candidates])
        similarity = np.where(np.array([[track.group] for track in tracks]) == frame.groups[candidates], similarity, 0.0)
        if fuse_score:
            similarity = similarity * frame.scores[candidates]
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        matched = similarity[rows, columns]
        good = (matched >= threshold) & (matched > 0.0)
        pairs = [(tracks[row], candidates[column]) for row, column in zip(rows[good], columns[good], strict=True)]
        self._continue(frame, pairs)
        taken = {n for _, n in pairs}
        return [n for n in candidates if n not in taken]

    def _continue(self, frame: "_Frame", pairs: Sequence[tuple[LiveTrack, int]]) -> None:
        if not pairs:
            return
        tracks = [track for track, _ in pairs]
        means, covariances = self.model.update(*_states(tracks), frame.measurements[[n for _, n in pairs]])
        for (track, n), mean, covariance in zip(pairs, means, covariances, strict=True):
            track.mean, track.covariance = mean, covariance
            track.missed, track.elapsed, track.hits = 0, 0.0, track.hits + 1
            frame.owners[n] = track
            self._confirm_if_due(track)

    def _start(self, frame: "_Frame", chosen: Sequence[int]) -> None:
        if not chosen:
            return
        means, covariances = self.model.start(frame.measurements[chosen])
        for n, mean, covariance in zip(chosen, means, covariances, strict=True):
            self._births += 1
            track = LiveTrack(self._births, 0, int(frame.groups[n]), 1, 0, 0.0, mean, covariance)
            self.tracks.append(track)
            frame.owners[n] = track
            self._confirm_if_due(track)

    def _confirm_if_due(self, track: LiveTrack) -> None:
        at_once = self.rules.confirm_first_frame and self._frames == 1
        if not track.track_id and (at_once or track.hits >= self.rules.min_hits):
            self._confirmed += 1
            track.track_id = self._confirmed


@dataclass(frozen=True)
class _Frame:
    """The detections of the current frame and the tracks they were given to so far."""

    measurements: Array
    scores: Array
    groups: NDArray[np.int64]
    owners: list[LiveTrack | None]


def _states(tracks: Sequence[LiveTrack]) -> tuple[Array, Array]:
    return np.array([track.mean for track in tracks]), np.array([track.covariance for track in tracks])
