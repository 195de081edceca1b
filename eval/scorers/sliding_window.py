"""Sliding-window perplexity of whole documents, each token counted once and alike.

A window of W inputs moves by its stride S; each scores the targets that none before it has, so that
every target but those of the first window has W - S + 1 to W preceding tokens. The last window ends
with the document and overlaps as much as it must. The mean is over tokens, not over windows: means
of windows weigh the few targets of a last one as much as all of a full one.

Beside each window stand truncation to L_train (the window of that length) and no context: the token
behind the start of a text alone, where training had that as an input.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.common.settings import setting
from lengthwise.eval.inference.scorer import Method, Scorer, batched_scores, score
from lengthwise.eval.inference.start_token import UNTRAINED
from lengthwise.eval.prompts.prompt import Control
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import (
    PLAIN_CONTROL,
    Curve,
    ScorerResult,
    population,
)

_DOCUMENT = 2  # of a document at most so many times the longest window


def windows(targets: int, window: int, stride: int) -> list[tuple[int, int]]:
    """(start, first scored target) of every window over a text of `targets` targets, in tokens.

    Target t is predicted from inputs up to t - 1; a window at s predicts s + 1 ... s + window.
    """
    spans = [(0, 1)]
    reached = min(window, targets)  # last target that is scored
    while reached < targets:
        first = reached + 1
        reached = min(reached + stride, targets)
        spans.append((reached - window, first))
    return spans


@SCORERS.register("sliding_window")
@dataclass
class SlidingWindow(BenchScorer):
    """Scorer of documents in windows of the tested lengths. Raises UserError: too few documents, or
    a stride that is no whole number of tokens."""

    stride_share: float = setting(0.5, "(0, 1]")  # stride / window

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.lengths = bench.lengths
        share = self.stride_share
        for window in self.lengths:
            if window * share != int(window * share) or not 1 <= window * share <= window:
                raise UserError(
                    f"eval.{self.name}.stride_share={share} of a window of {window} tokens is "
                    f"{window * share:g} tokens; choose a share in (0, 1] that gives whole numbers"
                )
        self._targets = bench.targets(self.lengths[-1])
        offsets = bench.source.document_offsets
        documents_N = self._targets.documents_N
        tokens_N = np.minimum(
            offsets[documents_N + 1] - offsets[documents_N], _DOCUMENT * self.lengths[-1] + 1
        )
        self._texts = [
            np.asarray(bench.source.read(int(start), int(tokens)), np.int64)
            for start, tokens in zip(self._targets.starts_N, tokens_N, strict=True)
        ]

    @property
    def rows(self) -> tuple[int, ...]:
        return (1, *self.lengths) if self.bench.start.trained else self.lengths

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        curves: list[Curve] = []
        # Methods share scorers.
        sums, alone = functools.cache(self._sums), functools.cache(self._without_context)
        trained = self.bench.start.trained
        total = len(methods) * len(self.lengths) * len(self._texts)
        with ProgressBar(total=total, desc="scoring sliding windows", unit="document") as progress:
            for method in methods:
                begin = time.perf_counter()
                by_window = []
                for window in self.lengths:
                    by_window.append(sums(method.scorer_at(window), window))
                    progress.update(len(self._texts))
                sums_NK = np.stack(by_window, axis=1)
                alone_N = alone(method.scorer_at(1)) if trained else None
                seconds = time.perf_counter() - begin
                curves += self._curves(method, sums_NK, alone_N, seconds)
        left_out = () if trained else (f"{self.name}, no_context: {UNTRAINED}",)
        return ScorerResult(tuple(curves), left_out=left_out)

    def _sums(self, scorer: Scorer, window: int) -> np.ndarray:
        """[N] nats of each document."""
        config = self.bench.config
        stride = int(window * self.stride_share)
        spans = [
            (number, start, first)
            for number, text in enumerate(self._texts)
            for start, first in windows(len(text) - 1, window, stride)
        ]

        def of_windows(some: slice) -> np.ndarray:
            tokens = np.full((len(spans[some]), window + 1), self.bench.pad, np.int64)
            for row, (number, start, _) in enumerate(spans[some]):
                text = self._texts[number][start : start + window + 1]
                tokens[row, : len(text)] = text
            nats = score(scorer, tokens, first_row=some.start)
            return np.array(
                [
                    # No padding counts: the last target of a text ends it.
                    row[first - start - 1 : len(self._texts[number]) - 1 - start].sum()
                    for row, (number, start, first) in zip(nats, spans[some], strict=True)
                ]
            )

        sums = batched_scores(of_windows, len(spans), window, config.tokens_per_call)
        return np.bincount([number for number, _, _ in spans], sums, len(self._texts))

    def _without_context(self, scorer: Scorer) -> np.ndarray:
        """[N] nats of each document's targets, each behind the start token alone."""
        targets = [text[1:] for text in self._texts]
        distinct = np.unique(np.concatenate(targets))
        pairs = np.stack([np.full_like(distinct, self.bench.start.id), distinct], axis=1)
        at_a_time = self.bench.config.tokens_per_call
        nats = batched_scores(
            lambda some: score(scorer, pairs[some], first_row=some.start)[:, 0],
            *(len(pairs), 1, at_a_time),
        )
        return np.array([nats[np.searchsorted(distinct, each)].sum() for each in targets])

    def _curves(
        self, method: Method, sums_NK: np.ndarray, alone_N: np.ndarray | None, seconds: float
    ) -> list[Curve]:
        truncated_N = sums_NK[:, self.lengths.index(self.bench.l_train)]
        places = len(self.lengths)
        shared: dict[str, Any] = {
            "scorer": self.name,
            "method": method.name,
            "lengths": self.lengths,
            "counts_NK": np.tile(
                np.array([len(text) - 1.0 for text in self._texts])[:, None], (1, places)
            ),
            "clusters_N": self._targets.clusters_N,
            "population": population(
                self.name, self.bench.fingerprint, self._targets.documents_N, self.lengths[-1]
            ),
            "same_targets": True,
        }
        by_control: list[tuple[str, np.ndarray, float]] = [
            (PLAIN_CONTROL, sums_NK, seconds),
            (Control.TRUNCATED, np.tile(truncated_N[:, None], (1, places)), 0.0),
        ]
        if alone_N is not None:
            by_control.append((Control.NO_CONTEXT, np.tile(alone_N[:, None], (1, places)), 0.0))
        return [
            Curve.of_loss(control=str(control), sums_NK=sums, seconds=spent, **shared)
            for control, sums, spent in by_control
        ]
