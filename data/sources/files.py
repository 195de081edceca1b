"""Files of a source, grouped into units of bounded size, and what is read of them.

Units and their files come in sorted order, which depends neither on the machine's locale nor on
who reads them, and are made from names and sizes alone.
"""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from lengthwise.common.compressed import open_unpacked
from lengthwise.common.errors import UserError
from lengthwise.data.sources.listing import Listing
from lengthwise.data.sources.source import FilePart, Unit

# A unit is about 1/64 of the corpus within these bounds [bytes]: enough units to keep cores busy,
# few enough that their shards fit into the open files of a process.
UNITS = 64
MIN_UNIT_BYTES = 1 << 20
MAX_UNIT_BYTES = 256 << 20

# (path, bytes of the file, approximate bytes of a range) -> (start, stop, bytes) of the ranges, in
# order; start and stop count bytes, row groups or records, as the source does.
Split = Callable[[Path, int, int], list[tuple[int, int | None, int]]]


def make_units(
    files: Listing | Iterable[tuple[str, Path]], options: str, split: Split | None = None
) -> list[Unit]:
    """Sorted `(name, path)` cut into units where the running sum of bytes passes a multiple; what a
    listing left out goes with the first.

    Args:
      options: all that decides, beside the files, what is read from them.
      split: cuts a file that is larger than a unit into ranges; None: files stay whole.
    """
    whole = []
    for name, path in sorted(files):
        status = path.stat()
        whole.append((path, FilePart(name, str(path), status.st_size, status.st_mtime_ns)))
    total = sum(part.size for _, part in whole)
    unit_bytes = min(max(total // UNITS, MIN_UNIT_BYTES), MAX_UNIT_BYTES)
    parts: list[tuple[FilePart, int]] = []  # with their bytes
    for path, part in whole:
        if split is None or part.size <= unit_bytes:
            parts.append((part, part.size))
            continue
        for start, stop, num_bytes in split(path, part.size, unit_bytes):
            ranged = FilePart(part.name, part.path, part.size, part.mtime_ns, start, stop)
            parts.append((ranged, num_bytes))
    units = group_parts(parts, unit_bytes, options)
    if isinstance(files, Listing):
        units[0] = dataclasses.replace(units[0], left_out=tuple(files.left_out.items()))
    return units


def group_parts(parts: list[tuple[FilePart, int]], unit_bytes: int, options: str) -> list[Unit]:
    """Units of consecutive `(part, its bytes)`, of about `unit_bytes` or one part each."""
    ends = itertools.accumulate(num_bytes for _, num_bytes in parts)
    numbered = zip(parts, ends, strict=True)
    # A part belongs to the multiple in which it starts, so that none is cut and order is kept.
    groups = itertools.groupby(numbered, key=lambda item: (item[1] - item[0][1]) // unit_bytes)
    units = []
    for index, (_, group) in enumerate(groups):
        members = [part for part, _ in group]
        key = hashlib.blake2b(repr((options, members)).encode("utf-8", "backslashreplace"))
        units.append(
            Unit(
                index=index,
                parts=tuple(part for part, _ in members),
                num_bytes=sum(num_bytes for _, num_bytes in members),
                key=key.hexdigest()[:32],
            )
        )
    return units


def check_unchanged(part: FilePart) -> None:
    """Raises UserError when the file of `part` is gone or has changed."""
    try:
        status = os.stat(part.path)
    except OSError as error:
        raise UserError(f"cannot read {part.path}: {error.strerror}") from error
    if (status.st_size, status.st_mtime_ns) != (part.size, part.mtime_ns):
        raise UserError(f"{part.path} changed during preparation; run again")


def read_file(part: FilePart) -> bytes:
    """Reads the whole file, a packed one unpacked.

    Raises UserError when it can't be read or has changed.
    """
    try:
        with open_unpacked(part.path) as file:
            content = file.read()
    except OSError as error:
        raise UserError(f"cannot read {part.path}: {error.strerror}") from error
    check_unchanged(part)
    return content


def folder_of(name: str) -> str:
    """Folder of a file by its name within the source; "" at the top."""
    return name.rpartition("/")[0]
