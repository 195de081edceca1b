"""Where documents come from: the standard library, a folder of texts, JSON lines.

A source lists *units*, groups of files of bounded size, by looking at names and sizes alone. The
documents of a unit are then read wherever there is a free core. Units and documents come in
sorted order, which depends neither on the machine's locale nor on who reads them.
"""

import hashlib
import io
import itertools
import platform
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data.jsonl import read_json_lines
from errors import UserError

SOURCES = ("stdlib", "text", "jsonl")
EMPTY_DOCUMENTS = ("error", "skip")

# A unit is about 1/64 of the corpus within these bounds [bytes]: enough units to keep cores busy,
# few enough that their shards fit into the open files of a process.
_UNITS = 64
_MIN_UNIT_BYTES = 1 << 20
_MAX_UNIT_BYTES = 256 << 20


@dataclass(frozen=True)
class Document:
    """One item of a source. `text` always encodes to UTF-8 and is never empty."""

    name: str  # unique within the source: relative path, with ":line" in JSON lines
    text: str


@dataclass(frozen=True)
class Unit:
    """Consecutive files of a source that are read as one piece of work."""

    index: int
    files: tuple[tuple[str, str], ...]  # (name, path)
    num_bytes: int  # on disk
    key: str  # changes when the files or the way of reading them change


class Source(Protocol):
    def describe(self) -> str:
        """What this is, for people."""

    def units(self) -> list[Unit]:
        """All units in order. Raises UserError when there is nothing to read."""

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        """The documents of `unit`, in order; counts in `skipped` what it passes over.

        Raises UserError naming the file (and line or byte) that cannot be used.
        """


def make_source(kind: str, path: str, pattern: str, field: str, empty_documents: str) -> Source:
    """The source of that kind. Raises UserError for unknown kinds and missing paths."""
    if empty_documents not in EMPTY_DOCUMENTS:
        raise UserError(
            f"data.empty_documents={empty_documents!r} must be one of {', '.join(EMPTY_DOCUMENTS)}"
        )
    if kind == "stdlib":
        if path:
            raise UserError(f"data.source='stdlib' takes no path, but data.path={path!r}")
        return StdlibSource(Path(sysconfig.get_path("stdlib")))
    if kind not in SOURCES:
        raise UserError(f"data.source={kind!r} must be one of {', '.join(SOURCES)}")
    if not path:
        raise UserError(f"data.source={kind!r} needs data.path")
    skip_empty = empty_documents == "skip"
    if kind == "text":
        return TextSource(Path(path), pattern, skip_empty)
    return JsonlSource(Path(path), field, skip_empty)


@dataclass(frozen=True)
class StdlibSource:
    """The `.py` files of the interpreter's own library, decoded as PEP 263 says.

    Files that do not decode (the library tests its own error messages with some) and empty files
    (most `__init__.py`) are no documents; both are counted.
    """

    root: Path

    def describe(self) -> str:
        return f"standard library of {platform.python_implementation()} {platform.python_version()}"

    def units(self) -> list[Unit]:
        installed = {"site-packages", "dist-packages"}
        files = [
            (path.relative_to(self.root), path)
            for path in self.root.rglob("*.py")
            if path.is_file() and not installed & set(path.relative_to(self.root).parts)
        ]
        if not files:
            raise UserError(
                f"the interpreter's library at {self.root} has no .py files; "
                "use data.source='text' or 'jsonl' with a corpus of your own"
            )
        return _group(((name.as_posix(), path) for name, path in files), "stdlib")

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        for name, path in unit.files:
            raw = _read_file(path)
            try:
                encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
                text = raw.decode(encoding)
            except (SyntaxError, UnicodeDecodeError):
                skipped["undecodable"] += 1
                continue
            if text:
                yield Document(name, text)
            else:
                skipped["empty"] += 1


@dataclass(frozen=True)
class TextSource:
    """The UTF-8 files below `root` that match the glob `pattern`, a document a file."""

    root: Path
    pattern: str
    skip_empty: bool

    def describe(self) -> str:
        return f"text files {self.pattern} in {self.root}"

    def units(self) -> list[Unit]:
        if not self.root.is_dir():
            raise UserError(f"data.path={str(self.root)!r} is not a folder")
        files = [path for path in self.root.rglob(self.pattern) if path.is_file()]
        if not files:
            raise UserError(f"no file in {self.root} matches data.pattern={self.pattern!r}")
        return _group(
            ((path.relative_to(self.root).as_posix(), path) for path in files),
            f"text {self.skip_empty}",
        )

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        for name, path in unit.files:
            try:
                text = _read_file(path).decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8 at byte {error.start}: {error.reason}; "
                    "convert it or narrow data.pattern"
                ) from error
            if text:
                yield Document(name, text)
            else:
                note_empty(path, self.skip_empty, skipped)


@dataclass(frozen=True)
class JsonlSource:
    """`.jsonl` and `.jsonl.gz` files: one, a glob, or all below a folder; a document a line."""

    path: Path
    field: str
    skip_empty: bool

    def describe(self) -> str:
        return f"field {self.field!r} of JSON lines in {self.path}"

    def units(self) -> list[Unit]:
        if self.path.is_dir():
            root = self.path
            files = [*root.rglob("*.jsonl"), *root.rglob("*.jsonl.gz")]
        else:
            root = self.path.parent
            # A name with brackets is a name first and a pattern second.
            files = [self.path] if self.path.is_file() else list(root.glob(self.path.name))
        files = [path for path in files if path.is_file()]
        if not files:
            raise UserError(f"data.path={str(self.path)!r}: no .jsonl or .jsonl.gz file there")
        return _group(
            ((path.relative_to(root).as_posix(), path) for path in files),
            f"jsonl {self.skip_empty} {self.field}",
        )

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        for name, path in unit.files:
            for line, text in read_json_lines(Path(path), self.field, skipped):
                if text:
                    yield Document(f"{name}:{line}", text)
                else:
                    note_empty(f"{path}:{line}", self.skip_empty, skipped)


def note_empty(where: object, skip: bool, skipped: Counter[str]) -> None:
    """Counts a document with no tokens, or raises UserError naming it."""
    if not skip:
        raise UserError(
            f"{where}: a document with no tokens; remove it or set data.empty_documents='skip'"
        )
    skipped["empty"] += 1


def _read_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _group(files: Iterable[tuple[str, Path]], options: str) -> list[Unit]:
    """Sorted `(name, path)` cut into units where the running sum of bytes passes a multiple."""
    entries = []
    for name, path in sorted(set(files)):  # a pattern with several "**" may repeat files
        status = path.stat()
        entries.append((name, str(path), status.st_size, status.st_mtime_ns))
    total = sum(size for _, _, size, _ in entries)
    unit_bytes = min(max(total // _UNITS, _MIN_UNIT_BYTES), _MAX_UNIT_BYTES)
    ends = itertools.accumulate(size for _, _, size, _ in entries)
    numbered = zip(entries, ends, strict=True)
    # A file belongs to the multiple in which it starts, so that none is cut and order is kept.
    groups = itertools.groupby(numbered, key=lambda item: (item[1] - item[0][2]) // unit_bytes)
    units = []
    for index, (_, group) in enumerate(groups):
        members = [entry for entry, _ in group]
        key = hashlib.blake2b(repr((options, members)).encode("utf-8", "backslashreplace"))
        units.append(
            Unit(
                index=index,
                files=tuple((name, path) for name, path, _, _ in members),
                num_bytes=sum(size for _, _, size, _ in members),
                key=key.hexdigest()[:32],
            )
        )
    return units
