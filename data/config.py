"""Settings of a token store."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.settings import overlays, section, setting
from lengthwise.common.trees import check_fields
from lengthwise.data.sources import SourceConfig
from lengthwise.data.store import splits
from lengthwise.data.store.tokenizers import (
    BYTES,
    END_OF_TEXT,
    IDS,
    NO_TOKEN,
    is_file,
    load_tokenizer,
    trained_vocab_size,
)

DUPLICATES = ("keep", "drop_exact", "drop_near")
UNKNOWN_TEXT = ("error", "allow")
DROPS = ("none", "training", "held_out")
_HELD_OUT = tuple(split.name.lower() for split in splits.Split if split != splits.Split.TRAIN)
_NOT_CONTENT = ("store", "workers", "verify")  # settings that leave the same store


@dataclass(frozen=True)
class ContaminationConfig:
    """The check for documents of evaluation sets in the training text."""

    ngram: int = setting(0, "[0, inf)")  # words that make an overlap, usually 13; 0: no check
    # of a document's n-grams found in training: it is contaminated
    share: float = setting(0.8, "(0, 1]")
    # none | training | held_out: which documents of the corpus
    drop: str = setting("none", choices=DROPS)
    # evaluation sets, written as the items of data.mixture
    sources: tuple[SourceConfig, ...] = overlays(
        "data", naming="domain", reset=("group_field", "part_length")
    )


@dataclass(frozen=True)
class DataConfig(SourceConfig):
    """What a token store is made of. One source, or the template of several: see `mixture`."""

    # sources of several domains; each item overrides fields of the section: ({"domain": "code"},
    # {"domain": "prose", "source": "jsonl", "path": "prose/*.jsonl.gz"})
    mixture: tuple[SourceConfig, ...] = overlays(".", naming="domain")
    # bytes | path of a tokenizer.json | hf:OWNER/NAME, that of a repository, @REVISION |
    # train:bpe:VOCABULARY | ids:VOCABULARY:END_OF_TEXT
    tokenizer: str = setting("bytes", path=True)
    end_of_text_token: str = "<|endoftext|>"  # its name in a tokenizer.json
    # the token before each document, an input of the training: none | end_of_text | the name of a
    # special token of a tokenizer.json, such as `<s>` | an id, of ids:...
    begin_with: str = NO_TOKEN
    # text without a token, where a tokenizer.json doesn't know all: error | allow: replaced or
    # dropped as the tokenizer does, and counted
    unknown_text: str = setting("error", choices=UNKNOWN_TEXT)
    shard_tokens: int = setting(1 << 26, "[1, inf)")  # tokens a shard, at most, but of one document
    store: str = setting("", path=True)  # directory of the token store; empty: WORKDIR/store
    workers: int = setting(0, "[0, inf)")  # processes that tokenize; 0: one a core
    # share of the text that chooses (stopping, best, scaling)
    selection_share: float = setting(0.08, "[0, 1)")
    # share of the text that is scored once, at the end
    report_share: float = setting(0.08, "[0, 1)")
    split_seed: int = setting(0, "[0, inf)")  # of the draw of the two splits
    # Jaccard index of near-duplicates; 0: exact copies alone
    near_duplicate_threshold: float = setting(0.35, "[0, 1]")
    duplicates: str = setting("keep", choices=DUPLICATES)  # keep | drop_exact | drop_near
    contamination: ContaminationConfig = section(ContaminationConfig)
    verify: bool = True  # re-read the checksums of the store at every start

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """The sources: those of the mixture, or the one of the section itself."""
        names = (field.name for field in dataclasses.fields(SourceConfig))
        own = SourceConfig(**{name: getattr(self, name) for name in names})
        return self.mixture or (own,)

    @property
    def ids(self) -> bool:
        """Whether documents are token ids, not texts."""
        return self.tokenizer.startswith(IDS)


@dataclass(frozen=True)
class ReadingConfig:
    """How batches are read; none of it changes what is in them."""

    reader_threads: int = setting(2, "[1, inf)")  # threads that assemble batches
    prefetch: int = setting(4, "[1, inf)")  # batches assembled ahead
    # a store of fewer bytes of tokens is read into memory whole
    memory_bytes: int = setting(1 << 28, "[0, inf)")
    # local disk to which blocks are copied ahead; empty: none
    stage_directory: str = setting("", path=True)
    # blocks copied at a time; each has layout.block_tokens tokens
    stage_blocks: int = setting(0, "[0, inf)")


def check(config: DataConfig) -> None:
    """Raises UserError for impossible settings."""
    splits.check_shares(config.selection_share, config.report_share)
    if trained_vocab_size(config.tokenizer) is None and not is_file(config.tokenizer):
        load_tokenizer(config.tokenizer, config.end_of_text_token)
    check_fields(config, "data")
    chosen = config.begin_with not in (NO_TOKEN, END_OF_TEXT)
    if chosen and (trained_vocab_size(config.tokenizer) or config.tokenizer == BYTES):
        raise UserError(
            f"data.begin_with={config.begin_with!r}: data.tokenizer={config.tokenizer!r} has one "
            f"special token, its end of text; choose {NO_TOKEN} or {END_OF_TEXT}",
            advice={"data.begin_with": END_OF_TEXT},
        )
    if config.begin_with != NO_TOKEN and any(each.source == "task" for each in config.sources):
        raise UserError(
            f"data.begin_with={config.begin_with!r} is for text and data.source='task' has samples "
            f"of a form of their own; set it to {NO_TOKEN}",
            advice={"data.begin_with": NO_TOKEN},
        )
    if config.duplicates == "drop_near" and not config.near_duplicate_threshold:
        raise UserError("data.duplicates='drop_near' needs data.near_duplicate_threshold above 0")
    contamination = config.contamination
    for source in contamination.sources:
        if source.domain in _HELD_OUT:
            raise UserError(
                f"data.contamination.sources has a domain called {source.domain!r}, as a split of "
                "this corpus is; rename it"
            )
    if not contamination.ngram and (contamination.drop != "none" or contamination.sources):
        raise UserError(
            "data.contamination.drop and .sources need data.contamination.ngram above 0, "
            "for example 13"
        )


def content(config: DataConfig) -> dict[str, Any]:
    """The settings that decide what is in a store, flat, by the names that a config gives them."""
    fields = dataclasses.asdict(config)
    of_sources = {"mixture", *(field.name for field in dataclasses.fields(SourceConfig))}
    flat = {n: value for n, value in fields.items() if n not in {*_NOT_CONTENT, *of_sources}}
    sources = [dataclasses.asdict(source) for source in config.sources]
    for source in sources:
        task = source.pop("task")
        if task["name"]:
            source.update({f"task.{name}": value for name, value in task.items()})
    for number, source in enumerate(sources):
        where = f"mixture[{number}]." if len(sources) > 1 else ""
        flat.update({f"{where}{name}": value for name, value in source.items()})
    contamination = flat.pop("contamination")
    flat.update({f"contamination.{name}": value for name, value in contamination.items()})
    return dict(json.loads(json.dumps(flat)))  # as the manifest gives it back
