"""How far the held-out text of a corpus reaches: what can be scored, and what would help the rest.

A corpus of few or short documents is trained on all the same; what can't be scored is named.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig, targets_per_row, tested_contexts
from lengthwise.eval.losses.targets import DocumentSource

_PARTS = 600  # that a corpus of few documents is cut into: splits and intervals have enough


@dataclass(frozen=True)
class Unscored:
    """What can't be scored, why, and the fields of the config with values that would help."""

    what: str
    why: str
    advice: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        flags = " ".join(f"--config.{name}={value}" for name, value in self.advice.items())
        return f"{self.what}: {self.why}" + (f"; {flags} would help" if flags else "")


@dataclass(frozen=True)
class Scorable:
    """What of an evaluation the corpus has text for."""

    config: EvalConfig  # without what has none; eval.ratios and lengths are those asked for
    contexts: tuple[int, ...]  # tokens, ascending, of the report split; (): nothing is reported
    selection: tuple[int, ...]  # L_train and 2 L_train, as far as the selection split reaches
    left_out: tuple[Unscored, ...]


def scorable(source: DocumentSource, config: EvalConfig, l_train: int) -> Scorable:
    """The part of `config` that the held-out splits of `source` have enough long documents for.

    Up to L_train targets lie in several rows, so that a document must be a little longer than the
    context; see `targets_per_row`.

    Raises UserError for impossible contexts.
    """
    asked = tested_contexts(config, l_train)
    report = _Room(source, Split.REPORT, config, l_train)
    contexts, missing = report.split_contexts(asked)
    left_out = []
    if missing:
        named = ", ".join(f"{context:,}" for context in missing)
        left_out.append(report.unscored(f"contexts of {named} tokens", missing))
    selection_room = _Room(source, Split.SELECTION, config, l_train)
    selection, short = selection_room.split_contexts((l_train, 2 * l_train))
    changes: dict[str, object] = {}
    if short:
        what = "scores during training" + " beyond the training length" * bool(selection)
        left_out.append(selection_room.unscored(what, short))
        if config.during:
            left_out.append(Unscored("eval.during", "it needs those"))
        changes |= {"during": (), "multipliers": config.multipliers[:1]}
    if not contexts or contexts[-1] <= l_train:
        for name in ("methods", "scorers", "tasks"):
            if getattr(config, name):
                why = "there is no context beyond the training length to score at"
                left_out.append(Unscored(f"eval.{name}", why))
        changes |= {"methods": (), "scorer_methods": (), "scorers": (), "tasks": ()}
    reduced = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    return Scorable(reduced, contexts, selection, tuple(left_out))


def room(config: EvalConfig, context: int, l_train: int) -> int:
    """Tokens before the last target that a document must have for a block scored at a context."""
    return context + config.targets_per_block - targets_per_row(config, context, l_train)


class _Room:
    """The documents of one split by what fits into them."""

    def __init__(self, source: DocumentSource, split: Split, config: EvalConfig, l_train: int):
        self._source, self._split, self._config, self._l_train = source, split, config, l_train
        self._ids = source.documents(split)
        tokens = source.document_offsets[self._ids + 1] - source.document_offsets[self._ids]
        clusters, index = np.unique(source.document_clusters[self._ids], return_inverse=True)
        self._longest = np.zeros(len(clusters), np.int64)  # tokens, of each cluster
        np.maximum.at(self._longest, index, tokens)

    def _count(self, context: int) -> int:
        """Independent documents that a block at `context` fits into."""
        needed = room(self._config, context, self._l_train) + 1
        return int((self._longest >= needed).sum())

    def split_contexts(self, contexts: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Contexts that enough documents have room for, and the others."""
        enough = self._config.min_documents
        fitting = tuple(c for c in contexts if self._count(c) >= enough)
        return fitting, contexts[len(fitting) :]

    def unscored(self, what: str, contexts: tuple[int, ...]) -> Unscored:
        """Why `contexts` can't be scored on this split."""
        name, count = self._split.name.lower(), self._count(contexts[0])
        if not len(self._ids):
            why = f"the {name} split is empty"
            if len(np.unique(self._source.document_clusters)) >= len(Split):  # enough to fill it
                return Unscored(what, why, {f"data.{name}_share": 0.08})
            return Unscored(what, f"{why}: {self._corpus()}", self._parts(contexts))
        needed = room(self._config, contexts[0], self._l_train) + 1
        why = (
            f"the {name} split has {count} independent documents of at least {needed:,} tokens, "
            f"and eval.min_documents is {self._config.min_documents}"
        )
        advice = {"eval.min_documents": count} if count > 1 else self._parts(contexts)
        return Unscored(what, why, advice)

    def _parts(self, contexts: tuple[int, ...]) -> dict[str, object]:
        """Advice to cut documents into parts, long enough for as many of the contexts as there
        would still be enough parts for; {}: no document is long enough."""
        sizes, tokens = self._source.document_bytes, int(self._source.document_offsets[-1])
        total = int(sizes.sum())
        for context in reversed(contexts):
            needed = room(self._config, context, self._l_train) + 1
            length = max(total // _PARTS, math.ceil(1.5 * needed * total / tokens))
            if length * _PARTS <= 2 * total or context == contexts[0]:
                break
        return {"data.part_length": length} if 2 * length < sizes.max(initial=0) else {}

    def _corpus(self) -> str:
        documents = len(self._source.document_bytes)
        if documents == 1:
            return "the corpus is one document"
        different = len(np.unique(self._source.document_clusters))
        return f"of {documents:,} documents {different} differ (near-duplicates count once)"
