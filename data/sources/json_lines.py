"""JSON lines, plain or compressed, one document a line. Errors name file and line."""

import gzip
import io
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import zstandard

from lengthwise.common.errors import UserError
from lengthwise.data.sources.files import find_files, make_units
from lengthwise.data.sources.records import RecordFields, read_documents
from lengthwise.data.sources.source import (
    SOURCES,
    Document,
    FilePart,
    NamedSource,
    SourceConfig,
    Unit,
)

PATTERNS = ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst")


@SOURCES.register("jsonl")
@dataclass(frozen=True)
class JsonlSource(NamedSource):
    """`.jsonl`, `.jsonl.gz` and `.jsonl.zst` files: one, a glob, or all below a folder.

    A plain file larger than a unit is read in ranges of bytes; a line belongs to the range in
    which it begins. Its documents are named by the byte at which their line begins, as nobody
    who reads a range knows the number of the line.
    """

    has_ids: ClassVar[bool] = True

    path: str
    fields: RecordFields
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "JsonlSource":
        return cls(config.path, RecordFields.of(config, ids), config.skip_empty, (config.domain,))

    def describe(self) -> str:
        return f"field {self.fields.field!r} of JSON lines in {self.path}"

    def units(self) -> list[Unit]:
        files = find_files(self.path, PATTERNS, ".jsonl, .jsonl.gz or .jsonl.zst file")
        return make_units(files, f"jsonl {self.skip_empty} {self.fields}", _byte_ranges)

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        def read(part: FilePart) -> Iterator[tuple[_Line, dict[str, Any]]]:
            for place, line in _lines(part):
                if line.isspace():
                    skipped["blank line"] += 1
                else:
                    yield place, parse_object(line, place)

        return read_documents(unit, read, self.fields, self.skip_empty, skipped)


def _byte_ranges(path: Path, size: int, range_bytes: int) -> list[tuple[int, int | None, int]]:
    if path.suffix in (".gz", ".zst"):
        return [(0, None, size)]
    count = -(-size // range_bytes)
    edges = [size * i // count for i in range(count + 1)]
    return [(start, stop, stop - start) for start, stop in itertools.pairwise(edges)]


@dataclass(frozen=True)
class _Line:
    """A line, for messages; its number is counted only when one is written."""

    part: FilePart
    line: int  # from 1 at the beginning of the part
    offset: int  # bytes, of the uncompressed file

    @property
    def name(self) -> str:
        whole = self.part.stop is None
        return f"{self.part.name}:{self.line}" if whole else f"{self.part.name}@{self.offset}"

    def __str__(self) -> str:
        line = self.line
        if self.part.stop is not None:
            line = 1 + _newlines(self.part.path, self.offset)
        return f"{self.part.path}:{line}"


def _newlines(path: str, end: int) -> int:
    """Newlines among the first `end` bytes."""
    count = 0
    with open(path, "rb") as file:
        while end > 0 and (chunk := file.read(min(end, 1 << 20))):
            count += chunk.count(b"\n")
            end -= len(chunk)
    return count


def _lines(part: FilePart) -> Iterator[tuple[_Line, bytes]]:
    """The lines that begin in `part`. Raises UserError: unreadable or damaged file."""
    number, offset = 0, part.start
    try:
        with _open(part.path) as file:
            if offset:  # a line that begins before the range belongs to the part before
                file.seek(offset - 1)
                offset += len(file.readline()) - 1
            for number, line in enumerate(file, start=1):
                if part.stop is not None and offset >= part.stop:
                    return
                yield _Line(part, number, offset), line
                offset += len(line)
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise UserError(
            f"{part.path}: damaged {Path(part.path).suffix} file after line {number}: {error}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {part.path}: {error.strerror or error}") from error


def _open(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.endswith(".zst"):
        return io.BufferedReader(_ZstdFrames(path), 1 << 20)
    return open(path, "rb")


class _ZstdFrames(io.RawIOBase):
    """Concatenated Zstandard frames; unlike zstandard's own reader it notices a truncated file."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  closed with this reader
        # Dumps of the web are often made with --long=31.
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._frame = self._decompressor.decompressobj()
        self._started = False  # inside a frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._frame.unused_data or self._file.read(1 << 18)
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
                self._started = False
            if not data:
                if self._started:
                    raise EOFError("it ends inside a frame")
                return 0
            self._started = True
            self._ready = memoryview(self._frame.decompress(data))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def parse_object(line: bytes, where: object) -> dict[str, Any]:
    """The JSON object of a line. Raises UserError beginning with `where`."""
    try:
        record = json.loads(line.rstrip(b"\r\n").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start} of the line") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: broken JSON at column {error.colno}: {error.msg}") from error
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{where}: broken JSON: {str(error).partition(':')[0]}") from error
    except RecursionError as error:
        raise UserError(f"{where}: JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: a {type(record).__name__}, not a JSON object")
    return record
