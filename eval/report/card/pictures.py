"""Pictures of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
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
    token_count,
)
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.curves import Grid

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


def draw_heat(card: Card, theme: Theme, narrow: bool) -> Figure:
    """Chance-corrected scores: tasks against lengths, a panel an entry."""
    shown = [entry for entry in card.entries if tasks_of(entry)]
    tasks = max(len(tasks_of(entry)) for entry in shown)
    columns = 1 if narrow else min(2, len(shown))
    figure, panels = new_figure(narrow, len(shown), 0.9 + 0.36 * tasks, columns)
    for axes, entry in zip(panels, shown, strict=True):
        judged = tasks_of(entry)
        lengths = sorted({n for each in judged for n in each.lengths})
        cells = np.full((len(judged), len(lengths)), np.nan)
        for row, each in enumerate(judged):
            for length, estimate in zip(each.lengths, each.judged, strict=True):
                cells[row, lengths.index(length)] = estimate.value
        _heat(axes, cells, theme, small=narrow or len(shown) > 1)
        axes.set_xticks(range(len(lengths)), [token_count(n) for n in lengths])
        axes.set_yticks(range(len(judged)), [title(each.curve.scorer) for each in judged])
        beyond = sum(length <= entry.l_train for length in lengths) - 0.5
        axes.axvline(beyond, color=theme.ink, linewidth=1.6)
        # Also where but one of the runs was asked tasks: it need not be the one the card is of.
        several = len(card.entries) > 1
        name = entry.contestant.name if several else "From chance (0) to perfect (100)"
        _finish_heat(axes, theme, name, "tokens; line: training length")
    return figure


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
        beyond = [
            e.high - e.low
            for each in group
            for n, e in zip(each.lengths, each.judged, strict=True)
            if n > card.first.l_train
        ]
        signed_axis(axes, max(0.005, float(np.median(beyond)) / 2) if beyond else 0.005)
        _lengths_axis(axes, group[0].lengths, card.first, theme, narrow=narrow)
        finish_axes(
            axes,
            theme,
            title=title(group[0].curve.scorer),
            x="tokens of context",
            y="nats/token, more is better" if panels.index(axes) % columns == 0 else "",
        )
    legend(figure, _most_labels(panels), theme, narrow)
    return figure


def draw_grids(grids: Sequence[Grid], theme: Theme, narrow: bool) -> Figure:
    """Mean scores of lengths against a second axis, a panel a grid."""
    columns = 1 if narrow else min(2, len(grids))
    tallest = max(len(grid.places) for grid in grids)
    figure, panels = new_figure(narrow, len(grids), 1.0 + 0.3 * tallest, columns)
    for axes, grid in zip(panels, grids, strict=True):
        scores_DK = _means(grid)
        if grid.best is not None and grid.chance is not None:
            share_DK = (scores_DK - grid.chance) / (grid.best - grid.chance)
            _heat(axes, share_DK, theme, small=True)
        else:  # no scale of its own: from the least to the most
            least, most = np.nanmin(scores_DK), np.nanmax(scores_DK)
            share_DK = (scores_DK - least) / max(most - least, 1e-12)
            _heat(axes, share_DK, theme, small=True, texts=[f"{x:.2g}" for x in scores_DK.ravel()])
        axes.set_xticks(range(len(grid.lengths)), [token_count(n) for n in grid.lengths])
        axes.set_yticks(range(len(grid.places)), [f"{place:g}" for place in grid.places])
        name = f"{title(grid.scorer)}, {method_title(grid.method)}, {grid.unit}"
        _finish_heat(axes, theme, name, "tokens")
        axes.set_ylabel(grid.axis, fontsize=TEXT_POINTS - 1, color=theme.muted)
    return figure


def _means(grid: Grid) -> np.ndarray:
    """[D, K] means over trials, NaN where a cell has none."""
    known_NDK = np.isfinite(grid.scores_NDK)
    trials_DK = known_NDK.sum(axis=0)
    sums_DK = np.where(known_NDK, grid.scores_NDK, 0).sum(axis=0)
    return np.where(trials_DK > 0, sums_DK / np.maximum(trials_DK, 1), np.nan)


def _heat(
    axes: Axes,
    cells: np.ndarray,
    theme: Theme,
    *,
    small: bool,
    texts: Sequence[str] | None = None,
) -> None:
    """Shares as colors; a cell that was not tested stays empty. texts: in them, row by row; None:
    whole percents."""
    colors = LinearSegmentedColormap.from_list("share", [theme.grid, theme.methods[0]])
    axes.imshow(np.clip(cells, 0, 1), cmap=colors, vmin=0, vmax=1, aspect="auto")
    for number, ((row, column), value) in enumerate(np.ndenumerate(cells)):
        if np.isfinite(value):
            ground = colors(float(np.clip(value, 0, 1)))[:3]
            text = texts[number] if texts else f"{100 * value:.0f}"
            axes.text(
                column,
                row,
                text.replace("-", "\N{MINUS SIGN}"),
                ha="center",
                va="center",
                fontsize=TEXT_POINTS - (2 if small else 1),
                color=_readable_on(ground),
            )
    axes.set_xticks(np.arange(-0.5, cells.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, cells.shape[0]), minor=True)


def _readable_on(ground: Sequence[float]) -> str:
    """Black or white, by the relative luminance of WCAG 2. ground: red, green, blue."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in ground]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def _finish_heat(axes: Axes, theme: Theme, name: str, x: str) -> None:
    finish_axes(axes, theme, title=name, x=x, y="")
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.tick_params(which="minor", length=0)
    for label in axes.get_yticklabels():
        label.set_color(theme.ink)


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
