"""Pictures of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lengthwise.eval.card.card import Card, CardEntry
from lengthwise.eval.card.judgement import Judgement
from lengthwise.eval.card.lengths import ABSOLUTE, SAFE_NATS
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.prompts.prompt import Control
from lengthwise.eval.report.card.wording import title
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.style import (
    MARKERS,
    TEXT_POINTS,
    Theme,
    artist_label,
    finish_axes,
    legend,
    log2_axis,
    method_style,
    new_figure,
    signed_axis,
)
from lengthwise.eval.statistics.bootstrap import Estimate

_FIRST_TOKENS = 8
HISTOGRAM_HEIGHT = 0.22  # of a panel
CONTROLS = {
    Control.TRUNCATED: "its end alone, of the training length",
    Control.DISTANCE_0: "facts next to the question",
    Control.NO_CONTEXT: "question alone",
}


def tasks_of(entry: CardEntry) -> list[Judgement]:
    return [each for each in entry.judgements if each.is_task]


def losses_of(entry: CardEntry) -> list[list[Judgement]]:
    """Losses by scorer, in each its methods."""
    scorers = dict.fromkeys(each.curve.scorer for each in entry.judgements if not each.is_task)
    return [[each for each in entry.judgements if each.curve.scorer == name] for name in scorers]


def draw_tasks(card: Card, theme: Theme, narrow: bool) -> Figure:
    """Chance-corrected scores of each task, with its controls, or with those of other entries."""
    judged = tasks_of(card.first)
    columns = min(2 if narrow else 4, len(judged))
    figure, panels = new_figure(narrow, len(judged), 1.9 if narrow else 2.1, columns)
    alone = len(card.entries) == 1
    for axes, each in zip(panels, judged, strict=True):
        for value in (0, ABSOLUTE):
            axes.axhline(value, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)))
        if alone:
            known = [c for c in CONTROLS if c in each.controls]
            for control in known:
                number = 1 + list(CONTROLS).index(control)
                axes.plot(
                    each.lengths,
                    [e.value for e in each.controls[control]],
                    color=theme.methods[number],
                    linewidth=1.2,
                    linestyle=("--", ":", "-.")[number - 1],
                    label=CONTROLS[control],
                )
        for number, entry in enumerate(card.entries):
            same = [e for e in tasks_of(entry) if e.curve.key == each.curve.key]
            for mine in same:
                label = "the whole input" if alone else entry.contestant.name
                _band(axes, mine.lengths, mine.judged, number, theme, label)
        _lengths_axis(axes, each.lengths, card.first, theme, narrow=True)
        axes.set_ylim(-0.35, 1.08)
        axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
        finish_axes(axes, theme, title=title(each.curve.scorer), x="", y="")
        axes.title.set_fontsize(TEXT_POINTS)
    legend(figure, _most_labels(panels), theme, narrow)
    return figure


def draw_losses(card: Card, theme: Theme, narrow: bool) -> Figure:
    """Gain over truncation of every loss, a panel a scorer: its methods, or the entries' plain."""
    scorers = losses_of(card.first)
    columns = 1 if narrow else len(scorers) if len(scorers) <= 3 else 2
    figure, panels = new_figure(narrow, len(scorers), 3.3 if narrow else 3.7, columns)
    alone = len(card.entries) == 1
    for axes, group in zip(panels, scorers, strict=True):
        axes.axhline(0, color=theme.ink, linewidth=1.0, linestyle=(0, (5, 3)))
        axes.axhline(-SAFE_NATS, color=theme.muted, linewidth=0.8, linestyle=(0, (2, 3)))
        names = [each.curve.method for each in group]
        if alone:
            for each in group:
                color, marker = method_style(each.curve.method, names, theme)
                label = method_title(each.curve.method)
                _line(axes, each, color, marker, label)
        else:
            for number, entry in enumerate(card.entries):
                for each in entry.judgements:
                    if each.curve.scorer == group[0].curve.scorer and each.curve.method == PLAIN:
                        color = theme.methods[number % len(theme.methods)]
                        marker = MARKERS[number % len(MARKERS)]
                        _line(axes, each, color, marker, entry.contestant.name)
        _lengths_axis(axes, group[0].lengths, card.first, theme, narrow=narrow)
        finish_axes(
            axes,
            theme,
            title=title(group[0].curve.scorer),
            x="tokens of context",
            y="",
        )
    _share_gains(panels, [each for group in scorers for each in group], card.first.l_train)
    for axes in panels[::columns]:
        scale = "\n(log-like scale)" if axes.get_yscale() == "asinh" else ""
        axes.set_ylabel(f"gain, nats/token{scale}")
    legend(figure, _most_labels(panels), theme, narrow)
    return figure


