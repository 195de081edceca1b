"""Heat maps of the card: tasks against lengths, and grids of lengths against a second axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lengthwise.eval.card.card import Card
from lengthwise.eval.report.card.pictures import tasks_of
from lengthwise.eval.report.card.wording import title
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.style import TEXT_POINTS, Theme, finish_axes, new_figure, token_count
from lengthwise.eval.statistics.curves import Grid


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
