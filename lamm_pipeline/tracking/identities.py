"""`identities.parquet`: which masklet is which track. Owns the format.

Masklets know identity from what things look like, tracks from where boxes are in space. A masklet's id counts where the masklet covers at
least half of a track's frames; elsewhere the track's does. One row for each object and frame, with both ids, which of them counts and why.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow
from lamm_pipeline.tracking.tracks import TrackPoint, TrackSet

FILE_NAME = "identities.parquet"
LEAST_SHARE = 0.5
FRAMES_AT_ONCE = 256

SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("masklet_id", pa.int64()),
        ("track_id", pa.int64()),
        ("detection_id", pa.string()),
        ("overlap", pa.float64()),
        ("authoritative", pa.string()),
        ("why", pa.string()),
    ]
)


class Authority(StrEnum):
    """Whose id counts; names equal values."""

    masklet = "masklet"
    track = "track"


class IdentitySettings(BaseModel):
    """Settings of the asset `identities`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int | None = Field(None, description="Level of the masklets that are linked to tracks. Empty: the lowest there is.")
    min_overlap: float = Field(
        0.5, gt=0.0, le=1.0, description="Least overlap (IoU) of a masklet's box and a track's in a frame, where no detection links them."
    )


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """An object in one frame.

    Attributes:
        recording: recording key.
        frame_id, frame_index, timestamp_ns: of the frame.
        masklet_id: None where only a track is.
        track_id: None where only a masklet is.
        detection_id: of the track's detection in this frame.
        overlap: IoU of both boxes, 1 where the masklet was prompted by the track's detection; None without both.
        authoritative: whose id counts.
        why: in words.
    """

    recording: str
    frame_id: str
    frame_index: int
    timestamp_ns: int
    masklet_id: int | None
    track_id: int | None
    detection_id: str | None
    overlap: float | None
    authoritative: str
    why: str


@dataclass(frozen=True)
class Links:
    """What was linked.

    Attributes:
        rows: of the table.
        tracks: all of them.
        tracks_by_masklet: tracks whose id is a masklet's.
        masklets: of the level.
        masklets_with_track: masklets that are linked to a track in at least one frame.
    """

    rows: int
    tracks: int
    tracks_by_masklet: int
    masklets: int
    masklets_with_track: int


@dataclass(frozen=True)
class _Pair:
    """A frame's object: a masklet, a track's point, or both."""

    masklet: MaskletRow | None
    track_id: int | None
    point: TrackPoint | None
    overlap: float | None


def link_identities(masklets_path: Path, tracks: TrackSet, settings: IdentitySettings, path: Path) -> Links:
    """Link masklets to tracks frame by frame, decide whose id counts, and write the table.

    Args:
        masklets_path: `masklets.parquet`.
        tracks: of the same recording.
        settings: level and threshold.
        path: of the table to write.

    Raises:
        InputError: the masklets cannot be read, or have no such level.
    """
    level = _level(masklets_path, settings.level)
    points: dict[int, list[tuple[int, TrackPoint]]] = defaultdict(list)
    for track in tracks.tracks:
        for point in track.points:
            points[point.frame_index].append((track.track_id, point))
    together: dict[int, Counter[int]] = {track.track_id: Counter() for track in tracks.tracks}
    seen: set[int] = set()
    for pairs in _pairs(masklets_path, level, points, settings.min_overlap):
        for pair in pairs:
            if pair.masklet is not None:
                seen.add(pair.masklet.masklet_id)
                if pair.track_id is not None:
                    together[pair.track_id][pair.masklet.masklet_id] += 1
    lengths = {track.track_id: len(track.points) for track in tracks.tracks}
    rows = 0
    with pq.ParquetWriter(path, SCHEMA) as writer:
        batch: list[IdentityRow] = []
        for number, pairs in enumerate(_pairs(masklets_path, level, points, settings.min_overlap), start=1):
            batch.extend(_row(tracks.recording, pair, together, lengths) for pair in pairs)
            if number % FRAMES_AT_ONCE == 0:
                rows += _write(writer, batch)
        rows += _write(writer, batch)
    owners = {key: owner for key, counts in together.items() if (owner := _owner(counts, lengths[key])) is not None}
    linked = {masklet for counts in together.values() for masklet in counts}
    return Links(rows, len(tracks.tracks), len(owners), len(seen), len(linked))


