"""Which frame of a recording a key in a file of predictions means.

The last part of a key names the frame: its frame id (`drive:000012`), its index (`12`, `000012`, `drive_000012`), the name of the image it
was packed from, or its Unix time in nanoseconds, microseconds or milliseconds, where the nearest frame within half a frame's time is meant;
the suffix of a file makes no difference, nor do the eight hexadecimal digits and the hyphen that Label Studio puts before names. Folders
before it name the recording, unless the name itself does (`drive_000012`); without any, the file is taken to be about the recording at
hand. `image_left` and `images` are no recordings.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.segmentation.prediction_files import PredictedFrame

FILE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".json", ".npy"})
PLAIN_FOLDERS = frozenset({"", ".", "image_left", "images"})
LABEL_STUDIO_PREFIX = re.compile(r"^[0-9a-f]{8}-")
UNITS_NS = {19: 1, 16: 1_000, 13: 1_000_000}
"""Nanoseconds of the unit of a Unix time, by its number of digits (from 2001 to 2286)."""
FIRST = 10
"""How many ids are listed of what did not match; the counts are complete."""


@dataclass(frozen=True)
class Matches:
    """Predictions and frames brought together.

    Attributes:
        by_frame: predictions by frame id.
        unmatched: predictions for this recording, or for none by name, that mean no extracted frame.
        elsewhere: predictions for other recordings.
        frames_without: ids of extracted frames that nothing in the file means.
    """

    by_frame: Mapping[str, PredictedFrame]
    unmatched: tuple[PredictedFrame, ...]
    elsewhere: tuple[PredictedFrame, ...]
    frames_without: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """Counts of everything and the first ids of what did not match, ready for JSON."""
        return {
            "frames_matched": len(self.by_frame),
            "frames_without_predictions": len(self.frames_without),
            "first_frames_without_predictions": list(self.frames_without[:FIRST]),
            "unmatched_entries": len(self.unmatched),
            "unmatched_predictions": sum(len(each.predictions) for each in self.unmatched),
            "first_unmatched_entries": [each.key for each in self.unmatched[:FIRST]],
            "entries_of_other_recordings": len(self.elsewhere),
            "predictions_of_other_recordings": sum(len(each.predictions) for each in self.elsewhere),
        }


def match(predicted: Iterable[PredictedFrame], registry: FrameRegistry, source: str) -> Matches:
    """Bring predictions and the frames of a recording together.

    Args:
        predicted: all predictions of a file.
        registry: of the recording's frames.
        source: the file, for sentences.

    Raises:
        InputError: a key may mean two frames, two keys mean one frame, or nothing matches at all.
    """
    names = _Names.of(registry)
    by_frame: dict[str, PredictedFrame] = {}
    unmatched, elsewhere = [], []
    for each in predicted:
        name = _own_name(each.key, registry.recording)
        if name is None:
            elsewhere.append(each)
            continue
        meant = names.frames(name)
        if len(meant) > 1:
            raise InputError(f"{each.key!r} in {source} may mean the frames {' and '.join(sorted(meant))}; write the frame id instead.")
        if not meant:
            unmatched.append(each)
            continue
        (frame_id,) = meant
        if frame_id in by_frame:
            raise InputError(f"{by_frame[frame_id].key!r} and {each.key!r} in {source} both mean frame {frame_id}; keep one of them.")
        by_frame[frame_id] = each
    frames = registry.selected_frames
    if frames and not by_frame:
        keys = [each.key for each in (*unmatched, *elsewhere)][:3]
        raise InputError(
            f"Nothing in {source} is about a frame of {registry.recording}: it has {', '.join(map(repr, keys)) or 'no frames'}, the "
            f"recording {frames[0].frame_id!r} (image {frames[0].source_name or frames[0].image_left}). Name the frames by id, index, "
            "image or timestamp, and the recording by a folder before it or not at all."
        )
    without = tuple(frame.frame_id for frame in frames if frame.frame_id not in by_frame)
    return Matches(by_frame, tuple(unmatched), tuple(elsewhere), without)


@dataclass(frozen=True)
class _Names:
    """Frame ids by all that may name them."""

    recording: str
    by_index: Mapping[int, str]
    by_image: Mapping[str, str]
    timestamps_ns: tuple[int, ...]
    at_timestamps: tuple[str, ...]

    @classmethod
    def of(cls, registry: FrameRegistry) -> "_Names":
        frames = registry.selected_frames
        in_time = sorted((frame.timestamp_ns, frame.frame_id) for frame in frames)
        return cls(
            registry.recording,
            {frame.svo2_frame_index: frame.frame_id for frame in frames},
            {name: frame.frame_id for frame in frames for name in _image_names(frame)},
            tuple(timestamp_ns for timestamp_ns, _ in in_time),
            tuple(frame_id for _, frame_id in in_time),
        )

    def frames(self, name: str) -> set[str]:
        """Ids of all frames that the name may mean."""
        if ":" in name:
            number = name.rpartition(":")[2]
            return _known(self.by_index.get(int(number))) if number.isdecimal() else set()
        stem = _without_suffix(name)
        found = self._meant(stem)
        return found or self._meant(LABEL_STUDIO_PREFIX.sub("", stem))

    def _meant(self, stem: str) -> set[str]:
        number = stem.removeprefix(f"{self.recording}_")
        found = _known(self.by_image.get(stem))
        if number.isdecimal():
            found |= _known(self.by_index.get(int(number)), self._at(number))
        return found

    def _at(self, digits: str) -> str | None:
        """The frame at a Unix time, whose unit shows in the number of its digits; other numbers must be a timestamp exactly."""
        if not self.timestamps_ns:
            return None
        unit_ns = UNITS_NS.get(len(digits))
        timestamp_ns = int(digits) * (unit_ns or 1)
        behind = bisect_left(self.timestamps_ns, timestamp_ns)
        candidates = range(max(behind - 1, 0), min(behind + 1, len(self.timestamps_ns)))
        near = min(candidates, key=lambda n: abs(self.timestamps_ns[n] - timestamp_ns))
        gaps = [b - a for a, b in pairwise(self.timestamps_ns[max(near - 1, 0) : near + 2])]
        reach_ns = 0 if unit_ns is None else max(min(gaps, default=0) // 2, unit_ns - 1)
        return self.at_timestamps[near] if abs(self.timestamps_ns[near] - timestamp_ns) <= reach_ns else None


def _own_name(key: str, recording: str) -> str | None:
    """The part of the key that names the frame, None when it is one of another recording."""
    *folders, name = key.replace("\\", "/").split("/")
    owner, colon, _ = name.rpartition(":")
    if colon:
        return name if owner == recording else None
    named = [folder for folder in folders if folder not in PLAIN_FOLDERS]
    says_itself = re.fullmatch(rf"{re.escape(recording)}_\d+", LABEL_STUDIO_PREFIX.sub("", _without_suffix(name))) is not None
    return name if not named or recording in named or says_itself else None


def _image_names(frame: FrameRecord) -> tuple[str, ...]:
    return () if frame.source_name is None else (_without_suffix(PurePosixPath(frame.source_name).name),)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in FILE_SUFFIXES else name


def _known(*frame_ids: str | None) -> set[str]:
    return {each for each in frame_ids if each is not None}
