"""Scores of the schedule over the steps of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from eval.style import Theme, finish_axes, legend, new_figure, token_count

_COLUMNS = 3  # panels beside each other


def draw_scheduled(rows: Sequence[Mapping[str, Any]], theme: Theme, narrow: bool) -> Figure:
    """A panel a scorer, a line a length.

    rows: of kind "eval" that have "scores", as eval.scheduled.ScheduledScorers.figures gives them.
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
