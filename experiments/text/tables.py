"""Markdown tables of a question: its plan, its claims, its arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.experiments.statistics.power import POWER
from lengthwise.experiments.statistics.verdict import ALPHA, NOT_AT_THIS_SCALE, Tested
from lengthwise.experiments.tables import table
from lengthwise.experiments.text.design import RunGrid
from lengthwise.experiments.text.measures import GAIN, SHORT, formed, nll
from lengthwise.experiments.text.plan import Plan, is_edge
from lengthwise.experiments.text.row import Row
from lengthwise.experiments.text.verdicts import QuestionResults

RATIOS = (0.25, 1.0, 1.5, 2.0, 4.0)  # contexts of the table of arms, times L


def plan_table(grid: RunGrid, plan: Plan) -> str:
    """Margins, deviations of the pilots and the seeds that they ask for; then the rates."""
    rows = [
        [
            claim.claim,
            f"{claim.margin:g} {claim.unit}",
            f"{claim.deviation:.3g}",
            "more than 100" if claim.seeds_needed is None else str(claim.seeds_needed),
            str(len(plan.seeds)),
        ]
        for claim in plan.claims
    ]
    head = "claim | smallest that counts | deviation of a seed's difference | seeds needed | seeds"
    rates = ", ".join(
        f"{family} {rate:g}{' (the edge of those tried)' * is_edge(grid, family, rate)}"
        for family, rate in plan.rates.items()
    )
    kind = "exploratory: seeds by the hours there are" if plan.exploratory else "primary"
    return (
        f"{table(head, rows)}\n{kind.capitalize()}. Seeds needed: so that an effect of twice the "
        f"margin is reproduced, and arms that are equal are equivalent, in {POWER:.0%} of "
        f"repetitions each. Learning rates: {rates}.\n"
    )


def results_section(results: QuestionResults) -> str:
    """All that the runs of a question gave."""
    shares = "\n".join(share_lines(results))
    parts = (claim_table(results), shares, arm_table(results))
    return "\n".join(part for part in parts if part)


def claim_table(results: QuestionResults) -> str:
    """Effect, interval, p-values and verdict of each claim; then losses at equal budgets."""
    rows, budgets = [], []
    for claim, measured, verdict in results.verdicts():
        label = claim.text(results.grid.label)
        gated = verdict.verdict == NOT_AT_THIS_SCALE
        p_values = (verdict.p_none, verdict.p_counts, verdict.p_equal)
        rows.append(
            [
                label,
                *_effect(measured.effect),
                f"{claim.margin:g} {claim.measure.unit}",
                *("-" if gated else f"{p:.2g}" for p in p_values),
                f"**{verdict.verdict}**" + f" ({measured.censored})" * bool(measured.censored),
            ]
        )
        if by_budget := results.by_budget(claim):
            effects = ["{} ({})".format(*_effect(each)) for each in by_budget.values()]
            budgets.append([label, *effects, claim.matched])
    head = (
        f"claim | effect | interval, {1 - ALPHA:.0%} | smallest that counts | p of none | "
        "p of counting | p of equality | verdict"
    )
    text = table(head, rows)
    if budgets:
        head = "loss at L, effect | at equal tokens | at equal FLOPs | at equal seconds | headline"
        text += (
            f"\n{table(head, budgets)}\nAt equal FLOPs and seconds the loss is that of the "
            "selection split along training, before the end of the schedule where an arm is cut.\n"
        )
    return text


def _effect(effect: Tested) -> tuple[str, str]:
    low, high = effect.interval
    interval = "none, one seed" if math.isinf(low) else f"{low:+.3f} to {high:+.3f}"
    return f"{effect.value:+.3f}", interval


def share_lines(results: QuestionResults) -> list[str]:
    """A sentence for each share of runs, with its interval."""
    lines = []
    for arm, measure in results.question.shares:
        hits, count, share = results.share(arm, measure)
        lines.append(
            f"{results.grid.label(arm)}: {measure.name} in {hits} of {count} runs "
            f"({share.value:.0%}, {share.low:.0%} to {share.high:.0%})."
        )
    return lines


def arm_table(results: QuestionResults) -> str:
    """Losses and budgets of each arm, means over seeds."""
    rows = []
    for name, runs in results.rows.items():
        stored = runs[0].scored.nll["plain"]
        losses = {
            ratio: -_mean(runs, nll(ratio).score)
            for ratio in RATIOS
            if f"{ratio * runs[0].length:g}" in stored
        }
        times = [formed(row) for row in runs]
        rows.append(
            [
                results.grid.label(name),
                *(f"{losses[ratio]:.3f}" if ratio in losses else "-" for ratio in RATIOS),
                f"{_mean(runs, GAIN.score):.3f}",
                "-" if runs[0].scored.short is None else f"{-_mean(runs, SHORT.score):.3f}",
                f"{sum(each.happened for each in times)} of {len(times)}",
                f"{_mean(runs, lambda row: row.budget('tokens')) / 1e6:.1f}M",
                f"{_mean(runs, lambda row: row.budget('flops')):.2e}",
                f"{_mean(runs, lambda row: row.budget('seconds')):.0f}",
                results.grid.arm(name).published,
            ]
        )
    columns = " | ".join(f"NLL at {ratio:g} L" for ratio in RATIOS)
    head = (
        f"arm | {columns} | gain L/4 to L | short documents | formed | tokens | FLOPs | seconds | "
        "published"
    )
    return table(head, rows)


def _mean(runs: Sequence[Row], value: Callable[[Row], float]) -> float:
    return float(np.mean([value(row) for row in runs]))
