"""`masklets.parquet`: every mask of every masklet, the form that later stages read. Owns the format.

One row for each level, masklet and frame, sorted by level, frame and masklet. Masks are COCO RLE of the whole frame: `counts` is its text,
`height` and `width` its size. Written and read in pieces, so that memory does not grow with the recording.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.errors import InputError

FILE_NAME = "masklets.parquet"
ROWS_AT_ONCE = 2048

SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("level", pa.int64()),
        ("masklet_id", pa.int64()),
        ("class_id", pa.string()),
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("counts", pa.string()),
        ("area", pa.int64()),
        ("x1", pa.int64()),
        ("y1", pa.int64()),
        ("x2", pa.int64()),
        ("y2", pa.int64()),
        ("score", pa.float64()),
        ("origin", pa.string()),
        ("candidate_id", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class MaskletRow:
    """A masklet in one frame.

    Attributes:
        recording: recording key.
        level: of the candidates that it was found in.
        masklet_id: 1, 2, ...; never used twice in a recording, over all levels.
        class_id: of the masklet, by its candidates' votes; None where candidates have no classes.
        frame_id: `<recording>:<frame index, 6 digits>`.
        frame_index: index in the recording.
        timestamp_ns: Unix time of the image.
        height, width: of the frame, pixels.
        counts: COCO RLE of the mask, its text.
        area: pixels of the mask.
        x1, y1, x2, y2: corners of the mask's box, the second pair one beyond the last pixel.
        score: of the candidate that it was prompted by in this frame; None where it was not, or the candidate has none.
        origin: `prompt` (a candidate of this frame), `forward`, `backward` (propagated), or `carried` (propagated, and the mask by which
            the window that begins with this frame was prompted).
        candidate_id: of that candidate; None where there was none.
    """

    recording: str
    level: int
    masklet_id: int
    class_id: str | None
    frame_id: str
    frame_index: int
    timestamp_ns: int
    height: int
    width: int
    counts: str
    area: int
    x1: int
    y1: int
    x2: int
    y2: int
    score: float | None
    origin: str
    candidate_id: str | None

    @property
    def mask_rle(self) -> dict[str, Any]:
        """COCO RLE of the mask."""
        return {"size": [self.height, self.width], "counts": self.counts}

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Corners of the mask's box."""
        return float(self.x1), float(self.y1), float(self.x2), float(self.y2)


class MaskletTableWriter:
    """Writes the table row by row. A context manager.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, row: MaskletRow) -> None:
        """Add a row; rows come sorted by level, frame and masklet."""
        self._rows.append(asdict(row))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows.clear()


def read(path: Path) -> Iterator[MaskletRow]:
    """Stream the rows.

    Raises:
        InputError: the file is missing or is not such a table.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield from (MaskletRow(**row) for row in batch.to_pylist())
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Run the stage 'masklets' first.") from None
    except (pa.ArrowInvalid, TypeError) as error:
        raise InputError(f"{path} is not a table of masklets ({error}). Run the stage 'masklets' again.") from error


def read_frames(path: Path) -> Iterator[tuple[int, int, list[MaskletRow]]]:
    """Stream the frames that have masklets: level, frame index, rows by masklet id.

    Raises:
        InputError: as for `read`.
    """
    for (level, frame_index), rows in groupby(read(path), key=lambda row: (row.level, row.frame_index)):
        yield level, frame_index, list(rows)
