"""Loss of whole short documents, which same-target losses leave out.

Documents with room for the longest tested context are long ones. A method that trains on long rows
alone may pay for it where a document ends early; so every token but the first of documents of at
most `longest` tokens is scored, from the document's beginning. Rows are filled up behind the
document, where a causal model doesn't look.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.eval.inference.scorer import Method, Scorer, batched_scores, score
from lengthwise.eval.losses.targets import seeded_choice
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import Curve, ScorerResult, population

_FEWEST = 2  # tokens: one input and its target


@SCORERS.register("short_documents")
@dataclass
class ShortDocuments(BenchScorer):
    """Scorer of documents that are shorter than a row. Raises UserError: too few of them."""

    longest: int = setting(0, "[0, inf)")  # tokens of a document, at most; 0: the training length

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self._length = self.longest or bench.l_train
        source, config = bench.source, bench.config
        ids = source.documents(bench.split)
        tokens = source.document_offsets[ids + 1] - source.document_offsets[ids]
        ids = ids[(tokens >= _FEWEST) & (tokens <= self._length)]
        clusters = len(np.unique(source.document_clusters[ids]))
        if clusters < config.min_documents:
            raise UserError(
                f"the {bench.split.name.lower()} split has {clusters} independent documents of "
                f"{_FEWEST} to {self._length} tokens, but eval.min_documents is "
                f"{config.min_documents}; raise eval.{self.name}.longest, or leave "
                f"{self.name!r} out"
            )
        self._ids = seeded_choice(source, bench.split, ids, config.documents, config.seed)
        starts = source.document_offsets[self._ids]
        self._tokens_N = source.document_offsets[self._ids + 1] - starts
        self._rows_NL = np.full((len(self._ids), self._length + 1), bench.pad, np.int64)
        for row, start, size in zip(self._rows_NL, starts, self._tokens_N, strict=True):
            row[:size] = source.read(int(start), int(size))

    @property
    def rows(self) -> tuple[int, ...]:
        return (self._length,)

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        sums = functools.cache(self._sums)  # methods share scorers
        return ScorerResult(tuple(self._curve(method, sums) for method in methods))

    def _sums(self, scorer: Scorer) -> np.ndarray:
        """[N] nats of each document."""
        # Column j of the scores is the target in column j + 1.
        inside_NL = np.arange(1, self._length + 1) < self._tokens_N[:, None]

        def sums(some: slice) -> np.ndarray:
            nats = score(scorer, self._rows_NL[some], first_row=some.start)
            return (nats * inside_NL[some]).sum(axis=1)

        at_a_time = self.bench.config.tokens_per_call
        return batched_scores(sums, len(self._ids), self._length, at_a_time)

    def _curve(self, method: Method, sums: Callable[[Scorer], np.ndarray]) -> Curve:
        begin = time.perf_counter()
        sums_N = sums(method.scorer_at(self._length))
        return Curve.of_loss(
            scorer=self.name,
            method=method.name,
            lengths=(self._length,),
            sums_NK=sums_N[:, None],
            counts_NK=(self._tokens_N - 1)[:, None].astype(np.float64),
            clusters_N=self.bench.source.document_clusters[self._ids],
            population=population(self.name, self.bench.fingerprint, self._ids, self._length),
            seconds=time.perf_counter() - begin,
        )
