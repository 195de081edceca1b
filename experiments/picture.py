"""The figure of an experiment: accuracy against length, with intervals over seeds.

Letters: S seeds, K tested lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import t as student

from lengthwise.eval.report.style import (
    Theme,
    finish_axes,
    legend,
    method_style,
    new_figure,
)
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.experiments.definition import ExperimentDefinition
from lengthwise.experiments.results import ExperimentResults
from lengthwise.experiments.statistics.verdict import ALPHA
from lengthwise.experiments.trial_results import TrialResult


def over_seeds(runs: Sequence[TrialResult]) -> list[Estimate]:
    """[K] exact match: mean with Student's interval over seeds, clipped to [0, 1].

    With one seed the interval is the value itself.
    """
    share_SK = np.array([np.divide(run.right, run.samples) for run in runs])
    mean_K = share_SK.mean(axis=0)
    half_K = np.zeros_like(mean_K)
    if len(runs) > 1:
        error_K = share_SK.std(axis=0, ddof=1) / math.sqrt(len(runs))
        half_K = student.ppf(1 - ALPHA / 2, len(runs) - 1) * error_K
    return [
        Estimate(float(value), float(max(0.0, value - half)), float(min(1.0, value + half)))
        for value, half in zip(mean_K, half_K, strict=True)
    ]


def draw(experiment: ExperimentDefinition, results: ExperimentResults, theme: Theme) -> Figure:
    """One line an arm; the trained lengths are shaded."""
    figure, (axes,) = new_figure(narrow=False, panels=1, height=3.6)
    for number, arm in enumerate(experiment.arms_at(results.scale)):
        runs = results.of(arm.name)
        estimates = over_seeds(runs)
        color, marker = method_style(arm.name, experiment.arm_names, theme)
        lengths = runs[0].lengths
        axes.plot(
            lengths,
            [each.value for each in estimates],
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1.6,
            label=arm.label,
            zorder=3 + number,
        )
        axes.fill_between(
            lengths,
            [each.low for each in estimates],
            [each.high for each in estimates],
            color=color,
            alpha=0.15,
            linewidth=0,
            zorder=2,
        )
    low, high = results.runs[0].trained
    axes.axvspan(low, high, color=theme.muted, alpha=0.12, linewidth=0, zorder=0)
    axes.annotate(
        "trained lengths",
        (high, 0.03),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        color=theme.muted,
    )
    axes.set_ylim(-0.03, 1.03)
    finish_axes(
        axes,
        theme,
        title=experiment.question,
        x="length",
        y=f"exact match, mean of {results.seeds} seed{'s' * (results.seeds > 1)}",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes, theme, narrow=False)
    return figure
