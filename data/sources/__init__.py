"""Sources of documents.

A source lists *units*, parts of its files of bounded size, by looking at names and sizes. The
documents of a unit are then read wherever there is a free core.
"""

import sysconfig
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.data.sources.source import EMPTY_DOCUMENTS, Document, Source, SourceConfig, Unit

__all__ = ["KINDS", "Document", "Source", "SourceConfig", "Unit", "make_source"]

KINDS = ("stdlib", "text", "jsonl", "parquet", "array_record", "tfds", "aws_docs", "task")
_WITHOUT_PATH = ("stdlib", "aws_docs", "task")
_WITH_IDS = ("jsonl", "parquet", "array_record", "tfds", "task")


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
    if config.empty_documents not in EMPTY_DOCUMENTS:
        raise UserError(
            f"data.empty_documents={config.empty_documents!r} must be one of "
            f"{', '.join(EMPTY_DOCUMENTS)}"
        )
    if kind not in KINDS:
        raise UserError(f"data.source={kind!r} must be one of {', '.join(KINDS)}")
    if ids and kind not in _WITH_IDS:
        raise UserError(
            f"data.source={kind!r} has texts, but data.tokenizer='ids:...' reads token ids; "
            f"use one of {', '.join(_WITH_IDS)}"
        )
    if config.path and kind in _WITHOUT_PATH:
        raise UserError(f"data.source={kind!r} takes no path, but data.path={config.path!r}")
    if not config.path and kind not in (*_WITHOUT_PATH, "tfds"):
        raise UserError(f"data.source={kind!r} needs data.path")
    if kind == "tfds" and not config.tfds_name:
        raise UserError("data.source='tfds' needs data.tfds_name, such as 'c4/en:3.1.0'")
    if kind == "array_record" and not config.field and (ids or config.group_field):
        raise UserError("data.field='' reads whole records as texts, without ids and group_field")
    if not config.field and kind in ("jsonl", "parquet", "tfds"):
        raise UserError(f"data.source={kind!r} needs data.field")
    return _of_kind(config, ids)


def _of_kind(config: SourceConfig, ids: bool) -> Source:
    # Kinds are imported at use: pyarrow and TFDS take a second.
    domains, skip_empty = (config.domain,), config.skip_empty
    match config.source:
        case "stdlib":
            from lengthwise.data.sources.text_files import StdlibSource

            return StdlibSource(Path(sysconfig.get_path("stdlib")), domains)
        case "aws_docs":
            from lengthwise.data.sources.aws_docs import AwsDocsSource

            return AwsDocsSource(domains)
        case "text":
            from lengthwise.data.sources.text_files import TextSource

            return TextSource(config.path, config.pattern, skip_empty, domains)
        case "task":
            from lengthwise.data.sources.tasks import TaskSource

            return TaskSource(config.task, domains)
    from lengthwise.data.sources.records import RecordFields

    fields = RecordFields(config.field, config.group_field, ids)
    match config.source:
        case "jsonl":
            from lengthwise.data.sources.json_lines import JsonlSource

            return JsonlSource(config.path, fields, skip_empty, domains)
        case "parquet":
            from lengthwise.data.sources.parquet import ParquetSource

            return ParquetSource(config.path, fields, skip_empty, domains)
        case "array_record":
            from lengthwise.data.sources.array_record import ArrayRecordSource

            return ArrayRecordSource(config.path, fields, skip_empty, domains)
    from lengthwise.data.sources.tfds import TfdsSource

    return TfdsSource(config.tfds_name, config.tfds_split, config.path, fields, skip_empty, domains)
