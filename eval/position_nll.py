"""NLL by position: one teacher-forced pass over the opening of each document.

Bins are powers of two of the number of preceding tokens n: {1}, {2}, (2, 4], (4, 8], ..., so
that a sequence of length L_train = 2^k is exactly the bins up to (L_train/2, L_train], and a bin
lies either wholly within the trained positions or wholly beyond them. The last bin ends at the
length of the pass. Content changes with position too, so this picture shows *where* a model
breaks; how much longer context helps is what same-target scores say (eval/context_gain.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from eval.config import EvalConfig
from eval.results import POSITION_NLL, ResultRow, RunIdentity, result_row
from eval.scorer import Method, Scorer, score
from eval.statistics import ClusterBootstrap
from eval.targets import Targets


def position_bins(length: int) -> list[tuple[int, int]]:
    """(fewest, most) preceding tokens of each bin, covering 1..length without gaps."""
    bins = [(1, 1)]
    while bins[-1][1] < length:
        most = bins[-1][1]
        bins.append((most + 1, min(2 * most, length)))
    return bins


def position_rows(
    methods: Sequence[Method],
    targets: Targets,
    *,
    identity: RunIdentity,
    config: EvalConfig,
    role: str,
) -> list[ResultRow]:
    """NLL by position of each method over the first targets.longest_context + 1 tokens.

    A scaling factor that depends on the length is the one for the whole pass, at every position:
    `pass_length` and `factor` in the rows say so.
    """
    length = targets.longest_context
    bins = position_bins(length)
    bootstrap = ClusterBootstrap(
        targets.clusters_N,
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        seed=config.seed,
    )
    documents = len(targets.documents_N)
    plan: dict[int, tuple[Scorer, list[Method]]] = {}
    for method in methods:
        scorer = method.scorer_at(length)
        plan.setdefault(id(scorer), (scorer, []))[1].append(method)

    rows = []
    description = f"scoring {targets.split.name.lower()} positions"
    total = len(plan) * documents * length
    with tqdm(total=total, unit="tok", unit_scale=True, desc=description) as progress:
        for scorer, users in plan.values():
            sums_NK = np.empty((documents, len(bins)))
            step = max(1, config.tokens_per_call // length)
            for first in range(0, documents, step):
                some = slice(first, first + step)
                tokens = targets.openings(some, length)
                # Column j is the target with j + 1 preceding tokens: a bin starts at fewest - 1.
                edges = [fewest - 1 for fewest, _ in bins]
                sums_NK[some] = np.add.reduceat(score(scorer, tokens), edges, axis=1)
                progress.update(len(tokens) * length)
            for method in users:
                for k, (fewest, most) in enumerate(bins):
                    counts_N = np.full(documents, most - fewest + 1)
                    rows.append(
                        result_row(
                            POSITION_NLL,
                            bootstrap.ratio(sums_NK[:, k], counts_N),
                            identity=identity,
                            method=method,
                            targets=targets,
                            config=config,
                            n_targets=int(counts_N.sum()),
                            context_from=fewest,
                            context=most,
                            pass_length=length,
                            role=role,
                        )
                    )
    return rows
