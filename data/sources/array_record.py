"""ArrayRecord files, one document a record."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from array_record.python.array_record_module import ArrayRecordReader

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import reading
from lengthwise.data.sources.files import make_units
from lengthwise.data.sources.json_lines import parse_object
from lengthwise.data.sources.listing import find_files
from lengthwise.data.sources.records import Numbered, RecordFields, read_documents
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

# TFDS numbers its shards: NAME.array_record-00000-of-00008.
PATTERNS = ("*.array_record", "*.array_record-*-of-*")

_READ_BYTES = 4 << 20  # records in memory at a time, about


@SOURCES.register("array_record")
@dataclass(frozen=True)
class ArrayRecordSource(NamedSource):
    """ArrayRecord files: one, a glob, or all below a folder.

    A record is a JSON object in UTF-8, or with an empty `fields.field` the text itself. A file
    larger than a unit is read in ranges of records.
    """

    has_ids: ClassVar[bool] = True

    path: str
    fields: RecordFields
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)
    skip_bad: bool = False

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "ArrayRecordSource":
        if not config.field and (ids or config.group_field):
            raise UserError(
                "data.field='' reads whole records as texts, without ids and group_field"
            )
        fields = RecordFields(config.field, config.group_field, ids)
        return cls(config.path, fields, config.skip_empty, (config.domain,), config.skip_bad)

    def describe(self) -> str:
        what = f"field {self.fields.field!r} of records" if self.fields.field else "records"
        return f"{what} of ArrayRecord files in {self.path}"

    def units(self) -> list[Unit]:
        files = find_files(self.path, PATTERNS, ".array_record file")
        return make_units(
            files, f"array_record {self.skip_empty} {self.skip_bad} {self.fields}", _record_ranges
        )

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        return read_documents(
            unit, self._read, self.fields, self.skip_empty, self.skip_bad, skipped
        )

    def _read(self, part: FilePart) -> Iterator[tuple[Numbered, Callable[[], dict[str, Any]]]]:
        reader, total = _open(part.path)
        stop = total if part.stop is None else part.stop
        step = max(1, _READ_BYTES * total // part.size)
        for start in range(part.start, stop, step):
            with reading(f"cannot read {part.path} near record {start}", "array_record"):
                records = reader.read(start, min(start + step, stop))
            for number, record in enumerate(records, start):
                place = Numbered(part, number, "record")
                yield place, functools.partial(self._fields, record, place)

    def _fields(self, record: bytes, place: Numbered) -> dict[str, Any]:
        if not self.fields.field:
            return {"": record}
        try:
            return parse_object(record, place)
        except BadRecord as error:
            place, what = error.args
            hint = "records that are texts: data.field=''; a TFDS dataset: data.source='tfds'"
            raise BadRecord(place, f"{what} ({hint})") from error


def _open(path: str) -> tuple[ArrayRecordReader, int]:
    """A reader and its number of records."""
    with reading(f"cannot read {path}", "array_record"):
        reader = ArrayRecordReader(path)
        # A file that was cut has no index and would pass for an empty one.
        if not reader.ok():
            raise UserError(f"cannot read {path}: it is no ArrayRecord file or was cut off")
        return reader, reader.num_records()


def _record_ranges(path: Path, size: int, range_bytes: int) -> list[tuple[int, int | None, int]]:
    _, total = _open(str(path))
    count = min(-(-size // range_bytes), max(total, 1))
    edges = [total * i // count for i in range(count + 1)]
    if count == 1:
        return [(0, None, size)]
    return [
        (edges[i], edges[i + 1], size * (i + 1) // count - size * i // count) for i in range(count)
    ]
