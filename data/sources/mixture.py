"""Several sources as one corpus, each a domain of its own."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.data.sources.source import Document, Skipped, Source, Unit


@dataclass(frozen=True)
class Mixture:
    """Concatenation of `sources`; document names begin with the domain."""

    sources: tuple[Source, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(domain for source in self.sources for domain in source.domains)

    def describe(self) -> str:
        parts = (f"{source.domains[0]}: {source.describe()}" for source in self.sources)
        return "; ".join(parts)

    def units(self) -> list[Unit]:
        units: list[Unit] = []
        for domain, source in enumerate(self.sources):
            try:
                own = source.units()
            except UserError as error:
                what = f"domain {source.domains[0]!r}: {error}"
                raise UserError(what, advice=error.advice) from error
            for unit in own:
                key = f"{source.domains[0]} {unit.key}"
                units.append(dataclasses.replace(unit, index=len(units), domain=domain, key=key))
        return units

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        source = self.sources[unit.domain]
        for document in source.documents(unit, skipped):
            name = f"{source.domains[0]}/{document.name}"
            yield Document(name, document.content, unit.domain, document.group)


@dataclass(frozen=True)
class EvaluationSets:
    """The documents of `source`, whose domains are the items of data.contamination.sources."""

    source: Source

    @property
    def domains(self) -> tuple[str, ...]:
        return self.source.domains

    def describe(self) -> str:
        return self.source.describe()

    def units(self) -> list[Unit]:
        with errors_of_items(self.domains):
            return self.source.units()

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        with errors_of_items((self.domains[unit.domain],)):
            yield from self.source.documents(unit, skipped)


@contextlib.contextmanager
def errors_of_items(domains: tuple[str, ...]) -> Iterator[None]:
    """Names those items in what is raised."""
    try:
        yield
    except UserError as error:
        items = ", ".join(map(repr, domains))
        raise UserError(
            f"data.contamination.sources, item {items}: {error}; an item takes what it does not "
            "set from config.data: set it in the item",
            advice=error.advice,
        ) from error
