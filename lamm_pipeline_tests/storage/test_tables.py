from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.storage.tables import ROWS_AT_ONCE, read_table, write_batches, write_table

SCHEMA = pa.schema([("number", pa.int64()), ("words", pa.list_(pa.string()))])
ROWS = [{"number": n, "words": [f"word {n}"] * (n % 3)} for n in range(2 * ROWS_AT_ONCE + 5)]


@settings(max_examples=10)
@given(st.lists(st.integers(0, len(ROWS)), max_size=8))
def test_a_table_does_not_depend_on_how_its_rows_came(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    bounds = sorted([0, *cuts, len(ROWS)])
    batches = [pa.RecordBatch.from_pylist(ROWS[start:end], schema=SCHEMA) for start, end in pairwise(bounds)]
    assert write_batches(folder / "in_batches.parquet", SCHEMA, batches) == len(ROWS)
    assert write_table(folder / "by_rows.parquet", SCHEMA, ROWS) == len(ROWS)
    assert list(read_table(folder / "in_batches.parquet")) == ROWS
    assert (folder / "in_batches.parquet").read_bytes() == (folder / "by_rows.parquet").read_bytes()


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert write_batches(tmp_path / "empty.parquet", SCHEMA, []) == 0
    assert list(read_table(tmp_path / "empty.parquet")) == []