def _share_gains(panels: Sequence[Axes], judged: Sequence[Judgement], l_train: int) -> None:
    """Gives all panels one scale of gains. The first tokens of a text, which no method changes,
    don't set its range."""
    seen = [
        (n, e)
        for each in judged
        for n, e in zip(each.lengths, each.judged, strict=True)
        if n > _FIRST_TOKENS or n >= l_train
    ]
    widths = [e.high - e.low for n, e in seen if n > l_train]
    low, high = min(0.0, *(e.low for _, e in seen)), max(0.0, *(e.high for _, e in seen))
    room = 0.06 * max(high - low, 0.01)
    for axes in panels:
        axes.set_ylim(low - room, high + room)
        signed_axis(axes, max(0.005, float(np.median(widths)) / 2) if widths else 0.005)


def _most_labels(panels: Sequence[Axes]) -> Axes:
    """The panel whose legend serves all: tasks differ in controls, losses in methods."""
    return max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def _band(
    axes: Axes,
    lengths: Sequence[int],
    estimates: Sequence[Estimate],
    number: int,
    theme: Theme,
    label: str,
) -> None:
    color = theme.methods[number % len(theme.methods)]
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    axes.fill_between(lengths, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(
        lengths,
        [e.value for e in estimates],
        color=color,
        marker=MARKERS[number % len(MARKERS)],
        markersize=3.5,
        linewidth=1.6,
        label=artist_label(label),
    )


def _line(axes: Axes, each: Judgement, color: str, marker: str, label: str) -> None:
    low, high = [e.low for e in each.judged], [e.high for e in each.judged]
    axes.vlines(each.lengths, low, high, color=color, linewidth=2.4, alpha=0.45)
    axes.plot(
        each.lengths,
        [e.value for e in each.judged],
        color=color,
        marker=marker,
        markersize=4.5,
        linewidth=1.5,
        label=artist_label(label),
    )


def _lengths_axis(
    axes: Axes, lengths: Sequence[int], entry: CardEntry, theme: Theme, *, narrow: bool
) -> None:
    """A log axis of lengths, with the training length and the histogram of trained lengths."""
    log2_axis(axes, lengths, narrow)
    axes.set_xlim(lengths[0] / 1.3, lengths[-1] * 1.3)
    _histogram(axes, entry.contestant.first.targets_by_length, theme)
    axes.axvspan(entry.l_train, lengths[-1] * 1.3, color=theme.muted, alpha=0.07, linewidth=0)
    axes.axvline(entry.l_train, color=theme.ink, linewidth=1.1)


def _histogram(axes: Axes, targets: Mapping[int, int], theme: Theme) -> None:
    """Trained targets by the length of their sequence, along the bottom of a panel."""
    ends = np.array(list(targets), np.float64)
    counts = np.array(list(targets.values()), np.float64)
    if not counts.any():  # weights from elsewhere
        return
    axes.bar(
        ends / 2,
        HISTOGRAM_HEIGHT * counts / counts.max(),
        width=ends / 2,
        align="edge",
        transform=axes.get_xaxis_transform(),
        color=theme.muted,
        alpha=0.35,
        linewidth=0,
        zorder=1,
    )
