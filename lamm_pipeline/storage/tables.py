"""Parquet tables written and read row by row, so that their length does not matter to memory."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.errors import InputError

ROWS_AT_ONCE = 4096


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `rows` (each with every column of `schema`) as a Parquet file.

    Returns:
        The number of rows written.
    """
    written = 0
    stream = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(stream, ROWS_AT_ONCE)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            written += len(batch)
    return written


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """Stream the rows of a Parquet file.

    Raises:
        InputError: the file is missing or is no Parquet file.
    """
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read as a table ({error}). Run the stage that writes it again.") from error
    with file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            yield from batch.to_pylist()
