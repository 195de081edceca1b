"""Long documents cut into parts, each a document: a corpus of one file can be held out of, too."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lengthwise.data.sources.source import Document, Skipped, Source, Unit

_ALIGN = 8  # a cut moves to white space by this fraction of a part, at most


@dataclass(frozen=True)
class DocumentParts:
    """The documents of `source`; those much longer than `length` as NAME#0, NAME#1, ...

    Between two parts `gap` characters or ids are left out, so that a part that is held out does not
    go on from one that was trained on.
    """

    source: Source
    length: int  # characters or ids of a part, about
    gap: int  # characters or ids, at least

    @property
    def domains(self) -> tuple[str, ...]:
        return self.source.domains

    def describe(self) -> str:
        return f"{self.source.describe()}, in parts of {self.length:,}"

    def units(self) -> list[Unit]:
        return [
            dataclasses.replace(unit, key=f"{unit.key} {self.length} {self.gap}")
            for unit in self.source.units()
        ]

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        for document in self.source.documents(unit, skipped):
            spans = cut(document.content, self.length, self.gap)
            skipped["gaps between parts"] += len(spans) - 1
            for number, (start, end) in enumerate(spans):
                name = f"{document.name}#{number}" if len(spans) > 1 else document.name
                yield dataclasses.replace(document, name=name, content=document.content[start:end])


def cut(content: str | np.ndarray, length: int, gap: int) -> list[tuple[int, int]]:
    """(start, end) of equal parts of about `length`, two thirds to one and a half, `gap` apart at
    least; gap is at most length.

    Of a text they end and begin at white space where there is some near.
    """
    total = len(content)
    count = max(1, round((total + gap) / (length + gap)))
    size = (total - gap * (count - 1)) / count
    spans, reach = [], int(size) // _ALIGN
    for number in range(count):
        first = number * (size + gap)
        start, end = round(first), round(first + size)
        if isinstance(content, str):
            if number:
                start = _space(content, range(start, start + reach), start)
            if end < total:
                end = _space(content, range(end, end - reach, -1), end)
        spans.append((start, end))
    return spans


def _space(text: str, places: range, other: int) -> int:
    """The first of the places with white space, or the other one."""
    return next((place for place in places if text[place].isspace()), other)
