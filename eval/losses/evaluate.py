"""Loss evaluation of one checkpoint, and the short one during training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import (
    DocumentScorer,
    Method,
    NonFiniteScores,
    ScorerFactory,
)
from lengthwise.eval.losses.boundary_loss import boundary_rows
from lengthwise.eval.losses.context_gain import (
    TargetNats,
    choose_multiplier,
    same_target_curves,
    same_target_rows,
    score_targets,
)
from lengthwise.eval.losses.methods import (
    PLAIN,
    check_methods,
    chosen_methods,
    method,
    multipliers,
    plain_method,
    shuffled_control,
)
from lengthwise.eval.losses.position_nll import position_curves, position_rows, score_positions
from lengthwise.eval.losses.results import SAME_TARGET_NLL, ResultRow, Results, RunIdentity
from lengthwise.eval.losses.scorable import room, scorable
from lengthwise.eval.losses.targets import (
    DocumentSource,
    Targets,
    choose_by_domain,
    choose_targets,
    targets_in,
)


def evaluate(
    source: DocumentSource,
    make_scorer: ScorerFactory,
    identity: RunIdentity,
    config: EvalConfig,
    domains: Sequence[str],
    by_document: DocumentScorer | None,
    *,
    reads_positions: bool,
) -> Results:
    """Chooses scaling multipliers on the selection split, then scores the report split once.

    Methods: plain and each of config.methods at every tested context, plus NLL by position at the
    longest, plus the shuffled-position control at L_train. Multipliers are chosen by same-target
    NLL at 2 L_train. With several domains the same-target scores stand also
    for each of them that has enough documents.

    domains: names, in the order of source.document_domains.
    by_document: the same checkpoint under the document mask, where it was trained on rows that join
      documents: then the loss behind document boundaries is scored with and without that mask.
    reads_positions: whether permuted position ids change anything; the control needs that.

    A method whose scores are not finite is left out. Where those of the plain model are not,
    contexts from there on are, since nothing could be compared there.

    Raises UserError for impossible ratios or too few documents that are long enough, and
    NonFiniteScores where the plain model's are not finite at the shortest context beyond L_train.
    """
    left_out: list[str] = []
    while True:
        try:
            results = _evaluate(
                source,
                make_scorer,
                identity,
                config,
                domains,
                by_document,
                reads_positions=reads_positions,
            )
        except NonFiniteScores as error:
            config = _without(error, config, identity.l_train)
            left_out.append(str(error))
        else:
            return replace(results, left_out=(*left_out, *results.left_out))


def _without(error: NonFiniteScores, config: EvalConfig, l_train: int) -> EvalConfig:
    """The config without what had scores that are not finite. Raises `error`: nothing remains."""
    if PLAIN not in error.methods:
        wrong = {name.partition(" x")[0] for name in error.methods}  # "ntk x2" has a multiplier
        return replace(
            config,
            methods=tuple(name for name in config.methods if name not in wrong),
            scorer_methods=tuple(name for name in config.scorer_methods if name not in wrong),
        )
    shorter = replace(
        config,
        ratios=tuple(ratio for ratio in config.ratios if ratio * l_train < error.length),
        lengths=tuple(length for length in config.lengths if length < error.length),
    )
    beyond = any(r > 1 for r in shorter.ratios) or any(n > l_train for n in shorter.lengths)
    if not beyond or shorter == config:
        raise error
    return shorter


def _evaluate(
    source: DocumentSource,
    make_scorer: ScorerFactory,
    identity: RunIdentity,
    config: EvalConfig,
    domains: Sequence[str],
    by_document: DocumentScorer | None,
    *,
    reads_positions: bool,
) -> Results:
    """`evaluate`, all of it or NonFiniteScores."""
    l_train = identity.l_train
    reach = scorable(source, config, l_train)
    config, contexts = reach.config, reach.contexts
    if not contexts:
        raise UserError(str(reach.left_out[0]), advice=reach.left_out[0].advice)
    plain = plain_method(make_scorer)

    named = partial(method, l_train=identity.l_train, sinks=config.sinks, make_scorer=make_scorer)
    candidates = {
        name: {m: replace(named(name, m), name=f"{name} x{m:g}") for m in multipliers(name, config)}
        for name in config.methods
    }
    by_factor = {name: by_m for name, by_m in candidates.items() if len(by_m) > 1}
    everyone = [plain, *(m for by_m in by_factor.values() for m in by_m.values())]
    rows: list[ResultRow] = []
    chosen: dict[str, float] = {}
    if reach.selection:
        selection = _targets(source, Split.SELECTION, reach.selection, config, l_train)
        rows, scored = _selection_rows(selection, reach.selection, everyone, identity, config)
        chosen = {
            name: choose_multiplier(by_m, scored, 2 * l_train) for name, by_m in by_factor.items()
        }
    report = _targets(source, Split.REPORT, contexts, config, l_train)
    methods = chosen_methods(config.methods, chosen, config, identity.l_train, make_scorer)
    by_domain: dict[str, np.ndarray] = {}
    left_out: tuple[str, ...] = ()
    if len(domains) > 1:
        by_domain, left_out = choose_by_domain(report, domains, config)
    everyone_N = np.concatenate([report.documents_N, *by_domain.values()])
    wider = targets_in(source, Split.REPORT, everyone_N, report.longest_context, config)
    begin = time.perf_counter()
    tested = score_targets(methods, contexts, wider, identity.l_train, config)
    curves = same_target_curves(
        tested.of(report.documents_N), methods, contexts, time.perf_counter() - begin
    )
    for domain, documents in ({"": report.documents_N} | by_domain).items():
        rows += same_target_rows(
            tested.of(documents),
            methods,
            contexts,
            truncation=PLAIN,
            identity=identity,
            config=config,
            role="domain" if domain else "result",
            domain=domain,
        )
    if contexts[-1] > l_train:
        begin = time.perf_counter()
        by_position = score_positions(methods, report, config)
        curves += position_curves(by_position, methods, time.perf_counter() - begin)
        rows += position_rows(by_position, methods, identity=identity, config=config, role="result")
    if l_train not in contexts:
        left_out += (f"the control with shuffled positions: {l_train} tokens are not scored",)
    elif reads_positions:
        control = shuffled_control(make_scorer)
        at_l_train = [identity.l_train]
        try:
            shuffled = score_targets([control], at_l_train, report, identity.l_train, config)
            rows += same_target_rows(
                shuffled.beside(tested.of(report.documents_N)),
                [control],
                at_l_train,
                truncation=PLAIN,
                identity=identity,
                config=config,
                role="control",
            )
        except NonFiniteScores as error:
            left_out += (f"the control with shuffled positions: {error}",)
    else:
        left_out += (
            "the control with shuffled positions: "
            f"{identity.position_scheme} reads no position ids",
        )
    if by_document is not None and l_train in contexts:
        naive = plain.scorer_at(identity.l_train)
        try:
            behind, too_few = boundary_rows(source, naive, by_document, identity, config)
        except FloatingPointError as error:
            behind, too_few = [], (f"loss by distance from a document boundary: {error}",)
        rows += behind
        left_out += too_few
    return Results(tuple(rows), chosen, left_out, tuple(curves))


class SelectionProbe:
    """Same-target scores of the plain model at L_train and 2 L_train, for use during training; at
    L_train alone where the selection split reaches no further.

    Documents and targets are chosen once, on the selection split, so that scores of different
    steps are comparable; the one at 2 L_train is what stopping and the best checkpoint go by.
    """

    def __init__(self, source: DocumentSource, l_train: int, config: EvalConfig):
        """Raises UserError when too few selection documents hold l_train tokens, and for settings
        that `evaluate` would refuse at the end of training."""
        check_methods(config, l_train)
        reach = scorable(source, config, l_train)
        self.config, self.contexts = reach.config, reach.selection or (l_train,)
        self.targets = _targets(source, Split.SELECTION, self.contexts, config, l_train)

    def rows(self, make_scorer: ScorerFactory, identity: RunIdentity) -> list[ResultRow]:
        """Scores NLL and gain at l_train and 2 l_train, role "selection"."""
        plain = [plain_method(make_scorer)]
        return _selection_rows(self.targets, self.contexts, plain, identity, self.config)[0]

    @staticmethod
    def record(rows: list[ResultRow]) -> dict[str, float]:
        """Flattens rows for metrics.jsonl, in nats/token.

        score: NLL at 2 l_train, which stopping and the best checkpoint go by, lower is better;
        in_range_score: NLL at l_train, which is the score where there is no other; gain: the
        difference over truncation. Each with _low and _high, and the contexts in tokens.
        """
        named: dict[str, float] = {}
        for row in rows:
            beyond = row.context > row.l_train
            if row.metric == SAME_TARGET_NLL:
                name = "score" if beyond else "in_range_score"
                named[f"{name}_context"] = row.context
            elif beyond:
                name = "gain"
            else:
                continue
            named |= {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
        alone = {n.removeprefix("in_range_"): v for n, v in named.items() if "in_range_score" in n}
        return alone | named


def _targets(
    source: DocumentSource,
    split: Split,
    contexts: Sequence[int],
    config: EvalConfig,
    l_train: int,
) -> Targets:
    """The targets of a split for all of these contexts."""
    longest = max(room(config, context, l_train) for context in contexts)
    return choose_targets(source, split, longest, config)


def _selection_rows(
    targets: Targets,
    contexts: Sequence[int],
    methods: list[Method],
    identity: RunIdentity,
    config: EvalConfig,
) -> tuple[list[ResultRow], TargetNats]:
    scored = score_targets(methods, contexts, targets, identity.l_train, config)
    rows = same_target_rows(
        scored,
        methods,
        contexts,
        truncation=PLAIN,
        identity=identity,
        config=config,
        role="selection",
    )
    return rows, scored
