"""Wording of the card: table cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lengthwise.eval.card.card import Card, CardEntry
from lengthwise.eval.card.comparison import Comparison
from lengthwise.eval.card.judgement import Judgement
from lengthwise.eval.card.lengths import Crossing, CrossingPoint
from lengthwise.eval.card.shape import Drop
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.report.estimate_text import IntervalCell, decimals, number, ratio_text
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.run.data_wording import percent
from lengthwise.eval.report.style import token_count
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.curves import Group
from lengthwise.eval.statistics.reach import Reach

TITLES = {
    "same_target_nll": "Same targets, more context",
    "position_nll": "By position",
    "passkey": "Passkey",
}
GROUPS = {
    Group.LANGUAGE: "Language",
    Group.RETRIEVAL: "Retrieval",
    Group.SYNTHESIS: "Synthesis",
}


@dataclass(frozen=True)
class JudgementRow:
    """Row of the headline table: one primary curve."""

    title: str
    detail: str  # how it was run, or where it stands in dispersion and scope
    short: IntervalCell | None  # the score at L_train; None: not tested there
    long: IntervalCell  # at its longest length
    longest: str
    holds: str
    useful: str
    ratios: str  # of what holds: over the longest and over the 95th percentile of training lengths
    retention: str


def title(scorer: str) -> str:
    """A scorer's name for people."""
    text = TITLES.get(scorer, scorer.replace("_", " "))
    return text[:1].upper() + text[1:]


def score_cell(judgement: Judgement, estimate: Estimate) -> IntervalCell:
    """Accuracies in percent, losses with their digits."""
    if judgement.is_task:
        curve = judgement.curve
        # Student's tails don't know that a share ends at 0 and 1; cut there, they cover as much.
        least = 0.0 if curve.metric == "accuracy" else -math.inf
        inside = (max(estimate.low, least), min(estimate.high, curve.best or math.inf))
        return share_cell(Estimate(estimate.value, *inside))
    places = decimals(estimate.low, estimate.high)
    value, low, high = (number(x, places) for x in (estimate.value, estimate.low, estimate.high))
    return IntervalCell(value, f"[{low}, {high}]", "")


def share_cell(estimate: Estimate) -> IntervalCell:
    """A share as whole percents."""
    value, low, high = (number(100 * x, 0) for x in (estimate.value, estimate.low, estimate.high))
    return IntervalCell(f"{value} %", f"[{low}, {high}]", "")


def reach_text(reach: Reach) -> str:
    """ "512", "at least 4,096", "below 64"."""
    if reach.tokens is None:
        return f"below {token_count(reach.shortest)}"
    least = "at least " if reach.censored else ""
    return least + token_count(reach.tokens)


def ratio_of(reach: Reach, l_train: int, p95: int) -> str:
    """The reach over the longest training length and over the 95th percentile: "4x / 4.3x"."""
    if reach.tokens is None:
        return "below " + " / ".join(times(reach.shortest / n) for n in (l_train, p95))
    least = "\N{GREATER-THAN OR EQUAL TO} " if reach.censored else ""
    return least + " / ".join(times(reach.tokens / n) for n in (l_train, p95))


def times(ratio: float) -> str:
    """Three digits: 1/4x, 4x, 4.27x."""
    return ratio_text(float(f"{ratio:.3g}"))


def crossing_text(crossing: Crossing, lengths: Sequence[int]) -> str:
    """ "310 [256, 402]", with "<64" and ">4,096" where the fit crosses at no tested length."""
    outside = {"below": f"<{token_count(lengths[0])}", "above": f">{token_count(lengths[-1])}"}

    def text(point: CrossingPoint) -> str:
        return outside[point.censored] if point.tokens is None else token_count(round(point.tokens))

    value, low, high = (text(point) for point in (crossing.value, crossing.low, crossing.high))
    return value if low == high == value else f"{value} [{low}, {high}]"


