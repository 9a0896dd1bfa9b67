"""Frames in batches, for programs that play a recording: a batch is shown while the next one is fetched."""

from typing import Any
from urllib.parse import quote

from lamm_pipeline.errors import InputError
from lamm_pipeline.reports.reviews.data import ReviewData

FRAMES, MOST_FRAMES = 24, 100


def playback(data: ReviewData, start: int, count: int) -> dict[str, Any]:
    """Frames one after the other, with the addresses of their images.

    Args:
        data: of the recording.
        start: place of the first one among the frames that have images, from 0.
        count: how many at most, 1 to 100.

    Returns:
        The frames; `total` of the recording; `next`, where the batch after this one starts, None after the last.

    Raises:
        InputError: so many are not given at once.
    """
    if not 1 <= count <= MOST_FRAMES:
        raise InputError(f"`count` is a number from 1 to {MOST_FRAMES}.")
    frames = data.registry.selected_frames
    images = f"/recordings/{quote(data.recording)}/images/{data.shown.frames.version}"
    return {
        "recording": data.recording,
        "version": data.shown.frames.version,
        "start": start,
        "total": len(frames),
        "next": start + count if start + count < len(frames) else None,
        "frames": [
            {
                "frame_id": frame.frame_id,
                "index": frame.svo2_frame_index,
                "timestamp_ns": frame.timestamp_ns,
                "image": f"{images}/{frame.svo2_frame_index}",
                "thumbnail": f"{images}/{frame.svo2_frame_index}?small=1",
            }
            for frame in frames[start : start + count]
        ],
    }
