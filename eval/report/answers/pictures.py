"""Pictures of a run on a task: right answers against length, and over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lengthwise.eval.answers.trainings import TrainingScores
from lengthwise.eval.report.style import (
    TEXT_POINTS,
    Theme,
    finish_axes,
    interval_line,
    legend,
    method_style,
    new_figure,
)


def draw_answers(
    scored: Sequence[TrainingScores], trained: tuple[int, int], theme: Theme, narrow: bool
) -> Figure:
    """Exact match and right tokens against length, a line a training, thin ones for its seeds."""
    figure, (left, right) = new_figure(narrow, 2, 3.4 if narrow else 4.0)
    names = [each.name for each in scored]
    for number, each in enumerate(scored):
        color, marker = method_style(each.name, names, theme)
        lengths = [score.length for score in each.answers.scores]
        if len(each.seeds) > 1:
            for shares in each.seeds:
                left.plot(lengths, shares, color=color, linewidth=0.7, alpha=0.6, zorder=2.5)
        for axes, estimates in (
            (left, [score.exact for score in each.answers.scores]),
            (right, [score.token for score in each.answers.scores]),
        ):
            interval_line(
                axes,
                lengths,
                estimates,
                color=color,
                marker=marker,
                label=each.name if len(scored) > 1 or len(each.seeds) > 1 else "this run",
                above=4 - number / 10,
            )
    first = scored[0].answers
    chance = [score.chance for score in first.scores]
    if max(chance) >= 0.01:
        lengths = [score.length for score in first.scores]
        label = "best constant guess"
        left.plot(lengths, chance, color=theme.muted, linewidth=1.1, linestyle=":", label=label)
    left.axhline(
        first.threshold,
        color=theme.ink,
        linewidth=1.0,
        linestyle=(0, (5, 3)),
        label=f"threshold, {first.threshold:g}",
    )
    for axes in (left, right):
        axes.set_ylim(-0.03, 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if narrow else 10))
        _shade_trained(axes, trained, theme)
    finish_axes(left, theme, title="Exact match", x="length", y="share of answers")
    finish_axes(right, theme, title="Right tokens", x="length", y="share of tokens")
    legend(figure, left, theme, narrow)
    return figure


def draw_selection(rows: Sequence[Mapping[str, Any]], theme: Theme, narrow: bool) -> Figure:
    """Scores of the selection samples during training.

    rows: of kind "eval", as runs on a task have them.
    """
    figure, (axes,) = new_figure(narrow, 1, 3.2 if narrow else 3.5)
    steps = [row["step"] for row in rows]
    for values, label, place in (
        ([row["exact_match"] for row in rows], "exact match", 0),
        ([1 - row["score"] for row in rows], "right tokens", 5),
    ):
        color, marker = theme.methods[place], ("o", "v")[place > 0]
        axes.plot(
            steps, values, color=color, marker=marker, markersize=4.5, linewidth=1.5, label=label
        )
    best = min(rows, key=lambda row: row["stopping_score"])
    axes.axvline(best["step"], color=theme.ink, linewidth=1.0, linestyle=":", label="best")
    axes.set_ylim(-0.03, 1.03)
    finish_axes(axes, theme, title="Selection samples", x="step", y="share that is right")
    legend(figure, axes, theme, narrow)
    return figure


def _shade_trained(axes: Axes, trained: tuple[int, int], theme: Theme) -> None:
    """Lengths are whole numbers, so the shaded stretch of them ends between two."""
    low, high = axes.get_xlim()
    axes.axvspan(trained[0] - 0.5, trained[1] + 0.5, color=theme.muted, alpha=0.13, linewidth=0)
    axes.set_xlim(min(low, trained[0] - 0.5), max(high, trained[1] + 0.5))
    axes.annotate(
        "trained lengths",
        (trained[0] - 0.5, 0.015),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=TEXT_POINTS - 1.5,
        color=theme.muted,
    )
