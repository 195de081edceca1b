"""Document tables of a token store: one flat little-endian array a file, checked at first use.

Opening a store of 100 million documents reads none of them, only their sizes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import xxhash

from lengthwise.common.files import atomic_write
from lengthwise.data.store.shard_reader import damaged

FOLDER = "documents"
# Columns of the N documents, in the order of the tokens.
TABLES = {
    "offsets": "<i8",  # [N+1] first token of each document, then the number of tokens
    "splits": "|u1",  # [N] data.store.splits.Split
    "bytes": "<i8",  # [N] UTF-8 bytes; of token ids, 4 each
    "clusters": "<i8",  # [N] near-duplicate cluster
    "domains": "<u2",  # [N] index into Manifest.domains
    "groups": "<u8",  # [N] hash of (domain, group); 0: related to no other
    "name_offsets": "<i8",  # [N+1] first byte of each name
    "names": "|u1",  # UTF-8, concatenated
}
_ERRORS = "surrogatepass"  # names of files need not be UTF-8


@dataclass(frozen=True)
class TableEntry:
    """A file of the store that is not a shard."""

    num_bytes: int
    checksum: str


def table_path(name: str) -> str:
    """Path of a table of `TABLES` below the store."""
    return f"{FOLDER}/{name}.bin"


def write_file(path: Path, chunks: Iterable[Any]) -> TableEntry:
    """Writes bytes-like chunks whole or not at all. Raises UserError as `atomic_write`."""
    digest = xxhash.xxh3_128()
    num_bytes = 0

    def hashed() -> Iterator[Any]:
        nonlocal num_bytes
        for chunk in chunks:
            digest.update(chunk)
            num_bytes += memoryview(chunk).nbytes
            yield chunk

    atomic_write(path, hashed())
    return TableEntry(num_bytes, digest.hexdigest())


def write_table(directory: Path, name: str, chunks: Iterable[np.ndarray]) -> TableEntry:
    """Writes the table `name` from consecutive pieces of it."""
    arrays = (np.ascontiguousarray(chunk, TABLES[name]) for chunk in chunks)
    return write_file(directory / table_path(name), (array.data for array in arrays if array.size))


def check_size(directory: Path, name: str, entry: TableEntry) -> None:
    """Raises UserError where the file is absent or has another size."""
    path = directory / name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise damaged(path, directory, str(error.strerror)) from error
    if size != entry.num_bytes:
        raise damaged(path, directory, f"{size} bytes, not {entry.num_bytes}")


def read_file(directory: Path, name: str, entry: TableEntry) -> bytearray:
    """Reads a file of the store whole. Raises UserError naming it where it is damaged."""
    check_size(directory, name, entry)
    path = directory / name
    content = bytearray(entry.num_bytes)
    try:
        with open(path, "rb", buffering=0) as file:
            view = memoryview(content)
            while view and (got := file.readinto(view)):
                view = view[got:]
    except OSError as error:
        raise damaged(path, directory, str(error.strerror)) from error
    if xxhash.xxh3_128_hexdigest(content) != entry.checksum:
        raise damaged(path, directory, "wrong checksum")
    return content


def read_table(directory: Path, name: str, entry: TableEntry) -> np.ndarray:
    """Reads a table of `TABLES`: 1-D, read-only. Raises UserError naming it where it is damaged."""
    array = np.frombuffer(read_file(directory, table_path(name), entry), TABLES[name])
    array.flags.writeable = False
    return array


def encode_names(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of all names, uint8, and the bytes of each, int64 [N]."""
    encoded = [name.encode("utf-8", _ERRORS) for name in names]
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return np.frombuffer(b"".join(encoded), np.uint8), sizes


class NameTable(Sequence[str]):
    """Names of all documents, decoded at each access."""

    def __init__(self, offsets: np.ndarray, text: np.ndarray) -> None:
        """offsets: int64 [N+1], bytes of `text`, uint8."""
        self._offsets = offsets
        self._text = text

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        index = int(index) % len(self)
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        return self._text[start:end].tobytes().decode("utf-8", _ERRORS)
