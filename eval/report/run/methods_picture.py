"""Pictures of methods and of scheduled scores: gains over truncation, scores over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lengthwise.eval.losses.results import GAIN, ResultRow, Results
from lengthwise.eval.report.estimate_text import gain_text, ratio_text
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.run.wording import best_first
from lengthwise.eval.report.style import (
    TEXT_POINTS,
    Theme,
    finish_axes,
    gain_width,
    legend,
    new_figure,
    signed_axis,
    token_count,
)
from lengthwise.eval.statistics.verdicts import Verdict

PANELS = 3  # contexts, at most: the first two beyond L_train, and the longest
MARKERS = {Verdict.USEFUL: "^", Verdict.WORSE: "v", Verdict.NO_DIFFERENCE: "o"}


def draw_methods(results: Results, theme: Theme, narrow: bool) -> Figure:
    """Rows of methods, best first at the shortest context beyond L_train; dots with intervals."""
    names = best_first(results)
    gains = [r for r in results.select(metric=GAIN, role="result") if r.context > r.l_train]
    beyond = sorted({row.context for row in gains})
    contexts = sorted({*beyond[: PANELS - 1], beyond[-1]})
    figure, panels = new_figure(narrow, len(contexts), 1.0 + 0.27 * len(names))
    for number, (axes, context) in enumerate(zip(panels, contexts, strict=True)):
        rows = {row.method: row for row in gains if row.context == context}
        _panel(axes, names, rows, gain_width(gains), theme, labels=narrow or number == 0)
        finish_axes(
            axes,
            theme,
            title=f"{token_count(context)} tokens, {ratio_text(context / gains[0].l_train)}",
            x="gain over truncation, nats/token",
            y="",
        )
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=theme.grid, linewidth=0.8)
        axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    return figure


def _panel(
    axes: Axes,
    names: Sequence[str],
    rows: dict[str, ResultRow],
    linear_width: float,
    theme: Theme,
    *,
    labels: bool,
) -> None:
    colors = {
        Verdict.USEFUL: theme.useful,
        Verdict.WORSE: theme.worse,
        Verdict.NO_DIFFERENCE: theme.muted,
    }
    for place, name in enumerate(names):
        row = rows[name]
        verdict = Verdict(row.verdict or "")
        axes.hlines(place, row.low, row.high, color=colors[verdict], linewidth=2.6, alpha=0.45)
        axes.plot(
            row.value,
            place,
            color=colors[verdict],
            marker=MARKERS[verdict],
            markersize=6,
            linestyle="none",
        )
        axes.annotate(
            gain_text(row),
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT_POINTS - 1.5,
            color=colors[verdict],
        )
    axes.axvline(0, color=theme.ink, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [method_title(name) for name in names] if labels else [])
    for label, name in zip(axes.get_yticklabels(), names, strict=False):
        label.set_fontweight("bold" if name == "plain" else "normal")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    signed_axis(axes, linear_width, along="x")


_COLUMNS = 3  # panels beside each other


def draw_scheduled(rows: Sequence[Mapping[str, Any]], theme: Theme, narrow: bool) -> Figure:
    """A panel a scorer, a line a length.

    rows: of kind "eval" that have "scores", as scheduled.ScheduledScorers.figures gives them.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    scorers = list(dict.fromkeys(name.partition("@")[0] for name in names))
    columns = 1 if narrow else min(_COLUMNS, len(scorers))
    figure, panels = new_figure(narrow, len(scorers), 3.0, columns)
    best = min(rows, key=lambda row: row["stopping_score"])
    for axes, scorer in zip(panels, scorers, strict=True):
        mine = [name for name in names if name.partition("@")[0] == scorer]
        for place, name in enumerate(mine):
            scored = [row for row in rows if name in row["scores"]]
            steps = [row["step"] for row in scored]
            low, value, high = (
                [row["scores"][name][end] for row in scored] for end in ("low", "value", "high")
            )
            color, marker = theme.methods[(0, 5)[place % 2]], ("o", "v")[place % 2]
            axes.fill_between(steps, low, high, color=color, alpha=0.16, linewidth=0)
            label = f"{token_count(int(name.partition('@')[2]))} tokens"
            axes.plot(
                steps, value, color=color, marker=marker, markersize=4.5, linewidth=1.5, label=label
            )
        axes.axvline(best["step"], color=theme.ink, linewidth=1.0, linestyle=":", label="best")
        figures = next(row["scores"][mine[0]] for row in rows if mine[0] in row["scores"])
        title = scorer.replace("_", " ")
        finish_axes(axes, theme, title=title, x="step", y=figures["unit"])
    longest = max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    legend(figure, longest, theme, narrow)
    return figure
