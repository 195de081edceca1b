"""NLL by position: one teacher-forced pass over the opening of each document.

Bins are powers of two of the number of preceding tokens n: {1}, {2}, (2, 4], (4, 8], ..., so
that a sequence of length L_train = 2^k is exactly the bins up to (L_train/2, L_train], and a bin
lies either wholly within the trained positions or wholly beyond them. The last bin ends at the
length of the pass. Content changes with position too, so this picture shows *where* a model
breaks; how much longer context helps is what same-target scores say (eval/losses/context_gain.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.progress import ProgressBar
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import (
    Method,
    NonFiniteScores,
    Scorer,
    batched_scores,
    score,
    token_bar,
)
from lengthwise.eval.losses.results import POSITION_NLL, ResultRow, RunIdentity, target_row
from lengthwise.eval.losses.targets import Targets
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap, resampling
from lengthwise.eval.statistics.curves import Curve


def position_bins(length: int) -> list[tuple[int, int]]:
    """(fewest, most) preceding tokens of each bin, covering 1..length without gaps."""
    bins = [(1, 1)]
    while bins[-1][1] < length:
        most = bins[-1][1]
        bins.append((most + 1, min(2 * most, length)))
    return bins


@dataclass(frozen=True)
class PositionNats:
    """sums[method name]: float64 [N, K], nats of each document in each bin of positions."""

    targets: Targets
    sums: Mapping[str, np.ndarray]

    @property
    def length(self) -> int:
        """Input tokens of the pass."""
        return self.targets.longest_context

    @property
    def bins(self) -> list[tuple[int, int]]:
        return position_bins(self.length)

    @property
    def counts_NK(self) -> np.ndarray:
        """Targets of each document in each bin."""
        sizes = [most - fewest + 1 for fewest, most in self.bins]
        return np.tile(np.array(sizes, np.float64), (len(self.targets.documents_N), 1))


def score_positions(
    methods: Sequence[Method], targets: Targets, config: EvalConfig
) -> PositionNats:
    """One pass of each method over the first targets.longest_context + 1 tokens of each document.

    A scaling factor that depends on the length is the one for the whole pass, at every position.
    Methods that return the same scorer object share their pass. NonFiniteScores names the methods.
    """
    length = targets.longest_context
    edges = [fewest - 1 for fewest, _ in position_bins(length)]
    documents = len(targets.documents_N)
    plan: dict[int, tuple[Scorer, list[str]]] = {}
    for method in methods:
        scorer: Scorer = method.scorer_at(length)
        plan.setdefault(id(scorer), (scorer, []))[1].append(method.name)

    sums: dict[str, np.ndarray] = {}
    description = f"scoring {targets.split.name.lower()} positions"
    total = len(plan) * documents * length
    with token_bar(total, description) as progress:
        for scorer, names in plan.values():
            try:
                sums_NK = binned_nats(scorer, targets, length, edges, config, progress)
            except FloatingPointError as error:
                raise NonFiniteScores(names, length, error) from error
            sums.update(dict.fromkeys(names, sums_NK))
    return PositionNats(targets, sums)


def binned_nats(
    scorer: Scorer,
    targets: Targets,
    length: int,
    edges: Sequence[int] | np.ndarray,
    config: EvalConfig,
    progress: ProgressBar,
) -> np.ndarray:
    """[N, K] summed nats of each document's opening of `length` inputs, in K bins of positions.

    edges: K, column of each bin's first target; column j has j + 1 preceding tokens.
    """

    def sums(some: slice) -> np.ndarray:
        nats = score(scorer, targets.openings(some, length), first_row=some.start)
        return np.add.reduceat(nats, edges, axis=1)

    documents = len(targets.documents_N)
    return batched_scores(sums, documents, length, config.tokens_per_call, progress)


def position_rows(
    scored: PositionNats,
    methods: Sequence[Method],
    *,
    identity: RunIdentity,
    config: EvalConfig,
    role: str,
) -> list[ResultRow]:
    """NLL by position of each method; `pass_length` and `factor` say how it was run."""
    targets, counts_NK = scored.targets, scored.counts_NK
    bootstrap = ClusterBootstrap(
        targets.clusters_N,
        **resampling(config),
    )
    return [
        target_row(
            POSITION_NLL,
            bootstrap.ratio(scored.sums[method.name][:, k], counts_NK[:, k]),
            identity=identity,
            method=method,
            targets=targets,
            config=config,
            n_targets=int(counts_NK[:, k].sum()),
            context_from=fewest,
            context=most,
            pass_length=scored.length,
            role=role,
        )
        for method in methods
        for k, (fewest, most) in enumerate(scored.bins)
    ]


def position_curves(scored: PositionNats, methods: Sequence[Method], seconds: float) -> list[Curve]:
    """NLL by position, a curve a method; its lengths are the ends of the bins. seconds: of all."""
    return [
        Curve.of_loss(
            scorer=POSITION_NLL,
            method=method.name,
            lengths=tuple(most for _, most in scored.bins),
            sums_NK=scored.sums[method.name],
            counts_NK=scored.counts_NK,
            clusters_N=scored.targets.clusters_N,
            population=scored.targets.fingerprint,
            seconds=seconds / len(methods),
        )
        for method in methods
    ]
