"""Sources of documents.

A source lists *units*, parts of its files of bounded size, by looking at names and sizes. The
documents of a unit are then read wherever there is a free core.
"""

import math
from collections import Counter
from collections.abc import Sequence

from lengthwise.common.errors import UserError
from lengthwise.common.trees import check_fields
from lengthwise.data.sources.parts import DocumentParts
from lengthwise.data.sources.source import SOURCES, Document, Skipped, Source, SourceConfig, Unit

__all__ = ["SOURCES", "Document", "Skipped", "Source", "SourceConfig", "Unit", "make_source"]


def make_source(configs: Sequence[SourceConfig], ids: bool) -> Source:
    """Builds the source of these settings, a mixture of several.

    Args:
      ids: documents are lists of token ids, not texts.

    Raises:
      UserError: unknown kinds, missing or needless paths, domains without a name of their own.
    """
    counts = Counter(config.domain for config in configs)
    for domain, count in counts.items():
        if not domain:
            raise UserError("data.domain is empty; name the domain")
        if count > 1:
            raise UserError(f"data.mixture has {count} domains called {domain!r}; rename them")
    if len(configs) > 1 and any(config.source == "task" for config in configs):
        raise UserError(
            "data.mixture can't hold data.source='task', whose vocabulary is its own; mix tasks "
            "with data.task.hints"
        )
    sources = [_make_one(config, ids) for config in configs]
    if len(sources) == 1:
        return sources[0]
    from lengthwise.data.sources.mixture import Mixture

    return Mixture(tuple(sources))


def _make_one(config: SourceConfig, ids: bool) -> Source:
    kind = config.source
    check_fields(config, "data")
    cls = SOURCES.named(kind, "data.source")  # imported here: pyarrow and TFDS take a second
    if ids and not cls.has_ids:
        raise UserError(
            f"data.source={kind!r} has texts, but data.tokenizer='ids:...' reads token ids; "
            "use a source that has some, such as jsonl, parquet, array_record or tfds"
        )
    if config.path and not cls.takes_path:
        raise UserError(f"data.source={kind!r} takes no path, but data.path={config.path!r}")
    if not config.path and cls.takes_path and cls.needs_path:
        raise UserError(f"data.source={kind!r} needs data.path")
    source: Source = cls.of(config, ids)
    if config.part_length:
        gap = math.ceil(config.part_gap * config.part_length)
        return DocumentParts(source, config.part_length, gap)
    return source
