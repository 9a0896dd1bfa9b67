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
    stream = iter(rows)
    batches = (pa.RecordBatch.from_pylist(batch, schema=schema) for batch in iter(lambda: list(islice(stream, ROWS_AT_ONCE)), []))
    return write_batches(path, schema, batches)


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write record batches as a Parquet file, which does not depend on how the rows were divided among them.

    Returns:
        The number of rows written.
    """
    written, waiting = 0, schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema)])
            while waiting.num_rows >= ROWS_AT_ONCE:
                writer.write_table(waiting.slice(0, ROWS_AT_ONCE).combine_chunks())
                waiting = waiting.slice(ROWS_AT_ONCE)
            written += batch.num_rows
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())
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
