"""Pictures of the report, each for a theme and a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lengthwise.eval.losses.results import GAIN, POSITION_NLL, SAME_TARGET_NLL, ResultRow, Results
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.run.wording import highlighted, method_names
from lengthwise.eval.report.style import (
    Theme,
    bucket_colors,
    finish_axes,
    gain_width,
    interval_line,
    legend,
    log2_axis,
    mark_l_train,
    method_style,
    new_figure,
    plain_log_axis,
    signed_axis,
    token_count,
    token_scale,
)
from lengthwise.eval.report.training_log import TrainingLog

CONTEXT = "tokens of context"
LINES = 6  # methods that a chart tells apart; the picture of all methods has every one
CURVE_POINTS = 60  # per bucket: enough for the shape, few enough to keep the page small


def draw_same_target(results: Results, theme: Theme, narrow: bool) -> Figure:
    """NLL of the same targets against context, and the paired gain over truncation."""
    names, others = _split_highlighted(results)
    nll = results.select(metric=SAME_TARGET_NLL, role="result")
    l_train = nll[0].l_train
    (truncation,) = (r for r in nll if r.method == "plain" and r.context == l_train)
    figure, (left, right) = new_figure(narrow, 2, 3.9 if narrow else 4.1)
    contexts = sorted({row.context for row in nll})

    left.axhline(
        truncation.value, color=theme.ink, linewidth=1.1, linestyle=(0, (5, 3)), label="truncation"
    )
    right.axhline(0, color=theme.ink, linewidth=1.1, linestyle=(0, (5, 3)))
    for axes, metric in ((left, SAME_TARGET_NLL), (right, GAIN)):
        for name in names:
            rows = results.select(metric=metric, role="result", method=name)
            # Up to L_train every method is the plain model; draw that stretch once.
            shown = [r for r in rows if name == "plain" or r.context >= l_train]
            _intervals(axes, name, names, theme, [r.context for r in shown], shown)
        for name in others:
            rows = results.select(metric=metric, role="result", method=name)
            shown = [r for r in rows if r.context >= l_train]
            _in_the_background(axes, theme, [r.context for r in shown], shown, len(others))
        log2_axis(axes, contexts, narrow)
        axes.set_xlim(contexts[0] / 1.25, contexts[-1] * 1.25)
        mark_l_train(axes, l_train, theme, label_at="top" if axes is left else "bottom")
    beyond = [r for r in results.select(metric=GAIN, role="result") if r.context > l_train]
    signed_axis(right, gain_width(beyond))
    finish_axes(left, theme, title="NLL of the same targets", x=CONTEXT, y="NLL, nats/token")
    finish_axes(
        right,
        theme,
        title="Gain over truncation, paired",
        x=CONTEXT,
        y="nats/token, positive: context helps",
    )
    legend(figure, left, theme, narrow)
    return figure


def draw_position_nll(results: Results, theme: Theme, narrow: bool) -> Figure:
    """NLL in log2 bins of position, one pass."""
    names, others = _split_highlighted(results)
    rows = results.select(metric=POSITION_NLL, role="result")
    figure, (axes,) = new_figure(narrow, 1, 3.9 if narrow else 4.1)
    for name in names:
        mine = [r for r in rows if r.method == name]
        centers = [float(np.sqrt(r.context_from * r.context)) for r in mine]
        _intervals(axes, name, names, theme, centers, mine)
    for name in others:
        mine = [r for r in rows if r.method == name]
        centers = [float(np.sqrt(r.context_from * r.context)) for r in mine]
        _in_the_background(axes, theme, centers, mine, len(others))
    ends = sorted({r.context for r in rows})
    log2_axis(axes, ends, narrow)
    axes.set_xlim(0.85, ends[-1] * 1.1)
    mark_l_train(axes, rows[0].l_train, theme)
    finish_axes(
        axes, theme, title="NLL by position", x="preceding tokens in the pass", y="NLL, nats/token"
    )
    legend(figure, axes, theme, narrow)
    return figure


def draw_training_curves(log: TrainingLog, theme: Theme, narrow: bool) -> Figure:
    """Loss and gradient norm by bucket against tokens."""
    figure, (left, right) = new_figure(narrow, 2, 3.2 if narrow else 3.7)
    colors = bucket_colors(log.lengths, theme)
    scale, unit = token_scale(int(log.tokens[-1]))
    for axes, values in ((left, log.loss), (right, log.grad_norm)):
        for length in log.lengths:
            tokens, mean = log.curve(values, length, CURVE_POINTS)
            label = f"L = {token_count(length)}"
            axes.plot(tokens / scale, mean, color=colors[length], linewidth=1.5, label=label)
    plain_log_axis(right)
    finish_axes(left, theme, title="Training loss by bucket", x=f"{unit} tokens", y="nats/token")
    finish_axes(
        right, theme, title="Gradient norm by bucket", x=f"{unit} tokens", y="before clipping"
    )
    legend(figure, left, theme, narrow)
    return figure


def draw_curriculum(log: TrainingLog, theme: Theme, narrow: bool) -> Figure:
    """Share of the buckets over steps, and tokens by bucket."""
    figure, (left, right) = new_figure(narrow, 2, 2.9 if narrow else 3.5)
    colors = bucket_colors(log.lengths, theme)
    edges, shares = log.bucket_shares(60)
    base = np.zeros(shares.shape[1])
    for length, share in zip(log.lengths, shares, strict=True):
        left.stairs(base + share, edges, baseline=base, fill=True, color=colors[length])
        base = base + share
    left.set_xlim(edges[0], edges[-1])
    left.set_ylim(0, 1)
    left.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    finish_axes(left, theme, title="The curriculum as it ran", x="step", y="share of tokens")
    left.grid(False)

    counts = log.tokens_by_bucket()
    scale, unit = token_scale(max(counts.values()))
    places = np.arange(len(counts))
    values = np.array(list(counts.values())) / scale
    bars = right.barh(places, values, height=0.68, color=[colors[n] for n in counts])
    total = sum(counts.values())
    right.bar_label(
        bars,
        labels=[f"{n / total:.0%}" for n in counts.values()],
        padding=4,
        fontsize=9,
        color=theme.muted,
    )
    right.set_yticks(places, [f"L = {token_count(n)}" for n in counts])
    right.set_xlim(0, values.max() * 1.15)
    finish_axes(right, theme, title="Tokens by bucket", x=f"{unit} tokens", y="")
    right.grid(False)
    right.tick_params(axis="y", length=0)
    return figure


def draw_selection(rows: Sequence[Mapping[str, Any]], theme: Theme, narrow: bool) -> Figure:
    """Same-target NLL on the selection split during training."""
    figure, (axes,) = new_figure(narrow, 1, 3.2 if narrow else 3.5)
    steps = [row["step"] for row in rows]
    for prefix, place in (("in_range_score", 0), ("score", 5)):
        context = token_count(rows[0][f"{prefix}_context"])
        label = f"{context} tokens" + (" (training length)" if place == 0 else " (2x)")
        color, marker = theme.methods[place], ("o", "v")[place > 0]
        low, high = ([row[f"{prefix}_{end}"] for row in rows] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=color, alpha=0.16, linewidth=0)
        axes.plot(
            steps,
            [row[prefix] for row in rows],
            color=color,
            marker=marker,
            markersize=4.5,
            linewidth=1.5,
            label=label,
        )
    best = min(rows, key=lambda row: row["stopping_score"])
    axes.plot(
        best["step"],
        best["score"],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=theme.ink,
        linestyle="none",
        label="best checkpoint",
    )
    finish_axes(axes, theme, title="Selection score", x="step", y="NLL, nats/token")
    legend(figure, axes, theme, narrow)
    return figure


def _intervals(
    axes: Axes,
    name: str,
    names: Sequence[str],
    theme: Theme,
    x: Sequence[float],
    rows: Sequence[ResultRow],
) -> None:
    """Points with their intervals. Beyond L_train methods stand a little beside each other, so
    that overlapping intervals are distinguishable."""
    color, marker = method_style(name, names, theme)
    aside = 2 ** (0.07 * (names.index(name) - (len(names) - 1) / 2))
    places = [
        at * aside if row.context > row.l_train else at for at, row in zip(x, rows, strict=True)
    ]
    above = 4 - names.index(name) / 10  # where lines coincide, the plain one is seen
    interval_line(
        axes, places, rows, color=color, marker=marker, label=method_title(name), above=above
    )


def _split_highlighted(results: Results) -> tuple[list[str], list[str]]:
    """(methods with a color and marker of their own, the others)."""
    names = highlighted(results, LINES)
    return names, [name for name in method_names(results) if name not in names]


def _in_the_background(
    axes: Axes, theme: Theme, x: Sequence[float], rows: Sequence[ResultRow], of: int
) -> None:
    """One line without marks; all such lines share one entry of the legend."""
    label = f"{of} other{'s' if of > 1 else ''}"
    known = axes.get_legend_handles_labels()[1]
    axes.plot(
        x,
        [row.value for row in rows],
        color=theme.muted,
        linewidth=1.0,
        alpha=0.55,
        label=None if label in known else label,
        zorder=2.5,
    )
