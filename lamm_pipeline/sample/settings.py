"""Settings of the synthetic recording, and which of its frames are deliberately odd."""

import re

from pydantic import BaseModel, ConfigDict, Field

from lamm_pipeline.errors import InputError

SIZES: dict[str, tuple[int, int]] = {
    "VGA": (672, 376),
    "HD720": (1280, 720),
    "HD1080": (1920, 1080),
    "HD2K": (2208, 1242),
    "SVGA": (960, 600),
    "HD1200": (1920, 1200),
}
"""Names of the cameras' resolutions, with the width and height of one eye."""

SMALLEST_SIZE, LARGEST_SIZE = (320, 180), (3840, 2160)

SERIAL_BASE = 900_000
"""Serial numbers from here to 999,999 belong to synthetic recordings."""

_MIN_FRAMES_FOR_STRETCHES = 12


class SampleSettings(BaseModel):
    """What `render_sample` renders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(default=60, ge=2, le=5000, description="Number of stereo frames.")
    seed: int = Field(default=7, ge=0, le=9999, description="Seed of textures and noise; it is part of the serial number too.")
    fps: float = Field(default=15.0, ge=1.0, le=100.0, description="Frames a second.")
    width: int = Field(
        default=1280, ge=SMALLEST_SIZE[0], le=LARGEST_SIZE[0], multiple_of=2, description="Width of one eye in pixels, an even number."
    )
    height: int = Field(
        default=720, ge=SMALLEST_SIZE[1], le=LARGEST_SIZE[1], multiple_of=2, description="Height of one eye in pixels, an even number."
    )
    noise: float = Field(default=1.0, ge=0.0, le=10.0, description="Strength of the sensor noise; 1 is a camera in daylight, 0 is none.")

    @property
    def serial(self) -> int:
        """Serial number in the synthetic range: one for each seed and named size, so that such samples share no calibration file."""
        size = (self.width, self.height)
        return SERIAL_BASE + 10 * self.seed + (list(SIZES.values()).index(size) if size in SIZES.values() else 9)

    @property
    def duplicate_frames(self) -> range:
        """Frames whose pictures repeat the first of them exactly, as when the camera's driver stalls; empty in very short recordings."""
        if self.frames < _MIN_FRAMES_FOR_STRETCHES:
            return range(0)
        start = self.frames // 3
        return range(start, start + max(3, self.frames // 15))

    @property
    def static_frames(self) -> range:
        """Frames during which camera and objects stand still, only the noise differs; empty in very short recordings."""
        if self.frames < _MIN_FRAMES_FOR_STRETCHES:
            return range(0)
        start = 2 * self.frames // 3
        return range(start, start + max(3, 2 * self.frames // 15))

    def source_frame(self, frame: int) -> int:
        """The frame whose picture `frame` shows: itself, or the first of the duplicate stretch."""
        return self.duplicate_frames.start if frame in self.duplicate_frames else frame


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of one eye from `HD720`, `VGA`, ... or `1280x720`.

    Raises:
        InputError: neither a known name nor an even size within the limits.
    """
    named = SIZES.get(text.strip().upper())
    if named is not None:
        return named
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    fits = all(low <= side <= high and side % 2 == 0 for low, side, high in zip(SMALLEST_SIZE, size, LARGEST_SIZE, strict=True))
    if not fits:
        limits = " to ".join(f"{width}x{height}" for width, height in (SMALLEST_SIZE, LARGEST_SIZE))
        raise InputError(f"The size {text!r} is not one of {', '.join(SIZES)}, nor an even WIDTHxHEIGHT from {limits}.")
    return size
