"""The contract of a source: its settings, documents and units of work; the registry of sources."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.common.settings import section, setting
from lengthwise.data.tasks.config import TaskConfig

SOURCES: Registry[Any] = Registry("source", "lengthwise.data.sources")
EMPTY_DOCUMENTS = ("error", "skip")
BAD_RECORDS = ("error", "skip")
PLACES = 5  # bad records that are named, of a unit and of a corpus


@dataclass(frozen=True)
class SourceConfig:
    """One source of a corpus. Fields that its kind does not use are ignored."""

    domain: str = "all"  # name of the documents of this source
    # stdlib | text | jsonl | parquet | array_record | tfds | aws_docs | task
    source: str = "stdlib"
    # a file, a folder or a glob pattern; tfds: data_dir
    path: str = setting("", path=True)
    pattern: str = "**/*.txt"  # text: which files of a folder
    field: str = "text"  # of a record, the document; array_record: empty: all of the record
    group_field: str = ""  # of a record, what related documents share; empty: none
    tfds_name: str = ""  # tfds: the data set, such as c4/en:3.1.0
    tfds_split: str = "train"  # tfds: a split or a part of one, such as train[:10%]
    # error | skip: a document with no text
    empty_documents: str = setting("error", choices=EMPTY_DOCUMENTS)
    # error | skip: a record, line or text file that can't be read as a document, null for example
    bad_records: str = setting("error", choices=BAD_RECORDS)
    # characters (of ids: ids) of a part, about; longer documents are cut into several, which are
    # documents of their own; 0: they stay whole
    part_length: int = setting(0, "[0, inf)")
    # of a part, left out between two: splits don't touch
    part_gap: float = setting(0.05, "[0, 1]")
    task: TaskConfig = section(TaskConfig)  # task: what its samples are

    @property
    def skip_empty(self) -> bool:
        return self.empty_documents == "skip"

    @property
    def skip_bad(self) -> bool:
        return self.bad_records == "skip"


@dataclass(frozen=True)
class Document:
    """One item of a source."""

    name: str  # unique within the source: relative path, with ":line" in JSON lines
    content: str | np.ndarray  # text that encodes to UTF-8, or token ids, int64 [n]; never empty
    domain: int  # index into Source.domains
    group: str  # what related documents share: the folder of a file, a field of a record; "": none


@dataclass(frozen=True)
class FilePart:
    """A file or a range of one, as of the listing of the units."""

    name: str  # of the file within the source
    path: str
    size: int  # bytes of the whole file
    mtime_ns: int
    start: int = 0  # bytes, row groups or records, as its source counts
    stop: int | None = None  # None: to the end


@dataclass(frozen=True)
class Unit:
    """Consecutive parts of a source that are read as one unit of work."""

    index: int
    parts: tuple[FilePart, ...]
    num_bytes: int  # on disk
    key: str  # changes when the files or the way of reading them change
    domain: int = 0  # index into Source.domains
    left_out: tuple[tuple[str, int], ...] = ()  # files beside these that were not taken: why, count


class Skipped(Counter[str]):
    """Items of a source that are no documents, counted by reason, and the first bad records."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(counts)
        self.bad_records: list[str] = []  # messages, PLACES at most


class BadRecord(UserError):
    """A record, line or file that can't be a document, though others beside it can.

    Its place becomes a string where the message is asked for: to number a line costs a reading.
    """

    def __init__(self, place: object, what: str) -> None:
        super().__init__(place, what)

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class Source(Protocol):
    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of the config."""

    def describe(self) -> str:
        """Description for the manifest and the terminal."""

    def units(self) -> list[Unit]:
        """All units in order. Raises UserError when there is nothing to read."""

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        """The documents of `unit`, in order; counts skipped items in `skipped`, by reason.

        Raises UserError naming the file (and line, row, record or byte) that cannot be used.
        """


class NamedSource(ABC):
    """A source that data.source names, of one domain.

    A frozen dataclass of what its documents depend on. Worker processes get it pickled, so that its
    class must be in a module that they can import.
    """

    domains: tuple[str, ...]
    takes_path: ClassVar[bool] = True  # whether data.path means something, and then
    needs_path: ClassVar[bool] = True  # whether it may not be empty
    has_ids: ClassVar[bool] = False  # whether its documents may be token ids

    @classmethod
    @abstractmethod
    def of(cls, config: SourceConfig, ids: bool) -> Source:
        """The source of these settings.

        Args:
          ids: documents are lists of token ids, not texts.

        Raises UserError for settings that it needs.
        """

    @abstractmethod
    def describe(self) -> str:
        """See `Source`, here and below."""

    @abstractmethod
    def units(self) -> list[Unit]: ...

    @abstractmethod
    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]: ...


def note_empty(where: object, skip: bool, skipped: Counter[str]) -> None:
    """Counts a document with no tokens, or raises UserError naming it."""
    if not skip:
        raise UserError(
            f"{where}: a document with no tokens; remove it or set data.empty_documents='skip'",
            advice={"data.empty_documents": "skip"},
        )
    skipped["empty"] += 1


def note_bad(record: BadRecord, skip: bool, skipped: Skipped) -> None:
    """Counts a bad record and keeps the message of the first ones, or raises it with advice."""
    if not skip:
        raise UserError(
            f"{record}; correct it or set data.bad_records='skip'",
            advice={"data.bad_records": "skip"},
        ) from record
    skipped["bad records"] += 1
    if len(skipped.bad_records) < PLACES:
        # A path need not be a text.
        skipped.bad_records.append(str(record).encode("utf-8", "backslashreplace").decode()[:300])
