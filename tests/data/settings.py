"""Settings of sources and stores, of which a test changes a few."""

import dataclasses
from typing import Any

from lengthwise.data.config import ContaminationConfig, DataConfig
from lengthwise.data.sources import Source, SourceConfig
from lengthwise.data.sources.source import Skipped

SOURCE = SourceConfig(
    domain="all",
    source="text",
    path="",
    pattern="*.txt",
    field="text",
    group_field="",
    tfds_name="",
    tfds_split="train",
    empty_documents="error",
)

NO_CHECK = ContaminationConfig(ngram=0, share=0.8, drop="none", sources=())


def source_config(**changes: object) -> SourceConfig:
    return dataclasses.replace(SOURCE, **changes)  # type: ignore[arg-type]


def of_sources(config: DataConfig, *sources: SourceConfig) -> DataConfig:
    """`config` with these sources: its own one, or a mixture of several."""
    if len(sources) > 1:
        return dataclasses.replace(config, mixture=sources)
    return dataclasses.replace(config, mixture=(), **vars(sources[0]))


def change_source(config: DataConfig, **changes: object) -> DataConfig:
    """`config` with other fields of its one source."""
    (source,) = config.sources
    return of_sources(config, dataclasses.replace(source, **changes))  # type: ignore[arg-type]


def read_all(source: Source) -> tuple[dict[str, Any], Skipped]:
    """The documents of a source by name, and what it skipped."""
    skipped = Skipped()
    documents = [d for unit in source.units() for d in source.documents(unit, skipped)]
    named = {document.name: document.content for document in documents}
    assert len(named) == len(documents)
    return named, skipped
