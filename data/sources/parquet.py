"""Parquet files, one document a row."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow
from pyarrow import parquet

from lengthwise.common.library_errors import reading
from lengthwise.data.sources.files import make_units
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

_BATCH_ROWS = 64  # rows in memory at a time: books take a megabyte each


@SOURCES.register("parquet")
@dataclass(frozen=True)
class ParquetSource(NamedSource):
    """`.parquet` files: one, a glob, or all below a folder; a column of strings or of lists of ids.

    A file larger than a unit is read in ranges of row groups.
    """

    has_ids: ClassVar[bool] = True

    path: str
    fields: RecordFields
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)
    skip_bad: bool = False

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "ParquetSource":
        return cls(
            config.path,
            RecordFields.of(config, ids),
            config.skip_empty,
            (config.domain,),
            config.skip_bad,
        )

    def describe(self) -> str:
        return f"column {self.fields.field!r} of Parquet files in {self.path}"

    def units(self) -> list[Unit]:
        files = find_files(self.path, ("*.parquet",), ".parquet file")
        return make_units(
            files, f"parquet {self.skip_empty} {self.skip_bad} {self.fields}", _row_group_ranges
        )

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        return read_documents(
            unit, self._read, self.fields, self.skip_empty, self.skip_bad, skipped
        )

    def _read(self, part: FilePart) -> Iterator[tuple[Numbered, Callable[[], dict[str, Any]]]]:
        place = _AfterRow(part.path)
        with reading(place, "pyarrow"), _open(part.path) as file:
            self.fields.check(file.schema_arrow.names, part.path)
            groups = range(part.start, part.stop or file.num_row_groups)
            place.row = sum(file.metadata.row_group(g).num_rows for g in range(part.start)) - 1
            columns = [name for name in (self.fields.field, self.fields.group_field) if name]
            batches = file.iter_batches(
                _BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False
            )
            for batch in batches:
                named = {name: batch[name] for name in columns}
                for row in range(batch.num_rows):
                    place.row += 1
                    here = Numbered(part, place.row, "row")
                    yield here, functools.partial(self._record, named, row, here)

    def _record(
        self, columns: dict[str, pyarrow.Array], row: int, place: Numbered
    ) -> dict[str, Any]:
        with reading(place, "pyarrow"):
            try:
                return {name: self._value(column[row]) for name, column in columns.items()}
            except UnicodeDecodeError as error:
                raise BadRecord(place, f"not UTF-8 at byte {error.start}") from error

    def _value(self, scalar: pyarrow.Scalar) -> Any:
        if self.fields.ids and isinstance(scalar, pyarrow.ListScalar) and scalar.is_valid:
            return scalar.values.to_numpy(zero_copy_only=False)
        return scalar.as_py()


@dataclass
class _AfterRow:
    """How far a file was read, for errors."""

    path: str
    row: int = -1

    def __str__(self) -> str:
        return f"cannot read {self.path} after row {self.row}"


def _open(path: str) -> parquet.ParquetFile:
    # Where a file has no checksums, flipped bits may pass for another text.
    return parquet.ParquetFile(path, pre_buffer=True, page_checksum_verification=True)


def _row_group_ranges(path: Path, size: int, range_bytes: int) -> list[tuple[int, int | None, int]]:
    with reading(f"cannot read {path}", "pyarrow"), _open(str(path)) as file:
        rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
    # Bytes are assumed to be spread evenly over rows.
    before = itertools.accumulate(rows, initial=0)
    begin = [size * count // max(sum(rows), 1) for count in before]
    ranges: list[tuple[int, int | None, int]] = []
    for _, members in itertools.groupby(range(len(rows)), lambda g: begin[g] // range_bytes):
        groups = list(members)
        first, stop = groups[0], groups[-1] + 1
        ranges.append((first, stop, begin[stop] - begin[first]))
    return ranges or [(0, None, size)]