def headline_rows(entry: CardEntry) -> dict[str, list[JudgementRow]]:
    """Rows by group, in the order of the curves. Of losses that can't be useful, only the plain
    model's: other methods stand in the table of details."""
    rows: dict[str, list[JudgementRow]] = {name: [] for name in GROUPS.values()}
    for each in entry.judgements:
        if each.curve.method == PLAIN or each.useful is not None:
            rows[GROUPS[each.curve.group]].append(_headline_row(entry, each))
    return {name: some for name, some in rows.items() if some}


def _headline_row(entry: CardEntry, each: Judgement) -> JudgementRow:
    curve, l_train = each.curve, entry.l_train
    at = curve.lengths.index(l_train) if l_train in curve.lengths else None
    difficulty = f"{curve.dispersion} dispersion, {curve.scope} scope" if curve.scope else ""
    retention = each.areas.retention if each.areas else None
    return JudgementRow(
        title=title(curve.scorer),
        detail=difficulty if each.is_task and curve.method == PLAIN else method_title(curve.method),
        short=None if at is None else score_cell(each, each.scores[at]),
        long=score_cell(each, each.scores[-1]),
        longest=token_count(curve.lengths[-1]),
        holds=reach_text(each.holds),
        useful="" if each.useful is None else reach_text(each.useful),
        ratios=ratio_of(each.holds, l_train, entry.contestant.first.length_p95),
        retention="" if retention is None else share_cell(retention).value,
    )


def left_out(card: Card) -> list[str]:
    """What the first entry and its comparisons lack, and why."""
    entry = card.first
    missing = [*entry.contestant.first.scored.left_out, *entry.left_out, *card.left_out]
    for each in entry.judgements:
        if each.areas and each.areas.retention is None:
            subject = f"retention of {title(each.curve.scorer)} ({each.curve.method})"
            missing.append(f"{subject}: {each.areas.why_no_retention}")
    return missing


def drops_text(drops: Sequence[Drop]) -> str:
    """ "128 to 512": drops that follow on each other as one stretch."""
    stretches: list[list[int]] = []
    for drop in drops:
        if stretches and drop.start <= stretches[-1][1]:
            stretches[-1][1] = drop.end
        else:
            stretches.append([drop.start, drop.end])
    return ", ".join(f"{token_count(start)} to {token_count(end)}" for start, end in stretches)


def compared_lengths(comparisons: Sequence[Comparison], l_train: int, most: int = 4) -> list[int]:
    """The lengths of the table of differences: L_train and those beyond it, thinned out."""
    lengths = sorted({n for c in comparisons for n in c.lengths if n >= l_train})
    every = max(1, -(-len(lengths) // most))
    return lengths[::-1][::every][::-1]


def difference_cells(comparison: Comparison, lengths: Sequence[int]) -> list[IntervalCell | None]:
    """The paired difference at each of these lengths, with its verdict; None: not tested."""
    pairs = zip(comparison.better, comparison.outcomes, strict=True)
    at = dict(zip(comparison.lengths, pairs, strict=True))
    return [_difference(comparison, *at[n]) if n in at else None for n in lengths]


def _difference(comparison: Comparison, better: Estimate, outcome: str) -> IntervalCell:
    scale, places = (100, 0) if comparison.unit == "accuracy" else (1, 0)
    if scale == 1 and (better.low, better.high) != (0, 0):
        places = decimals(better.low, better.high)
    value, low, high = (
        number(scale * x, places, signed=True) for x in (better.value, better.low, better.high)
    )
    return IntervalCell(value, f"[{low}, {high}]", outcome)


def cost_rows(entry: CardEntry) -> list[tuple[str, str, str]]:
    """(what, seconds, share of the run): the run's parts, then each scorer."""
    seconds = entry.contestant.first.seconds
    total = sum(seconds.values())
    parts = list(seconds.items())
    by_scorer: dict[str, float] = {}
    for curve in entry.contestant.first.scored.curves:
        by_scorer[curve.scorer] = by_scorer.get(curve.scorer, 0.0) + curve.seconds
    rows = [(what[:1].upper() + what[1:], spent) for what, spent in parts]
    rows += [(title(scorer), spent) for scorer, spent in by_scorer.items()]
    return [(what, f"{spent:,.1f}", percent(spent / total)) for what, spent in rows]
