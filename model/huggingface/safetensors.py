"""Files of the safetensors format, read in parts and written.

A file is the length of a header, 8 bytes little-endian, the header as JSON, {name: {dtype, shape,
data_offsets}}, and the arrays in C order without gaps. Parts are read by positioned reads, never
through a memory map.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError, reason
from lengthwise.common.files import atomic_write

DTYPES: Mapping[str, Any] = {
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(jnp.bfloat16),
    "F16": np.dtype(np.float16),
}
_BYTES_AT_A_TIME = 1 << 24  # of a read
_MOST_HEADER = 100 << 20  # bytes, as the format has it
_METADATA = "__metadata__"


class Stored(NamedTuple):
    """An array in a file."""

    dtype: Any  # a numpy dtype
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the file


class SafetensorsFile:
    """An open file, whose arrays are read in parts.

    Raises:
      UserError: it can't be read, is no such file, is cut off, or has arrays of a dtype that isn't
        served.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise UserError(f"cannot read {path}: {reason(error)}") from error
        self.arrays = self._header()

    def _header(self) -> dict[str, Stored]:
        whole = f"{self.path} is no whole safetensors file"
        again = "copy or download it again"
        length = int.from_bytes(self._bytes(0, 8), "little") if self._size >= 8 else 0
        if not 2 <= length <= _MOST_HEADER or length + 8 > self._size:
            raise UserError(f"{whole}: its header is missing or cut off; {again}")
        try:
            header = json.loads(self._bytes(8, length))
            header.pop(_METADATA, None)
            found = {name: self._stored(name, each, 8 + length) for name, each in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{whole}: its header can't be read; {again}") from error
        for name, stored in found.items():
            end = stored.offset + math.prod(stored.shape) * stored.dtype.itemsize
            if end > self._size:
                raise UserError(
                    f"{self.path} is cut off: {name} ends at byte {end:,}, and the file at "
                    f"{self._size:,}; {again}"
                )
        return found

    def _stored(self, name: str, entry: Mapping[str, Any], start: int) -> Stored:
        if entry["dtype"] not in DTYPES:
            raise UserError(
                f"{self.path}: {name} has the dtype {entry['dtype']}, which isn't served; convert "
                f"it to one of {', '.join(DTYPES)}"
            )
        dtype, shape = DTYPES[entry["dtype"]], tuple(map(int, entry["shape"]))
        begin, end = map(int, entry["data_offsets"])
        if begin < 0 or min(shape, default=0) < 0:
            raise ValueError(name)
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(name)
        return Stored(dtype, shape, start + begin)

    def _bytes(self, offset: int, count: int) -> bytes:
        try:
            content = os.pread(self._file.fileno(), count, offset)
            while 0 < len(content) < count:  # at most 2 GiB come at once
                more = os.pread(self._file.fileno(), count - len(content), offset + len(content))
                if not more:
                    break
                content += more
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {reason(error)}") from error
        if len(content) != count:
            raise UserError(f"{self.path} became shorter while it was read; copy it again")
        return content

    def read(self, name: str, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Rows and columns of an array as they are stored, [rows] or [rows, columns].

        Beyond the result it takes a few megabytes, whatever the size of the array.
        """
        dtype, shape, offset = self.arrays[name]
        width = math.prod(shape[1:])
        within = range(width)[columns]
        result = np.empty((len(rows), len(within)), dtype)
        for start, count in _runs(rows, max(1, _BYTES_AT_A_TIME // (width * dtype.itemsize))):
            at = offset + int(rows[start]) * width * dtype.itemsize
            content = self._bytes(at, count * width * dtype.itemsize)
            values = np.frombuffer(content, dtype).reshape(count, width)
            result[start : start + count] = values[:, columns]
        return result if len(shape) > 1 else result[:, 0]

    def close(self) -> None:
        self._file.close()


def _runs(rows: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """(start, count) of stretches of consecutive row numbers, of `most` rows at most."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    for begin, end in itertools.pairwise(edges):
        for start in range(begin, end, most):
            yield start, min(most, end - start)


def write_safetensors(
    path: Path, arrays: Mapping[str, tuple[Any, tuple[int, ...]]], make: Callable[[str], np.ndarray]
) -> None:
    """Writes a file, one array in memory at a time.

    Args:
      arrays: name -> (numpy dtype, shape).
      make: the array of a name.

    Raises:
      UserError: see `atomic_write`.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in arrays.items():
        end = offset + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": names[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)  # arrays begin at multiples of 8 bytes

    def chunks() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        for name, (dtype, shape) in arrays.items():
            array = np.ascontiguousarray(make(name), dtype)
            assert array.shape == shape, name
            yield array.reshape(-1).view(np.uint8).data

    atomic_write(path, chunks())
