"""Forgetting curve: share of a text that a model can copy, against its distance.

After arXiv 2410.04727. The same text x, n tokens of a held-out document, is scored twice:

    copy    EOT x     EOT x EOT
    alone   EOT other EOT x EOT        other: as much text of another document

with the end-of-text token EOT between, or the token that documents begin with. Only the last half
of the second x counts: in the first half a model has yet to find out that it copies. The score is
the share of tokens that are the likeliest ones in the copy minus that share alone, so that what any
language model guesses counts for nothing. A tested length L is that of the row, 2 n + 2 inputs;
what is copied stands n + 1 tokens back, L / 2.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.eval.inference.scorer import Method, TargetScorer, batched_scores, score_greedy
from lengthwise.eval.inference.start_token import UNTRAINED
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import (
    PLAIN_CONTROL,
    Curve,
    Group,
    ScorerResult,
    population,
)

ALONE = "no_copy"  # the control: the same tokens behind other text
_SHORTEST = 8  # tokens of a row


@SCORERS.register("forgetting")
class ForgettingCurve(BenchScorer):
    """Scorer of copies of held-out text. Raises UserError: too few documents, too short lengths."""

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.lengths = tuple(length for length in bench.lengths if length >= _SHORTEST)
        if not self.lengths:
            raise UserError(
                f"eval.scorers: {self.name!r} needs a tested length of {_SHORTEST} tokens or more; "
                "raise eval.ratios"
            )
        # At all lengths the same documents, and the end of the same stretch of each.
        longest = copied(self.lengths[-1])
        self._targets = bench.targets(longest)
        first_R = np.unique(self._targets.block_document_R, return_index=True)[1]
        self._ends_N = self._targets.block_end_R[first_R]
        self._other_N = _other(self._targets.clusters_N)

    @property
    def rows(self) -> tuple[int, ...]:
        return self.lengths

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        curves: list[Curve] = []
        right_tokens = functools.cache(self._right)  # methods share scorers
        total = 2 * len(methods) * len(self.lengths)
        with ProgressBar(total=total, desc="scoring copies", unit="length") as progress:
            for method in methods:
                begin = time.perf_counter()
                right: dict[bool, list[np.ndarray]] = {True: [], False: []}
                for length in self.lengths:
                    for copies in (True, False):
                        right[copies].append(right_tokens(method.scorer_at(length), length, copies))
                        progress.update()
                copy_NK, alone_NK = (np.stack(right[c], axis=1) for c in (True, False))
                curves += self._curves(method, copy_NK, alone_NK, time.perf_counter() - begin)
        note = f"{self.name}: {UNTRAINED}, and stands before what is copied"
        return ScorerResult(tuple(curves), sentences=() if self.bench.start.trained else (note,))

    def _right(self, scorer: TargetScorer, length: int, copies: bool) -> np.ndarray:
        """Right tokens of the last half of each document's second x, [N]."""
        n, config = copied(length), self.bench.config
        x_NT = self._targets.rows(self._ends_N, n - 1)
        before_NT = x_NT if copies else x_NT[self._other_N]
        between_N1 = np.full((len(x_NT), 1), self.bench.start.id)
        # Rows of an odd length end in one token more.
        more = [between_N1] * (1 + length % 2)
        tokens = np.concatenate([between_N1, before_NT, between_N1, x_NT, *more], axis=1)
        # Column j of the scores is the target in column j + 1.
        scored = slice(n + 1 + n // 2, 2 * n + 1)

        def right(some: slice) -> np.ndarray:
            greedy = score_greedy(scorer, tokens[some], first_row=some.start)[1]
            return greedy[:, scored].sum(axis=1, dtype=np.float64)

        return batched_scores(right, len(tokens), length, config.tokens_per_call)

    def _curves(
        self, method: Method, copy_NK: np.ndarray, alone_NK: np.ndarray, seconds: float
    ) -> list[Curve]:
        halves = [copied(length) - copied(length) // 2 for length in self.lengths]
        counts_NK = np.tile(np.array(halves, np.float64), (len(copy_NK), 1))
        shared: dict[str, Any] = {
            "scorer": self.name,
            "group": Group.RETRIEVAL,
            "method": method.name,
            "lengths": self.lengths,
            "counts_NK": counts_NK,
            "clusters_N": self._targets.clusters_N.astype(np.int64),
            "population": population(
                self.name, self.bench.fingerprint, self._targets.documents_N, self._ends_N
            ),
            "dispersion": "low",
            "scope": "high",
        }
        # Who copies all has what is left by guessing alone.
        best = 1 - float(alone_NK.sum() / counts_NK.sum())
        chance_K = np.zeros(len(self.lengths))
        return [
            Curve.of_share(
                metric="copy_minus_alone",
                sums_NK=copy_NK - alone_NK,
                chance_K=chance_K,
                best=best,
                seconds=seconds,
                **shared,
            ),
            *(
                Curve.of_share(
                    metric="token_accuracy", control=control, primary=False, sums_NK=sums, **shared
                )
                for control, sums in ((PLAIN_CONTROL, copy_NK), (ALONE, alone_NK))
            ),
        ]


def copied(length: int) -> int:
    """n, the tokens of x in a row of `length` inputs."""
    return (length - 2) // 2


def _other(clusters_N: np.ndarray) -> np.ndarray:
    """Number of another document for each, from another cluster, [N]."""
    order = np.argsort(clusters_N, kind="stable")
    ordered = clusters_N[order]
    # The first of the next cluster; behind the last one, the first of all.
    following = np.searchsorted(ordered, ordered, side="right") % len(ordered)
    other_N = np.empty(len(order), np.int64)
    other_N[order] = order[following]
    return other_N
