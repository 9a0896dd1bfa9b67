"""Arrays of one frame in a `.npz` or `.parquet` file. Large arrays of an uncompressed `.npz` are mapped into memory, not read."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

MAPPED_BYTES = 1 << 20
"""From this size on an array is mapped."""
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
)
"""What zipfile, NumPy and Arrow raise for damaged files; a damaged header of an array is read as Python text."""

_LOCAL_HEADER = 30
_ARRAY = ".npy"


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` file, by name; nothing that would have to be unpickled.

    Raises:
        Exception: one of `UNREADABLE` when the file is damaged or no such file.
    """
    found: dict[str, NDArray[Any]] = {}
    with np.load(path, allow_pickle=False) as file:
        for entry in file.zip.infolist():
            name = entry.filename.removesuffix(_ARRAY)
            mapped = entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= MAPPED_BYTES
            found[name] = _mapped(path, entry) if mapped else file[name]
    return found


def read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a Parquet file with one row a point, by column; the points are the second last axis of nested columns.

    A column of numbers is `(points,)`, of lists `(points, classes)`. One of lists of lists is `(points, members, classes)` in the file and
    `(members, points, classes)` here.

    Raises:
        Exception: one of `UNREADABLE` when the file is damaged, or the lists of a column are not of one length.
    """
    table = pq.read_table(path)
    return {name: _column(table.column(name).combine_chunks()) for name in table.column_names}


def parquet_table(arrays: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The inverse of `read_parquet`."""
    return pa.table({name: _list_array(np.moveaxis(array, -2, 0) if array.ndim > 1 else array) for name, array in arrays.items()})


def _mapped(path: Path, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """An array that lies uncompressed in the archive."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name_length, extra_length = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
        file.seek(entry.header_offset + _LOCAL_HEADER + name_length + extra_length)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("the array holds Python objects")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _column(column: pa.Array) -> NDArray[Any]:
    lengths: list[int] = []
    values = column
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        found = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(found) > 1 or None in found:
            raise ValueError("the lists of a column are not of one length")
        lengths.append(found[0] if found else 0)
        values = values.flatten()
    if values.null_count:
        raise ValueError("a value is missing")
    array = values.to_numpy(zero_copy_only=False).reshape(len(column), *lengths)
    return np.moveaxis(array, 0, -2) if lengths else array


def _list_array(array: NDArray[Any]) -> pa.Array:
    if array.ndim == 1:
        return pa.array(np.ascontiguousarray(array))
    inner = _list_array(np.ascontiguousarray(array).reshape(-1, *array.shape[2:]))
    return pa.FixedSizeListArray.from_arrays(inner, array.shape[1])
