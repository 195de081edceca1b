"""Markdown tables of an experiment's results: claims, arms, and those of special designs."""

from __future__ import annotations

import math

import numpy as np

from lengthwise.eval.statistics.reach import reach
from lengthwise.experiments.definition import (
    BEYOND,
    CRITICAL,
    IN_RANGE,
    SAMPLES,
    Arm,
    ExperimentDefinition,
)
from lengthwise.experiments.measures import critical_complexity, doublings, gap, passes_gate
from lengthwise.experiments.results import ExperimentResults, means
from lengthwise.experiments.statistics.variance import (
    MAX_SEEDS,
    POWER,
    seeds_needed,
    shares,
    success,
)
from lengthwise.experiments.statistics.verdict import ALPHA, GATE, NOT_AT_THIS_SCALE
from lengthwise.experiments.trial_results import TrialResult

REACH_THRESHOLD = 0.85  # accuracy below which a length is out of reach; as eval.answers.threshold


def number(value: float) -> str:
    """Three decimals."""
    return f"{value:.3f}"


def _sized(value: float) -> str:
    """1.2e+15 as 1.2e15, for budgets."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def table(head: str, rows: list[list[str]]) -> str:
    """A Markdown table. head: column names, with " | " between."""
    lines = [head, " | ".join(["---"] * len(head.split(" | ")))]
    return "".join(f"| {line} |\n" for line in [*lines, *(" | ".join(row) for row in rows)])


def claim_table(experiment: ExperimentDefinition, results: ExperimentResults) -> str:
    """Effect, interval, p-values and verdict of each claim."""
    rows = []
    for claim, measurement, verdict in results.verdicts(experiment):
        low, high = measurement.effect.interval
        p_values = [f"{verdict.p_none:.2g}", f"{verdict.p_counts:.2g}"]
        interval = "none, one seed" if math.isinf(low) else f"{low:+.3f} to {high:+.3f}"
        rows.append(
            [
                claim.text(experiment.label),
                f"{measurement.effect.value:+.3f}",
                interval,
                number(claim.margin),
                *(["-", "-"] if verdict.verdict == NOT_AT_THIS_SCALE else p_values),
                number(min(measurement.gate_values)),
                f"**{verdict.verdict}**",
            ]
        )
    head = (
        f"claim | effect | interval, {1 - ALPHA:.0%} | smallest that counts | p of none | "
        "p of counting | gate | verdict"
    )
    return table(head, rows)


def arm_table(experiment: ExperimentDefinition, results: ExperimentResults) -> str:
    """Accuracy and budget of each arm."""
    rows = []
    for arm in experiment.arms_at(results.scale):
        runs = results.of(arm.name)
        cells = [arm.label]
        for where in (IN_RANGE, BEYOND):
            mean, least, most = means(runs, where)
            cells.append(f"{number(mean)} ({number(least)} to {number(most)})")
        cells += [
            _right_up_to(runs),
            arm.published,
            _sized(sum(run.targets for run in runs) / len(runs)),
            _sized(sum(run.flops for run in runs) / len(runs)),
            f"{sum(run.seconds for run in runs) / len(runs):.0f} s",
        ]
        rows.append(cells)
    head = (
        "arm | exact match in range | beyond | right up to | published | valid targets | FLOPs "
        "| wall time"
    )
    return table(head, rows)


def _right_up_to(runs: list[TrialResult]) -> str:
    """The length up to which an arm is at or above REACH_THRESHOLD, in words."""
    share_K = np.mean([np.divide(run.right, run.samples) for run in runs], axis=0)
    reached = reach(runs[0].lengths, [bool(share >= REACH_THRESHOLD) for share in share_K])
    if reached.tokens is None:
        return f"under {reached.shortest}"
    return f"{reached.tokens}, the longest" if reached.censored else str(reached.tokens)


def samples_table(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Samples that each arm needs, where claims are about that; else empty."""
    if not any(claim.where == SAMPLES for claim in results.claims):
        return []
    rows = []
    for arm in experiment.arms_at(results.scale):
        runs = results.of(arm.name)
        passed = [passes_gate(run) for run in runs]
        needed = [2 ** -doublings(run)[0] for run in runs]
        rows.append(
            [
                arm.label,
                f"{'' if all(passed) else 'at least '}{math.exp(np.mean(np.log(needed))):,.0f}",
                f"{min(needed):,.0f} to {max(needed):,.0f}{'' if all(passed) else ', or more'}",
                f"{sum(passed)} of {len(passed)}",
            ]
        )
    head = f"arm | samples to {GATE:.0%}, geometric mean | over seeds | seeds that got there"
    return [table(head, rows)]


