"""The picture of a question: loss by context of each arm, and what each differs by from one arm.

Letters: S seeds, K contexts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.report.style import (
    Theme,
    finish_axes,
    interval_line,
    legend,
    log2_axis,
    mark_l_train,
    method_style,
    new_figure,
)
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.experiments.statistics.verdict import ALPHA
from lengthwise.experiments.text.row import Row
from lengthwise.experiments.text.verdicts import QuestionResults


def contexts_of(row: Row) -> list[int]:
    """Contexts that the plain model was scored at, tokens, ascending."""
    return sorted(map(int, row.scored.nll[PLAIN]))


def losses_SK(rows: Sequence[Row], contexts: Sequence[int]) -> np.ndarray:
    """Same-target NLL of the plain model, nats/token, float64 [S, K]."""
    return np.array([[row.at_context(context) for context in contexts] for row in rows])


def means(values_SK: np.ndarray) -> list[Estimate]:
    """[K] means over seeds with Student's interval, for two seeds or more."""
    seeds = len(values_SK)
    half_K = values_SK.std(axis=0, ddof=1) / math.sqrt(seeds)
    half_K = half_K * student.ppf(1 - ALPHA / 2, seeds - 1)
    return [
        Estimate(float(value), float(value - half), float(value + half))
        for value, half in zip(values_SK.mean(axis=0), half_K, strict=True)
    ]


def draw(results: QuestionResults, theme: Theme, *, narrow: bool = False) -> Figure:
    """Losses on the left; on the right those less the losses of the main claim's worse arm, paired
    by seed, in which seeds of both arms have their common luck taken away."""
    rival = results.question.claims[0].worse
    figure, (left, right) = new_figure(narrow=narrow, panels=2, height=3.6)
    names = list(results.rows)
    contexts = contexts_of(results.rows[rival][0])
    of_rival_SK = losses_SK(results.rows[rival], contexts)
    for number, name in enumerate(names):
        color, marker = method_style(name, names, theme)
        found_SK = losses_SK(results.rows[name], contexts)
        style = {"color": color, "marker": marker, "label": results.grid.label(name)}
        interval_line(left, contexts, means(found_SK), above=3 + number, **style)
        if name != rival:
            differences = means(found_SK - of_rival_SK)
            interval_line(right, contexts, differences, above=3 + number, **style)
    right.axhline(0, color=theme.ink, linewidth=1.1)
    seeds = f"mean of {results.question.seeds} seeds"
    rival_label = results.grid.label(rival)
    for axes, title, y, label_at in (
        (left, "Loss of the same targets", f"NLL, nats/token, {seeds}", "top"),
        (right, f"Difference to {rival_label}", "nats/token; below 0 is better", "bottom"),
    ):
        log2_axis(axes, contexts, narrow)
        finish_axes(axes, theme, title=title, x="context, tokens", y=y)
        mark_l_train(axes, results.grid.length, theme, label_at=label_at)
    legend(figure, left, theme, narrow)
    return figure
