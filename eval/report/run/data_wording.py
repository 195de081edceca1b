"""Wording of the training data and of the scores by domain: sentences and table cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.eval.losses.results import GAIN, SAME_TARGET_NLL, ResultRow, Results
from lengthwise.eval.report.estimate_text import IntervalCell, cell
from lengthwise.eval.report.run.wording import useful_lengths
from lengthwise.eval.report.style import token_count


@dataclass(frozen=True)
class DomainRow:
    """A domain: its NLL at truncation, and the gain over it at each longer context."""

    domain: str
    clusters: int  # independent documents
    truncation: IntervalCell
    gains: list[IntervalCell]


def best_method(results: Results) -> str:
    """The method with the longest useful length; of several, the best at the longest context."""
    lengths = useful_lengths(results)
    longest = max(row.context for row in results.select(metric=GAIN, role="result"))

    def rank(name: str) -> tuple[int, float]:
        (row,) = results.select(metric=GAIN, role="result", method=name, context=longest)
        return lengths[name].tokens, row.value

    return max(lengths, key=rank)


def domain_table(results: Results, method: str) -> list[DomainRow]:
    """Domains in the order of the config, with the intervals of one method."""
    rows = []
    scored = results.select(role="domain", method=method)
    for domain in dict.fromkeys(row.domain for row in scored):
        mine = [row for row in scored if row.domain == domain]
        (at_l_train,) = (
            row for row in mine if row.metric == SAME_TARGET_NLL and row.context == row.l_train
        )
        gains = [row for row in mine if row.metric == GAIN and row.context > row.l_train]
        rows.append(
            DomainRow(domain, at_l_train.n_clusters, cell(at_l_train), [cell(g) for g in gains])
        )
    return rows


def exposure_sentence(exposure: Mapping[str, Any], l_train: int) -> str:
    """Sentence on the share of training at long contexts. exposure: `total` of exposure.json."""
    counts = np.array(exposure["targets"], np.float64)
    last = np.array(exposure["context"])
    if not counts.sum():
        return "No target was trained."
    half = l_train // 2
    share = counts[last > half].sum() / counts.sum()
    return (
        f"Of {int(counts.sum()):,} trained targets, {percent(share)} had more than "
        f"{token_count(half)} tokens of context, half the training length."
    )


def boundary_sentence(gap: ResultRow) -> str:
    """Naive minus masked over all targets behind a boundary."""
    shown = cell(gap)
    if gap.low > 0:
        finding = "other documents in the row hurt, naive minus masked is"
    elif gap.high < 0:
        finding = "other documents in the row help, naive minus masked is"
    else:
        finding = "no difference is detectable, naive minus masked is"
    return (
        f"Over all {gap.n_targets:,} targets behind a boundary ({gap.n_documents} documents), "
        f"{finding} {shown.value} {shown.interval} nats/token."
    )


def percent(share: float) -> str:
    """21.3 %, 0.03 %, 0 %: three significant digits."""
    return f"{100 * share:.3g} %"
