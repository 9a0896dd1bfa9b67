"""An artifact while it is being written: a folder that survives a kill and is continued from its last checkpoint.

Stages write their files below `Draft.directory` and call `checkpoint` every `CHECKPOINT_EVERY` units of work. The bookkeeping is no part
of the outputs and is gone once the draft is finished, so the outputs of an interrupted and resumed stage are byte-identical to those of an
undisturbed one, as long as the stage rewrites what it finds after the checkpoint.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import sync_file_system, write_json

CHECKPOINT_EVERY = 25
BOOKKEEPING = ".draft"
CHECKPOINT = "checkpoint.json"
ROWS_AT_ONCE = 1024


def _cut_back(path: Path, offset: int) -> BufferedWriter:
    """A log opened to be appended to at `offset`; what lies behind is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, offset)
    return path.open("ab")


class RecordLog:
    """Append-only JSON lines; the running table of a stage whose final file is written at the end."""

    def __init__(self, path: Path, offset: int, count: int) -> None:
        self._path = path
        self._file = _cut_back(path, offset)
        self._count = count

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        self._file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self._count += 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Stream all records from the first."""
        self._file.flush()
        with self._path.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def __len__(self) -> int:
        return self._count

    def position(self) -> tuple[int, int]:
        """Offset in bytes and number of records, after everything appended is handed to the operating system."""
        self._file.flush()
        return self._file.tell(), self._count

    def close(self) -> None:
        """Close the file; the log cannot be appended to afterwards."""
        self._file.close()


class RowLog:
    """Append-only rows of an Arrow schema; for a table whose rows are so many that to write and read them as JSON would take long."""

    def __init__(self, path: Path, offset: int, count: int, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._file = _cut_back(path, offset)
        self._count = count
        self._rows: list[Mapping[str, Any]] = []

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row, with every column of the schema."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream all rows from the first, in batches of any length."""
        self._flush()
        with pa.OSFile(str(self._path)) as file:
            while file.tell() < file.size():
                yield pa.ipc.read_record_batch(pa.ipc.read_message(file), self._schema)

    def position(self) -> tuple[int, int]:
        """Offset in bytes and number of rows, after everything appended is handed to the operating system."""
        self._flush()
        return self._file.tell(), self._count

    def close(self) -> None:
        """Close the file; the log cannot be appended to afterwards."""
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write(pa.RecordBatch.from_pylist(self._rows, schema=self._schema).serialize())
            self._count += len(self._rows)
            self._rows.clear()
        self._file.flush()


class Draft:
    """An artifact in the making. Get one from an artifact store, or from `Draft.open` for a plain folder.

    Attributes:
        directory: where the stage writes its files.
        state: what the last checkpoint stored, `{}` when there is none.
    """

    def __init__(self, directory: Path, bookkeeping: Path, state: dict[str, Any], logs: Mapping[str, tuple[int, int]]) -> None:
        self.directory = directory
        self._bookkeeping = bookkeeping
        self.state = state
        self._stored_logs = dict(logs)
        self._logs: dict[str, RecordLog] = {}
        self._row_logs: dict[str, RowLog] = {}

    @classmethod
    def open(cls, directory: Path, bookkeeping: Path | None = None) -> Self:
        """Open or continue a draft.

        Args:
            directory: where the outputs go.
            bookkeeping: folder of checkpoint and logs; a hidden one in `directory` by default.
        """
        directory.mkdir(parents=True, exist_ok=True)
        bookkeeping = bookkeeping or directory / BOOKKEEPING
        path = bookkeeping / CHECKPOINT
        stored = json.loads(path.read_text()) if path.is_file() else {"state": {}, "logs": {}}
        logs = {name: (offset, count) for name, (offset, count) in stored["logs"].items()}
        return cls(directory, bookkeeping, stored["state"], logs)

    def log(self, name: str) -> RecordLog:
        """The record log `name`, cut back to the last checkpoint. The same object for the same name."""
        if name not in self._logs:
            offset, count = self._stored_logs.get(name, (0, 0))
            self._logs[name] = RecordLog(self._bookkeeping / name, offset, count)
        return self._logs[name]

    def row_log(self, name: str, schema: pa.Schema) -> RowLog:
        """The log of rows `name`, cut back to the last checkpoint. The same object for the same name.

        Raises:
            InputError: a release without this log began the draft.
        """
        if name not in self._row_logs:
            if self.state and name not in self._stored_logs:
                raise InputError(f"{self.directory} was begun by another release, whose notes are no use. Begin it anew (`lamm restart`).")
            offset, count = self._stored_logs.get(name, (0, 0))
            self._row_logs[name] = RowLog(self._bookkeeping / name, offset, count, schema)
        return self._row_logs[name]

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Make everything written so far durable, then remember `state` and the length of every log."""
        self.state = dict(state)
        self._stored_logs |= {name: log.position() for name, log in self._all_logs().items()}
        sync_file_system(self.directory)
        write_json(self._bookkeeping / CHECKPOINT, {"state": self.state, "logs": self._stored_logs})

    def finish(self) -> None:
        """Drop the bookkeeping: only the outputs stay."""
        self.close()
        shutil.rmtree(self._bookkeeping, ignore_errors=True)

    def close(self) -> None:
        """Close the logs; the checkpoint stays and the draft can be continued."""
        for log in self._all_logs().values():
            log.close()
        self._logs.clear()
        self._row_logs.clear()

    def _all_logs(self) -> Mapping[str, RecordLog | RowLog]:
        return {**self._logs, **self._row_logs}
