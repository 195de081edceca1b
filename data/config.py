"""Settings of a token store."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.data.sources import SourceConfig
from lengthwise.data.store import splits
from lengthwise.data.store.tokenizers import IDS, is_file, load_tokenizer, trained_vocab_size

DUPLICATES = ("keep", "drop_exact", "drop_near")
DROPS = ("none", "training", "held_out")
_HELD_OUT = tuple(split.name.lower() for split in splits.Split if split != splits.Split.TRAIN)
_NOT_CONTENT = ("workers", "verify")  # settings that leave the same store


@dataclass(frozen=True)
class ContaminationConfig:
    """The check for documents of evaluation sets in the training text."""

    ngram: int  # words; 0: no check
    share: float  # of a document's n-grams found in training that make it contaminated
    drop: str  # one of DROPS
    sources: tuple[SourceConfig, ...]  # evaluation sets beside the held-out splits


@dataclass(frozen=True)
class DataConfig:
    sources: tuple[SourceConfig, ...]  # one, or a mixture of several domains
    # "bytes", the path of a tokenizer.json, "train:bpe:VOCABULARY" or "ids:VOCABULARY:END_OF_TEXT".
    tokenizer: str
    end_of_text_token: str  # its name in tokenizer.json, such as "<|endoftext|>"
    shard_tokens: int  # most tokens in a shard, except for one document that is longer
    workers: int  # processes; 0: as many cores as the corpus is worth
    selection_share: float  # of the bytes, in [0, 1)
    report_share: float  # of the bytes, in [0, 1)
    split_seed: int
    near_duplicate_threshold: float  # Jaccard index of 16-byte windows, in (0, 1]; 0: don't look
    duplicates: str  # one of DUPLICATES
    contamination: ContaminationConfig
    verify: bool  # read all shards and compare checksums at each start

    @property
    def ids(self) -> bool:
        """Whether documents are token ids, not texts."""
        return self.tokenizer.startswith(IDS)


def check(config: DataConfig) -> None:
    """Raises UserError for impossible settings."""
    splits.check_shares(config.selection_share, config.report_share)
    if trained_vocab_size(config.tokenizer) is None and not is_file(config.tokenizer):
        load_tokenizer(config.tokenizer, config.end_of_text_token)
    if config.shard_tokens < 1:
        raise UserError(f"data.shard_tokens={config.shard_tokens} must be positive")
    if not 0 <= config.near_duplicate_threshold <= 1:
        raise UserError(
            f"data.near_duplicate_threshold={config.near_duplicate_threshold} must lie in (0, 1], "
            "or be 0 for exact copies alone"
        )
    if config.duplicates not in DUPLICATES:
        raise UserError(
            f"data.duplicates={config.duplicates!r} must be one of {', '.join(DUPLICATES)}"
        )
    if config.duplicates == "drop_near" and not config.near_duplicate_threshold:
        raise UserError("data.duplicates='drop_near' needs data.near_duplicate_threshold above 0")
    contamination = config.contamination
    if contamination.drop not in DROPS:
        raise UserError(
            f"data.contamination.drop={contamination.drop!r} must be one of {', '.join(DROPS)}"
        )
    if contamination.ngram < 0 or not 0 < contamination.share <= 1:
        raise UserError(
            f"data.contamination.ngram={contamination.ngram} must be positive, or 0 for no check, "
            f"and data.contamination.share={contamination.share} must lie in (0, 1]"
        )
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
    flat = {name: value for name, value in fields.items() if name not in _NOT_CONTENT}
    sources = flat.pop("sources")
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
