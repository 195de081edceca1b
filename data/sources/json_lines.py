"""JSON lines, plain or packed, one document a line. Errors name file and line."""

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lengthwise.common.compressed import SUFFIXES, is_packed, open_unpacked
from lengthwise.common.errors import UserError
from lengthwise.common.texts import BYTE_ORDER_MARK, NotUtf8, decode_text
from lengthwise.data.sources.files import make_units
from lengthwise.data.sources.listing import find_files
from lengthwise.data.sources.records import RecordFields, read_documents
from lengthwise.data.sources.source import (
    SOURCES,
    BadRecord,
    Document,
    FilePart,
    NamedSource,
    Skipped,
    SourceConfig,
    Unit,
)

# A plain .json is rarely lines; the packed ones of published corpora are.
PATTERNS = ("*.jsonl", *(f"*{name}{packed}" for name in (".jsonl", ".json") for packed in SUFFIXES))


@SOURCES.register("jsonl")
@dataclass(frozen=True)
class JsonlSource(NamedSource):
    """`.jsonl` files, and packed `.jsonl` and `.json` files: one, a glob, or all below a folder.

    A plain file larger than a unit is read in ranges of bytes; a line belongs to the range in
    which it begins. Its documents are named by the byte at which their line begins, as nobody
    who reads a range knows the number of the line.
    """

    has_ids: ClassVar[bool] = True

    path: str
    fields: RecordFields
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)
    skip_bad: bool = False

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "JsonlSource":
        return cls(
            config.path,
            RecordFields.of(config, ids),
            config.skip_empty,
            (config.domain,),
            config.skip_bad,
        )

    def describe(self) -> str:
        return f"field {self.fields.field!r} of JSON lines in {self.path}"

    def units(self) -> list[Unit]:
        what = f"file *.jsonl, nor *.jsonl or *.json with {', '.join(SUFFIXES)} behind,"
        files = find_files(self.path, PATTERNS, what)
        return make_units(
            files, f"jsonl {self.skip_empty} {self.skip_bad} {self.fields}", _byte_ranges
        )

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        def read(part: FilePart) -> Iterator[tuple[_Line, Callable[[], dict[str, Any]]]]:
            for place, line in _lines(part):
                if not line.removeprefix(BYTE_ORDER_MARK).strip():
                    skipped["blank line"] += 1
                else:
                    yield place, functools.partial(parse_object, line, place)

        return read_documents(unit, read, self.fields, self.skip_empty, self.skip_bad, skipped)


def _byte_ranges(path: Path, size: int, range_bytes: int) -> list[tuple[int, int | None, int]]:
    if is_packed(path):
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
        with open_unpacked(part.path, lambda: f" after line {number}") as file:
            if offset:  # a line that begins before the range belongs to the part before
                file.seek(offset - 1)
                offset += len(file.readline()) - 1
            for number, line in enumerate(file, start=1):
                if part.stop is not None and offset >= part.stop:
                    return
                yield _Line(part, number, offset), line
                offset += len(line)
    except OSError as error:
        raise UserError(f"cannot read {part.path}: {error.strerror or error}") from error


def parse_object(line: bytes, where: object) -> dict[str, Any]:
    """The JSON object of a line. Raises BadRecord at `where`."""
    try:
        record = json.loads(decode_text(line.rstrip(b"\r\n")))
    except NotUtf8 as error:
        raise BadRecord(where, f"{error} of the line") from error
    except json.JSONDecodeError as error:
        raise BadRecord(where, f"broken JSON at column {error.colno}: {error.msg}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadRecord(where, f"broken JSON: {str(error).partition(':')[0]}") from error
    except RecursionError as error:
        raise BadRecord(where, "JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise BadRecord(where, f"a {type(record).__name__}, not a JSON object")
    return record
