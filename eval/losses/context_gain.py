"""Same-target context gain: the primary number.

Every (method, context) sees identical targets, so differences between them are free of what
makes deep positions easier or harder than openings, and are estimated in pairs: the nats of a
document under one are subtracted from its nats under the other before resampling documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.progress import ProgressBar
from lengthwise.eval.config import EvalConfig, targets_per_row
from lengthwise.eval.inference.scorer import (
    Method,
    NonFiniteScores,
    Scorer,
    batched_scores,
    score,
    token_bar,
)
from lengthwise.eval.losses.results import GAIN, SAME_TARGET_NLL, ResultRow, RunIdentity, target_row
from lengthwise.eval.losses.targets import Targets
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap, resampling
from lengthwise.eval.statistics.curves import Curve
from lengthwise.eval.statistics.verdicts import verdict


@dataclass(frozen=True)
class TargetNats:
    """nats[method name, context]: float64 [R, T], the same blocks and targets for every key."""

    targets: Targets
    nats: Mapping[tuple[str, int], np.ndarray]

    def of(self, documents: np.ndarray) -> TargetNats:
        """Subset that lies in `documents`, int64 ids."""
        blocks_R = self.targets.in_documents(documents)
        return TargetNats(
            self.targets.of(documents), {key: nats[blocks_R] for key, nats in self.nats.items()}
        )

    def beside(self, other: TargetNats) -> TargetNats:
        """These and those of `other`, of the same targets."""
        return TargetNats(self.targets, {**other.nats, **self.nats})

    def per_document(self, method: str, context: int) -> np.ndarray:
        """[N] summed nats of each document's targets."""
        sums_R = self.nats[method, context].sum(axis=1)
        return np.bincount(
            self.targets.block_document_R, sums_R, minlength=len(self.targets.documents_N)
        )

    @property
    def counts_N(self) -> np.ndarray:
        """Targets per document."""
        blocks_N = np.bincount(self.targets.block_document_R)
        return blocks_N * self.targets.targets_per_block


def score_targets(
    methods: Sequence[Method],
    contexts: Sequence[int],
    targets: Targets,
    l_train: int,
    config: EvalConfig,
) -> TargetNats:
    """Scores every method at every context (in tokens, at most targets.longest_context).

    Where methods return the same scorer object for a context, it runs once. A context longer
    than the targets have room for is a ValueError, and NonFiniteScores names the methods.
    """
    block = targets.targets_per_block
    plan: dict[tuple[int, int], tuple[Scorer, int, list[str]]] = {}
    total = 0
    for context in contexts:
        ends = targets.row_ends(targets_per_row(config, context, l_train))
        if context + block - targets_per_row(config, context, l_train) > targets.longest_context:
            raise ValueError(f"{context} tokens of context: room for {targets.longest_context}")
        for method in methods:
            scorer: Scorer = method.scorer_at(context)
            if (id(scorer), context) not in plan:
                plan[id(scorer), context] = (scorer, context, [])
                total += len(ends) * context
            plan[id(scorer), context][2].append(method.name)

    nats: dict[tuple[str, int], np.ndarray] = {}
    description = f"scoring {targets.split.name.lower()} targets"
    with token_bar(total, description) as progress:
        for scorer, context, names in plan.values():
            progress.set_postfix_str(f"context {context}")
            per_row = targets_per_row(config, context, l_train)
            try:
                scored = _block_nats(scorer, targets, context, per_row, config, progress)
            except FloatingPointError as error:
                raise NonFiniteScores(names, context, error) from error
            for name in names:
                nats[name, context] = scored
    return TargetNats(targets, nats)


def _block_nats(
    scorer: Scorer,
    targets: Targets,
    context: int,
    per_row: int,
    config: EvalConfig,
    progress: ProgressBar,
) -> np.ndarray:
    """[R, T] nats of all targets, scored in rows of `per_row` targets each."""
    ends = targets.row_ends(per_row)

    def last(some: slice) -> np.ndarray:
        rows = targets.rows(ends[some], context)
        return score(scorer, rows, last=per_row, first_row=some.start)

    scored = batched_scores(last, len(ends), context, config.tokens_per_call, progress)
    return scored.reshape(-1, targets.targets_per_block)


def same_target_rows(
    scored: TargetNats,
    methods: Sequence[Method],
    contexts: Sequence[int],
    *,
    truncation: str,
    identity: RunIdentity,
    config: EvalConfig,
    role: str,
    domain: str = "",
) -> list[ResultRow]:
    """NLL and gain over truncation for every method and context.

    truncation: name of the plain method. The gain is NLL(truncation, l_train) - NLL(method,
    context), so positive means that the longer context helps; contexts beyond l_train carry a
    verdict. Where l_train is not among the contexts there are no gains.
    """
    targets = scored.targets
    bootstrap = ClusterBootstrap(
        targets.clusters_N,
        **resampling(config),
    )
    has_gain = identity.l_train in contexts
    truncated_N = scored.per_document(truncation, identity.l_train) if has_gain else 0
    counts_N = scored.counts_N
    rows = []
    for method in methods:
        for context in contexts:
            nats_N = scored.per_document(method.name, context)
            gain = bootstrap.ratio(truncated_N - nats_N, counts_N)
            for metric, estimate, outcome in (
                (SAME_TARGET_NLL, bootstrap.ratio(nats_N, counts_N), None),
                (GAIN, gain, verdict(gain).value if context > identity.l_train else None),
            ):
                if metric == GAIN and not has_gain:
                    continue
                rows.append(
                    target_row(
                        metric,
                        estimate,
                        identity=identity,
                        method=method,
                        targets=targets,
                        config=config,
                        n_targets=int(counts_N.sum()),
                        context_from=context
                        - targets_per_row(config, context, identity.l_train)
                        + 1,
                        context=context,
                        pass_length=context,
                        role=role,
                        verdict=outcome,
                        domain=domain,
                    )
                )
    return rows


def same_target_curves(
    scored: TargetNats, methods: Sequence[Method], contexts: Sequence[int], seconds: float
) -> list[Curve]:
    """NLL of the same targets against context, a curve a method. seconds: of all, in equal shares
    over them."""
    counts_NK = np.repeat(scored.counts_N[:, None], len(contexts), axis=1).astype(np.float64)
    return [
        Curve.of_loss(
            scorer=SAME_TARGET_NLL,
            method=method.name,
            lengths=tuple(contexts),
            sums_NK=np.stack([scored.per_document(method.name, c) for c in contexts], axis=1),
            counts_NK=counts_NK,
            clusters_N=scored.targets.clusters_N,
            population=scored.targets.fingerprint,
            same_targets=True,
            seconds=seconds / len(methods),
        )
        for method in methods
    ]


def choose_multiplier(
    candidates: Mapping[float, Method], scored: TargetNats, context: int
) -> float:
    """The multiplier m (factor = m * context / L_train) with the lowest NLL at `context`.

    candidates: multiplier -> its method, each with a name of its own and in `scored`, which must
    come from the selection split. Ties go to the smaller multiplier.
    """
    totals = {m: float(scored.nats[method.name, context].sum()) for m, method in candidates.items()}
    return min(totals, key=lambda m: (totals[m], m))
