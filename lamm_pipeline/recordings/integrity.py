"""Whether a recording can be read, and what is wrong with it. Decodes only up to the first good frame."""

from dataclasses import dataclass
from typing import Literal

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.frame_timing import FrameTiming, measure
from lamm_pipeline.recordings.reader import BadFrame
from lamm_pipeline.recordings.svo2_index import Svo2Index
from lamm_pipeline.recordings.svo2_reader import Svo2Reader
from lamm_pipeline.recordings.zed_reader import ZedReader

Footer = Literal["agrees", "disagrees", "missing", "unread"]

LISTED_FRAMES = 20


@dataclass(frozen=True)
class BadFrameNote:
    """A frame that is in the file and cannot be used."""

    index: int
    reason: str


@dataclass(frozen=True)
class IntegrityReport:
    """Result of `check`.

    Attributes:
        readable: at least one frame decodes.
        first_decodable_frame: its index; None when there is none.
        complete: the file ends as it should; a recording that was cut off does not. With the ZED SDK: it delivers all frames it counts.
        damaged_chunks: parts of the file that are cut or fail their checksum.
        footer: the frame list at the end `agrees` with the frames found, `disagrees`, is `missing`, or `unread` by the ZED SDK.
        gap_count: waits between frames of more than 1.5 times the usual one.
        dropped_frames_estimate: frames that would fit into the gaps.
        backward_stamps: frames stamped before their predecessor.
        repeated_stamps: frames with their predecessor's stamp.
        bad_frame_count: frames without a whole payload, and undecodable frames before the first good one.
        bad_frames: the first `LISTED_FRAMES` of them.
        problems: one sentence for each thing that is wrong; empty for a sound recording.
    """

    readable: bool
    first_decodable_frame: int | None
    complete: bool
    damaged_chunks: int
    footer: Footer
    gap_count: int
    dropped_frames_estimate: int
    backward_stamps: int
    repeated_stamps: int
    bad_frame_count: int
    bad_frames: tuple[BadFrameNote, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Container:
    """What is known of the file apart from pictures and stamps; `malformed` are frames without a whole payload."""

    complete: bool
    damaged_chunks: int
    footer: Footer
    malformed: tuple[int, ...]
    problems: tuple[str, ...]


def check(reader: Svo2Reader | ZedReader) -> IntegrityReport:
    """Check an open recording."""
    count = reader.info.frame_count
    container = _delivered(reader) if isinstance(reader, ZedReader) else _indexed(reader.index)
    bad = dict.fromkeys(container.malformed, "its message holds no whole picture")
    first = _first_decodable(reader, bad)
    timing = measure(reader.info.frame_timestamps_ns)
    return IntegrityReport(
        readable=first is not None,
        first_decodable_frame=first,
        complete=container.complete,
        damaged_chunks=container.damaged_chunks,
        footer=container.footer,
        gap_count=len(timing.gaps),
        dropped_frames_estimate=timing.dropped_frames_estimate,
        backward_stamps=timing.backward,
        repeated_stamps=timing.repeated,
        bad_frame_count=len(bad),
        bad_frames=tuple(BadFrameNote(frame, bad[frame]) for frame in sorted(bad)[:LISTED_FRAMES]),
        problems=(*_video_problems(first, bad, count), *container.problems, *_timing_problems(timing)),
    )


def _indexed(index: Svo2Index) -> _Container:
    footer: Footer = "agrees" if index.footer_agrees else "disagrees"
    if index.footer_frames is None:
        footer = "missing"
    malformed = tuple(frame for frame in range(len(index.frames)) if index.is_malformed(frame))
    return _Container(index.complete, index.damaged_blocks, footer, malformed, tuple(_file_problems(index)))


def _delivered(reader: ZedReader) -> _Container:
    counted, delivered = reader.opening.frame_count, reader.info.frame_count
    problem = f"The file is cut off or damaged: the ZED SDK counts {counted} frames and delivers {delivered}."
    return _Container(delivered >= counted, 0, "unread", (), () if delivered >= counted else (problem,))


def _first_decodable(reader: Svo2Reader | ZedReader, bad: dict[int, str]) -> int | None:
    for frame in reader.frames():
        if isinstance(frame, BadFrame):
            bad[frame.index] = frame.reason
            continue
        try:
            frame.images()
        except InputError as error:
            bad[frame.index] = str(error)
        else:
            return frame.index
    return None


def _video_problems(first: int | None, bad: dict[int, str], count: int) -> list[str]:
    if first is None:
        return [f"None of its {count} frames can be decoded: nothing can be done with this recording."]
    late = [f"The first {first} frames cannot be decoded; frame {first} is the first good one."] if first else []
    behind = sum(frame > first for frame in bad)
    return [*late, f"{behind} frames further on have no whole picture."] if behind else late


def _file_problems(index: Svo2Index) -> list[str]:
    problems = []
    if not index.complete:
        problems.append(f"The file is cut off: it ends in the middle, and {len(index.frames)} frames before that could be found.")
    if index.damaged_blocks:
        problems.append(f"{index.damaged_blocks} chunks of the file are damaged; frames in them may be missing or bad.")
    if index.footer_frames is None:
        problems.append("The list of frames at the end (svo_footer) is missing; the frames were counted instead.")
    elif not index.footer_agrees:
        found = len(index.frames)
        problems.append(f"The list of frames at the end names {index.footer_frames} frames and does not agree with the {found} found.")
    return problems


def _timing_problems(timing: FrameTiming) -> list[str]:
    problems = []
    if timing.gaps:
        longest = max(gap.seconds for gap in timing.gaps)
        missing = timing.dropped_frames_estimate
        problems.append(f"{len(timing.gaps)} gaps between frames, the longest {longest:.3f} s: about {missing} frames are missing.")
    if timing.backward:
        problems.append(f"{timing.backward} frames are stamped earlier than the frame before them.")
    if timing.repeated:
        problems.append(f"{timing.repeated} frames have the same stamp as the frame before them.")
    return problems
