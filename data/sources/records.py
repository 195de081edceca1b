"""Documents from records with fields: JSON lines, Parquet rows, TFDS examples."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.sources.files import check_unchanged
from lengthwise.data.sources.source import (
    BadRecord,
    Document,
    FilePart,
    Skipped,
    SourceConfig,
    Unit,
    note_bad,
    note_empty,
)


class Place(Protocol):
    """Location of a record; as a string, for messages: file or data set and number."""

    @property
    def name(self) -> str:
        """Unique within the source."""


@dataclass(frozen=True)
class Numbered:
    """Location by number, from 0, in a file."""

    part: FilePart
    number: int
    what: str = "record"

    @property
    def name(self) -> str:
        return f"{self.part.name}:{self.number}"

    def __str__(self) -> str:
        return f"{self.part.path}: {self.what} {self.number}"


@dataclass(frozen=True)
class RecordFields:
    """Fields of a record that make the document, and its type."""

    field: str
    group_field: str  # "": none
    ids: bool  # the field holds token ids, not a text

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "RecordFields":
        """Those of a source that needs `field`. Raises UserError when it is empty."""
        if not config.field:
            raise UserError(f"data.source={config.source!r} needs data.field")
        return cls(config.field, config.group_field, ids)

    def check(self, names: Iterable[str], where: object) -> None:
        """Raises BadRecord at `where` when a field is not among `names`."""
        settings = {"data.field": self.field, "data.group_field": self.group_field}
        for setting, field in settings.items():
            if field not in names and (field or setting == "data.field"):
                known = ", ".join(names) or "no field"
                raise BadRecord(where, f"no field {field!r} ({setting}); there is {known}")

    def content(self, record: Mapping[str, Any], where: object) -> str | np.ndarray:
        """The text, or token ids int64 [n], of a record; may be empty.

        Raises BadRecord at `where`: another type, not UTF-8.
        """
        value = record[self.field]
        return _ids(value, self.field, where) if self.ids else _text(value, self.field, where)

    def group(self, record: Mapping[str, Any], where: object) -> str:
        """Group of a record; "" for none and for null. Raises as `content`."""
        value = record[self.group_field] if self.group_field else None
        if value is None:
            return ""
        if isinstance(value, int | np.integer):
            return str(value)
        return _text(value, self.group_field, where)


def read_documents(
    unit: Unit,
    read: Callable[[FilePart], Iterator[tuple[Place, Callable[[], Mapping[str, Any]]]]],
    fields: RecordFields,
    skip_empty: bool,
    skip_bad: bool,
    skipped: Skipped,
) -> Iterator[Document]:
    """The documents in the records that `read` finds in the parts of `unit`.

    read: places, each with a function that gives the record or raises BadRecord.

    Raises UserError as `read` does, and: a file changed, a bad record, an empty document, a file
    without records. All but the first are counted in `skipped` with `skip_bad` or `skip_empty`.
    """
    for part in unit.parts:
        check_unchanged(part)
        empty_file = True
        for place, parse in read(part) if part.size else ():
            empty_file = False
            try:
                record = parse()
                fields.check(record.keys(), place)
                content, group = fields.content(record, place), fields.group(record, place)
            except BadRecord as error:
                note_bad(error, skip_bad, skipped)
                continue
            if len(content):
                yield Document(place.name, content, 0, group)
            else:
                note_empty(place, skip_empty, skipped)
        check_unchanged(part)  # also while it was read
        if empty_file and part.stop is None:
            if not skip_empty:
                raise UserError(
                    f"{part.path}: a file with no documents; remove it or set "
                    "data.empty_documents='skip'",
                    advice={"data.empty_documents": "skip"},
                )
            skipped["empty file"] += 1


def _text(value: Any, field: str, where: object) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRecord(where, f"field {field!r} is not UTF-8 at byte {error.start}") from error
    if not isinstance(value, str):
        raise BadRecord(where, f"field {field!r} is a {type(value).__name__}, not a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRecord(
            where, f"field {field!r} has half a surrogate pair at character {error.start}"
        ) from error
    return value


def _ids(value: Any, field: str, where: object) -> np.ndarray:
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, bool) or not isinstance(item, int | np.integer):
                raise BadRecord(
                    where,
                    f"field {field!r} has {item!r:.40} at position {position}, not a token id",
                )
        try:
            return np.array(value, np.int64)
        except OverflowError as error:
            raise BadRecord(where, f"field {field!r} has a number beyond 64 bits") from error
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1:
        return value.astype(np.int64)
    kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise BadRecord(where, f"field {field!r} is a {kind}, not a list of token ids")
