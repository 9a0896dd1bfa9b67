"""Which recordings are of which days."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.open_recording import open_recording


def recorded_between(catalog: Catalog, first: date | None, last: date | None) -> tuple[list[str], list[str]]:
    """Keys of the recordings whose first frame is of one of the days `first` to `last` (UTC, both inclusive), oldest first.

    Files that nobody has read yet are opened for their date.

    Args:
        catalog: knows the recordings, and gets the dates that were not known.
        first: None = from the beginning.
        last: None = today.

    Returns:
        The keys, and a sentence for each recording whose date cannot be read.
    """
    problems = []
    for row in catalog.recordings.undated():
        try:
            with open_recording(Path(row.path)) as reader:
                catalog.recordings.set_recorded_at(row.key, reader.info.frame_timestamps_ns[0])
        except (InputError, OSError) as error:
            problems.append(f"{row.key} is left out, its date is unknown: {error}")
    last = last or datetime.now(UTC).date()
    start = None if first is None else datetime.combine(first, time.min, UTC)
    return catalog.recordings.recorded_between(start, datetime.combine(last + timedelta(days=1), time.min, UTC)), problems
