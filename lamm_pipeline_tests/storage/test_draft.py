import ctypes
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import atomic
from lamm_pipeline.storage import draft as draft_module
from lamm_pipeline.storage.draft import BOOKKEEPING, Draft
from lamm_pipeline.storage.tables import write_batches

ROWS = pa.schema([("row", pa.int64()), ("texts", pa.list_(pa.string()))])


def write_rows(draft: Draft, rows: int, checkpoint_every: int, *, stop_at: int | None = None) -> int:
    """A stage in small: one log record, one row of a table and one file a row. Returns how many rows were computed."""
    log, table = draft.log("rows.jsonl"), draft.row_log("rows.arrow", ROWS)
    computed = 0
    for row in range(int(draft.state.get("done", 0)), rows):
        if row == stop_at:
            draft.close()
            return computed
        (draft.directory / f"{row}.txt").write_text(f"row {row}")
        log.append({"row": row, "text": f"größe {row}"})
        table.append({"row": row, "texts": [f"größe {row}"] * (row % 3)})
        computed += 1
        if (row + 1) % checkpoint_every == 0:
            draft.checkpoint({"done": row + 1})
    (draft.directory / "all.txt").write_text("\n".join(str(record) for record in log))
    assert write_batches(draft.directory / "all.parquet", ROWS, table.batches()) == rows
    draft.finish()
    return computed


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.requirement("AV-21", "NFR-10", "STA-05")
@pytest.mark.parametrize("stop_at", range(12))
def test_a_draft_interrupted_anywhere_and_resumed_gives_the_same_bytes_without_repeating_checkpointed_rows(
    tmp_path: Path, stop_at: int
) -> None:
    write_rows(Draft.open(tmp_path / "whole"), 12, 3)
    write_rows(Draft.open(tmp_path / "cut"), 12, 3, stop_at=stop_at)
    recomputed = write_rows(Draft.open(tmp_path / "cut"), 12, 3)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    assert recomputed == 12 - stop_at // 3 * 3


def test_records_written_after_the_last_checkpoint_are_forgotten(tmp_path: Path) -> None:
    draft = Draft.open(tmp_path)
    log = draft.log("a")
    log.append({"n": 1})
    draft.checkpoint({"done": 1})
    log.append({"n": 2})
    draft.close()
    again = Draft.open(tmp_path).log("a")
    assert list(again) == [{"n": 1}]
    assert len(again) == 1


def test_a_log_can_be_read_while_it_grows(tmp_path: Path) -> None:
    log = Draft.open(tmp_path).log("a")
    log.append({"n": 1})
    assert list(log) == [{"n": 1}]
    log.append({"n": 2})
    assert list(log) == [{"n": 1}, {"n": 2}]


def test_a_log_of_rows_can_be_read_while_it_grows_and_forgets_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    draft = Draft.open(tmp_path)
    rows = [{"row": n, "texts": ["a"] * (n % 2)} for n in range(draft_module.ROWS_AT_ONCE + 3)]
    log = draft.row_log("a", ROWS)
    for row in rows[:-1]:
        log.append(row)
    assert [row for batch in log.batches() for row in batch.to_pylist()] == rows[:-1]
    draft.checkpoint({})
    log.append(rows[-1])
    assert [row for batch in log.batches() for row in batch.to_pylist()] == rows
    draft.close()
    again = Draft.open(tmp_path).row_log("a", ROWS)
    assert [row for batch in again.batches() for row in batch.to_pylist()] == rows[:-1]


def test_a_draft_of_a_release_that_kept_other_logs_is_refused(tmp_path: Path) -> None:
    draft = Draft.open(tmp_path)
    draft.log("a").append({"n": 1})
    draft.checkpoint({"done": 1})
    draft.close()
    again = Draft.open(tmp_path)
    assert list(again.log("a")) == [{"n": 1}]
    with pytest.raises(InputError, match="another release"):
        again.row_log("rows", ROWS)


def test_finishing_leaves_only_the_outputs(tmp_path: Path) -> None:
    draft = Draft.open(tmp_path)
    draft.log("a").append({"n": 1})
    draft.checkpoint({})
    (tmp_path / "out.txt").write_text("x")
    draft.finish()
    assert tree(tmp_path) == {"out.txt": b"x"}
    assert not (tmp_path / BOOKKEEPING).exists()


@given(
    state=st.dictionaries(
        st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=5), max_size=4
    )
)
def test_the_state_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, state: dict[str, float | int | str]) -> None:
    folder = tmp_path_factory.mktemp("state")
    Draft.open(folder).checkpoint(state)
    assert Draft.open(folder).state == state


def test_a_checkpoint_is_written_only_when_the_outputs_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft.open(tmp_path / "files", tmp_path)
    draft.checkpoint({"done": 1})

    def fails(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(draft_module, "sync_file_system", fails)
    with pytest.raises(OSError, match="No space left"):
        draft.checkpoint({"done": 2})
    assert Draft.open(tmp_path / "files", tmp_path).state == {"done": 1}


def test_a_file_system_is_flushed_also_where_only_all_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(os, "sync", lambda: called.append("all"))
    atomic.sync_file_system(tmp_path)
    assert called == []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    atomic.sync_file_system(tmp_path)
    assert called == ["all"]