def read(path: Path) -> Iterator[IdentityRow]:
    """Stream the rows, sorted by frame.

    Raises:
        InputError: the file is missing or is not such a table.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from (IdentityRow(**row) for row in batch.to_pylist())
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Run the stage 'identities' first.") from None
    except (pa.ArrowInvalid, TypeError) as error:
        raise InputError(f"{path} is not a table of identities ({error}). Run the stage 'identities' again.") from error


def _level(path: Path, wanted: int | None) -> int | None:
    """The level that is linked; None where there is not one masklet."""
    levels = sorted({row.level for row in masklet_table.read(path)})
    if wanted is None:
        return levels[0] if levels else None
    if levels and wanted not in levels:
        raise InputError(f"There are no masklets of level {wanted} (there are: {', '.join(map(str, levels))}). Set another `level`.")
    return wanted


def _pairs(
    path: Path, level: int | None, points: Mapping[int, Sequence[tuple[int, TrackPoint]]], min_overlap: float
) -> Iterator[list[_Pair]]:
    """The objects of every frame that has any, in the order of frames."""
    waiting = sorted(points)
    for found_level, frame_index, rows in masklet_table.read_frames(path):
        if found_level != level:
            continue
        while waiting and waiting[0] < frame_index:
            yield _link([], points[waiting.pop(0)], min_overlap)
        if waiting and waiting[0] == frame_index:
            waiting.pop(0)
        yield _link(rows, points.get(frame_index, ()), min_overlap)
    for frame_index in waiting:
        yield _link([], points[frame_index], min_overlap)


def _link(rows: Sequence[MaskletRow], points: Sequence[tuple[int, TrackPoint]], min_overlap: float) -> list[_Pair]:
    """The objects of one frame: first what one detection made, then by the overlap of boxes, then what is left alone."""
    overlap = np.zeros((len(rows), len(points)))
    if overlap.size:
        overlap = iou_matrix([row.box_xyxy for row in rows], [point.box_xyxy for _, point in points])
        overlap[overlap < min_overlap] = 0.0
        same = np.array([[row.candidate_id == point.detection_id for _, point in points] for row in rows])
        overlap[same.any(axis=1)] = 0.0
        overlap[:, same.any(axis=0)] = 0.0
        overlap[same] = 1.0
    matched = {
        int(row): int(column) for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True) if overlap[row, column]
    }
    pairs = [
        _Pair(row, *points[matched[n]], round(float(overlap[n, matched[n]]), 6)) if n in matched else _Pair(row, None, None, None)
        for n, row in enumerate(rows)
    ]
    alone = sorted(set(range(len(points))) - set(matched.values()))
    return pairs + [_Pair(None, *points[n], None) for n in alone]


def _owner(counts: Counter[int], length: int) -> int | None:
    """The masklet whose id a track's is, if one covers at least half of its frames; of two the lower id."""
    best = min(counts, key=lambda key: (-counts[key], key), default=None)
    return best if best is not None and counts[best] >= LEAST_SHARE * length else None


def _row(recording: str, pair: _Pair, together: Mapping[int, Counter[int]], lengths: Mapping[int, int]) -> IdentityRow:
    masklet, point = pair.masklet, pair.point
    authority, why = _authority(None if masklet is None else masklet.masklet_id, pair.track_id, together, lengths)
    frame = masklet or point
    if frame is None:
        raise ValueError("an object has a masklet or a track")
    return IdentityRow(
        recording=recording,
        frame_id=frame.frame_id,
        frame_index=frame.frame_index,
        timestamp_ns=frame.timestamp_ns,
        masklet_id=None if masklet is None else masklet.masklet_id,
        track_id=pair.track_id,
        detection_id=None if point is None else point.detection_id,
        overlap=pair.overlap,
        authoritative=authority.value,
        why=why,
    )


def _authority(
    masklet_id: int | None, track_id: int | None, together: Mapping[int, Counter[int]], lengths: Mapping[int, int]
) -> tuple[Authority, str]:
    if track_id is None:
        return Authority.masklet, "there is no track here"
    if masklet_id is None:
        return Authority.track, "there is no masklet here"
    covered, length = together[track_id][masklet_id], lengths[track_id]
    share = f"masklet {masklet_id} covers {covered} of the {length} frames of track {track_id}"
    if _owner(together[track_id], length) == masklet_id:
        return Authority.masklet, f"{share}: at least half"
    return Authority.track, f"{share}: " + ("another as many" if covered >= LEAST_SHARE * length else "less than half")


def _write(writer: pq.ParquetWriter, batch: list[IdentityRow]) -> int:
    count = len(batch)
    if batch:
        writer.write_table(pa.Table.from_pylist([asdict(row) for row in batch], schema=SCHEMA))
        batch.clear()
    return count