def level_table(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Scylla's gap by level of complexity, where claims are about that; else empty."""
    groups = [claim for claim in results.claims if claim.where == CRITICAL]
    if not groups:
        return []
    rows = []
    for group in dict.fromkeys(side for each in groups for side in (each.better, each.worse)):
        ordered = sorted(experiment.arms_of(group), key=lambda arm: arm.level)
        runs = [results.of(arm.name) for arm in ordered]
        peaks = [
            critical_complexity(list(of_seed), [arm.level for arm in ordered])[0]
            for of_seed in zip(*runs, strict=True)
        ]
        rows += [_level(group, arm, results.of(arm.name)) for arm in ordered]
        rows[-1][-1] = ", ".join(f"{peak:.0f}" for peak in peaks)
    head = "group | level | gap | over seeds | critical complexity by seed"
    note = (
        "Generalization valley: the gap between accuracy in range and beyond, at each level of "
        "complexity; where it is largest is the critical complexity."
    )
    return [note, "", table(head, rows)]


def _level(group: str, arm: Arm, runs: list[TrialResult]) -> list[str]:
    gaps = [gap(run) for run in runs]
    over = f"{number(min(gaps))} to {number(max(gaps))}"
    return [group, f"{arm.level}: {arm.label}", number(float(np.mean(gaps))), over, ""]


def training_table(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Accuracy during training, where it is of lengths beyond the trained ones; else empty."""
    rows = []
    for arm in experiment.arms_at(results.scale):
        runs = [run for run in results.of(arm.name) if run.curve and run.selection is not None]
        if not runs or any(run.selection[0] <= run.trained[1] for run in runs if run.selection):
            return []
        ends = [(min(run.curve, key=lambda each: each.wrong), run.curve[-1]) for run in runs]
        rows.append(
            [
                arm.label,
                *(
                    text
                    for i in (0, 1)
                    for text in (
                        f"{np.mean([end[i].step for end in ends]):.0f}",
                        number(float(np.mean([end[i].exact for end in ends]))),
                        f"{np.mean([end[i].loss for end in ends]):.2g}",
                    )
                ),
                f"{sum(last.loss < best.loss for best, last in ends)} of {len(ends)}",
            ]
        )
    head = (
        "arm | best step | exact match there | training loss there | last step | exact match there "
        "| training loss there | loss fell on"
    )
    low, high = results.runs[0].selection or (0, 0)
    note = (
        f"Selection samples of lengths {low} to {high}, beyond the trained ones, along training; "
        "means over seeds; the best step has the fewest wrong tokens, and the last column says in "
        "how many runs the training loss fell from there to the last step. The best of many scores "
        "is so by chance too: what choosing it brings is the claim, on other lengths."
    )
    return [note, "", table(head, rows)]


def crossed_table(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Success rates and variance components, where seeds are crossed; else empty."""
    if (crossed := experiment.crossed) is None:
        return []
    rows = []
    for arm in experiment.arms_at(results.scale):
        values = [run.accuracy(BEYOND) for run in results.of(arm.name)]
        values_IJ = np.reshape(values, (-1, crossed.orders))
        count, share = success(values_IJ, crossed.success)
        parts = shares(values_IJ)
        rows.append(
            [
                arm.label,
                f"{count} of {len(values)}",
                f"{number(share.low)} to {number(share.high)}",
                number(float(np.std(values, ddof=1))),
                *(f"{part:.0%}" for part in (parts.initialization, parts.order, parts.both)),
            ]
        )
    head = (
        "arm | successes | share of them, 95% | standard deviation | of its square: "
        "initialization | order of the data | both together"
    )
    lines = [
        f"{results.seeds // crossed.orders} initializations, each with the same {crossed.orders} "
        f"orders of the data. A success is an exact match of {crossed.success} or more, mean over "
        "tested lengths beyond the trained ones. The picture takes all runs as independent.",
        "",
        table(head, rows),
    ]
    for claim in results.claims:
        better, worse = results.of(claim.better), results.of(claim.worse)
        pairs = list(zip(better, worse, strict=True))
        difference_N = np.array([b.accuracy(BEYOND) - w.accuracy(BEYOND) for b, w in pairs])
        floor = float(np.mean([b.variance(BEYOND) + w.variance(BEYOND) for b, w in pairs]))
        needed = seeds_needed(difference_N, claim.margin, floor)
        lines += [
            f"Seeds that the claim ({claim.text(experiment.label)}) needs to be reproduced in "
            f"{POWER:.0%} of repetitions, drawn from these runs: "
            f"{f'more than {MAX_SEEDS}' if needed is None else needed}.",
            "",
        ]
    return lines
