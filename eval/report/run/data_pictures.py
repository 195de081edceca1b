"""Pictures of the training data: contexts, domains, document boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lengthwise.eval.losses.boundary_loss import MASKED, NAIVE
from lengthwise.eval.losses.results import (
    BOUNDARY_GAP,
    BOUNDARY_NLL,
    GAIN,
    SAME_TARGET_NLL,
    ResultRow,
    Results,
)
from lengthwise.eval.report.style import (
    MARKERS,
    Theme,
    artist_label,
    bucket_colors,
    finish_axes,
    interval_line,
    legend,
    log2_axis,
    mark_l_train,
    new_figure,
    signed_axis,
    token_count,
    token_scale,
)
from lengthwise.eval.report.training_log import TrainingLog

CURVE_POINTS = 60  # per domain


def draw_exposure(exposure: Mapping[str, Any], l_train: int, theme: Theme, narrow: bool) -> Figure:
    """Trained targets by context, stacked by bucket, and the share with at least so much.

    exposure: `total` of exposure.json.
    """
    figure, (left, right) = new_figure(narrow, 2, 3.0 if narrow else 3.6)
    last = [int(context) for context in exposure["context"]]
    edges = [last[0] / 2, *last]
    by_bucket = {int(n): np.array(counts) for n, counts in exposure["targets_by_bucket"].items()}
    colors = bucket_colors(list(by_bucket), theme)
    total = np.array(exposure["targets"])
    scale, unit = token_scale(int(total.max()))
    base = np.zeros(len(last))
    for length, counts in sorted(by_bucket.items()):
        label = f"L = {token_count(length)}"
        left.stairs(
            (base + counts) / scale,
            edges,
            baseline=base / scale,
            fill=True,
            color=colors[length],
            label=label,
        )
        base = base + counts
    more = 1 - np.cumsum(total) / max(1, total.sum())
    right.plot(last, more, color=theme.methods[0], marker="o", markersize=4.5, linewidth=1.6)
    right.set_ylim(0, 1.04)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axes in (left, right):
        log2_axis(axes, last, narrow)
        axes.set_xlim(edges[0], max(edges[-1], l_train) * 1.15)
    left.axvline(l_train, color=theme.ink, linewidth=1.1)  # its label would lie on the bars
    mark_l_train(right, l_train, theme)
    finish_axes(
        left, theme, title="Trained targets by context", x="tokens of context", y=f"{unit} targets"
    )
    finish_axes(
        right,
        theme,
        title="Targets with more than so much",
        x="tokens of context",
        y="share of the trained targets",
    )
    legend(figure, left, theme, narrow)
    return figure


def draw_domains(results: Results, method: str, theme: Theme, narrow: bool) -> Figure:
    """NLL and gain over truncation by domain, of one method."""
    rows = results.select(role="domain", method=method)
    domains = list(dict.fromkeys(row.domain for row in rows))
    contexts = sorted({row.context for row in rows})
    figure, (left, right) = new_figure(narrow, 2, 3.4 if narrow else 3.8)
    right.axhline(0, color=theme.ink, linewidth=1.1, linestyle=(0, (5, 3)))
    for axes, metric in ((left, SAME_TARGET_NLL), (right, GAIN)):
        for number, domain in enumerate(domains):
            mine = [row for row in rows if row.metric == metric and row.domain == domain]
            aside = 2 ** (0.07 * (number - (len(domains) - 1) / 2))
            places = [row.context * aside for row in mine]
            _line(axes, number, places, mine, theme, domain)
        log2_axis(axes, contexts, narrow)
        axes.set_xlim(contexts[0] / 1.25, contexts[-1] * 1.25)
        mark_l_train(axes, rows[0].l_train, theme, label_at="top" if axes is left else "bottom")
    beyond = [r for r in rows if r.metric == GAIN and r.context > r.l_train]
    signed_axis(right, max(0.005, float(np.median([r.high - r.low for r in beyond])) / 2))
    finish_axes(left, theme, title="NLL by domain", x="tokens of context", y="NLL, nats/token")
    finish_axes(
        right,
        theme,
        title="Gain over truncation, paired",
        x="tokens of context",
        y="nats/token, positive: context helps",
    )
    legend(figure, left, theme, narrow)
    return figure


def draw_boundary(results: Results, theme: Theme, narrow: bool) -> Figure:
    """NLL behind a document boundary with and without the mask, and the paired difference."""
    figure, (left, right) = new_figure(narrow, 2, 3.4 if narrow else 3.8)
    rows = [r for r in results.select(role="boundary") if not _over_all(r)]
    right.axhline(0, color=theme.ink, linewidth=1.1, linestyle=(0, (5, 3)))
    for number, (name, label) in enumerate(
        ((MASKED, "document mask"), (NAIVE, "naive: the whole row"))
    ):
        mine = [r for r in rows if r.metric == BOUNDARY_NLL and r.method == name]
        _line(left, number, _centers(mine), mine, theme, label)
    gaps = [r for r in rows if r.metric == BOUNDARY_GAP]
    _line(right, 1, _centers(gaps), gaps, theme, "naive \N{MINUS SIGN} masked")
    for axes in (left, right):
        log2_axis(axes, sorted({r.context for r in rows}), narrow)
        axes.set_xlim(0.85, max(r.context for r in rows) * 1.1)
    distance = "tokens since the boundary"
    finish_axes(left, theme, title="NLL behind a boundary", x=distance, y="NLL, nats/token")
    finish_axes(
        right,
        theme,
        title="Naive minus masked, paired",
        x=distance,
        y="nats/token, positive: the mask helps",
    )
    legend(figure, left, theme, narrow)
    return figure


def boundary_gap(results: Results) -> ResultRow | None:
    """Naive minus masked over all targets behind a boundary, where it was scored."""
    rows = [r for r in results.select(metric=BOUNDARY_GAP) if _over_all(r)]
    return rows[0] if rows else None


def draw_domain_losses(log: TrainingLog, theme: Theme, narrow: bool) -> Figure:
    """Training loss by domain against tokens."""
    figure, (axes,) = new_figure(narrow, 1, 3.2 if narrow else 3.5)
    scale, unit = token_scale(int(log.tokens[-1]))
    for number, domain in enumerate(log.domains):
        tokens, mean = log.domain_curve(domain, CURVE_POINTS)
        color = theme.methods[number % len(theme.methods)]
        axes.plot(tokens / scale, mean, color=color, linewidth=1.5, label=artist_label(domain))
    finish_axes(axes, theme, title="Training loss by domain", x=f"{unit} tokens", y="nats/token")
    legend(figure, axes, theme, narrow)
    return figure


def _over_all(row: ResultRow) -> bool:
    return (row.context_from, row.context) == (1, row.l_train)


def _centers(rows: Sequence[ResultRow]) -> list[float]:
    return [float(np.sqrt(row.context_from * row.context)) for row in rows]


def _line(
    axes: Any,
    number: int,
    places: Sequence[float],
    rows: Sequence[ResultRow],
    theme: Theme,
    label: str,
) -> None:
    color = theme.methods[number % len(theme.methods)]
    marker = MARKERS[number % len(MARKERS)]
    interval_line(axes, places, rows, color=color, marker=marker, label=label, above=3)
