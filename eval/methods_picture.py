"""All methods in one picture: the gain of each over truncation, a panel a context."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eval.estimate_text import gain_text, ratio_text
from eval.method_words import method_title
from eval.results import GAIN, ResultRow, Results
from eval.style import (
    TEXT_POINTS,
    Theme,
    finish_axes,
    gain_width,
    new_figure,
    signed_axis,
    token_count,
)
from eval.verdicts import Verdict
from eval.wording import best_first

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
