"""Files of a source, by path, folder or pattern, grouped into units of bounded size.

Units and their files come in sorted order, which depends neither on the machine's locale nor on
who reads them, and are made from names and sizes alone.
"""

import glob
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.data.sources.source import FilePart, Unit

# A unit is about 1/64 of the corpus within these bounds [bytes]: enough units to keep cores busy,
# few enough that their shards fit into the open files of a process.
UNITS = 64
MIN_UNIT_BYTES = 1 << 20
MAX_UNIT_BYTES = 256 << 20

# (path, bytes of the file, approximate bytes of a range) -> (start, stop, bytes) of the ranges, in
# order; start and stop count bytes, row groups or records, as the source does.
Split = Callable[[Path, int, int], list[tuple[int, int | None, int]]]

_MOUNTS = {
    "gs": "gcsfuse --implicit-dirs BUCKET /mnt/BUCKET",
    "s3": "mount-s3 BUCKET /mnt/BUCKET",
}


def local(path: str) -> str:
    """`path`, if it is local. Raises UserError, with the way to mount it, for a bucket."""
    scheme, is_url, rest = path.partition("://")
    if not is_url:
        return path
    if scheme not in _MOUNTS:
        raise UserError(f"data.path={path!r}: files are read from local paths; copy them here")
    bucket, _, inside = rest.partition("/")
    command = _MOUNTS[scheme].replace("BUCKET", bucket)
    raise UserError(
        f"data.path={path!r}: mount the bucket ({command}) and set data.path='/mnt/{bucket}/"
        f"{inside}'"
    )


def find_files(path: str, patterns: tuple[str, ...], what: str) -> list[tuple[str, Path]]:
    """(name, path) of the files at `path`, in no order: itself, those that it matches as a glob
    pattern, and those that match one of `patterns` below it where it is a folder.

    Raises UserError when there is none; `what` then says what was looked for.
    """
    root = Path(local(path))
    # A name with brackets is a name first and a pattern second.
    if root.is_file():
        return [(root.name, root)]
    if root.is_dir():
        matches = [root]
    elif glob.has_magic(path):
        matches = [Path(match) for match in glob.glob(path, recursive=True)]
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), root.parts[:-1])
        root = Path(*plain)
    else:
        raise UserError(f"data.path={path!r} is not a folder, nor a file or a glob pattern of some")
    files = {file for file in matches if file.is_file()}
    for folder in matches:
        if folder.is_dir():
            below = itertools.chain.from_iterable(_below(folder, each) for each in patterns)
            files.update(file for file in below if file.is_file())
    if not files:
        raise UserError(f"data.path={path!r}: no {what} there")
    return [(file.relative_to(root).as_posix(), file) for file in files]


def _below(folder: Path, pattern: str) -> Iterator[Path]:
    try:
        # Python 3.13 reads it as `*`; a data set must not depend on the interpreter.
        if any("**" in part and part != "**" for part in Path(pattern).parts):
            raise ValueError("** stands alone between slashes")
        yield from folder.rglob(pattern)
    except (ValueError, NotImplementedError) as error:  # only the user's own may be wrong
        raise UserError(
            f"data.pattern={pattern!r} is no pattern below a folder: {error}"
        ) from error


def make_units(
    files: Iterable[tuple[str, Path]], options: str, split: Split | None = None
) -> list[Unit]:
    """Sorted `(name, path)` cut into units where the running sum of bytes passes a multiple.

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
    return group_parts(parts, unit_bytes, options)


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
    """Reads the whole file. Raises UserError when it can't be read or has changed."""
    try:
        content = Path(part.path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {part.path}: {error.strerror}") from error
    check_unchanged(part)
    return content


def folder_of(name: str) -> str:
    """Folder of a file by its name within the source; "" at the top."""
    return name.rpartition("/")[0]
