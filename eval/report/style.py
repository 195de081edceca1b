"""Style of pictures: one palette for light and one for dark pages, the same marks everywhere.

Figures are built without pyplot and without rcParams, so that threads can draw at the same time.
Method colors follow Okabe and Ito (distinct under every common color blindness) and each method
has its own marker; buckets, which are ordered, take steps of the viridis scale.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lengthwise.common import plain_text
from lengthwise.eval.losses.results import ResultRow
from lengthwise.eval.statistics.bootstrap import Estimate

MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Theme:
    """Colors of one page theme."""

    name: str
    ink: str
    muted: str
    grid: str
    background: str  # for PNGs; pictures in the page are transparent
    methods: tuple[str, ...]  # the plain model first
    useful: str  # of verdicts, as in report.css
    worse: str
    buckets: tuple[float, float]  # ends of the viridis range, shortest to longest bucket


LIGHT = Theme(
    "light",
    ink="#1c1e21",
    muted="#6a6f76",
    grid="#e4e5e1",
    background="#ffffff",
    useful="#00664b",
    worse="#a03a00",
    methods=("#0072b2", "#d98200", "#009e73", "#c2578f", "#56b4e9", "#d55e00"),
    buckets=(0.8, 0.06),
)
DARK = Theme(
    "dark",
    ink="#e8e8e4",
    muted="#9aa0a8",
    grid="#2e3238",
    background="#14161a",
    useful="#6fe0bb",
    worse="#ffab7d",
    methods=("#5cb8f0", "#f2ab3c", "#2ecfa0", "#ec9cc6", "#9ad4f5", "#ff8f4a"),
    buckets=(0.38, 0.92),
)

NARROW_INCHES = 4.1
WIDE_INCHES = 9.6
TEXT_POINTS = 10


def new_figure(
    narrow: bool, panels: int, height: float, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Panels side by side, or stacked where the page is narrow. height: inches of one panel.
    columns: of a grid of panels, filled row by row."""
    width = NARROW_INCHES if narrow else WIDE_INCHES
    columns = columns or (1 if narrow else panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[panels:]:
        unused.set_axis_off()
    return figure, axes[:panels]


def finish_axes(axes: Axes, theme: Theme, *, title: str, x: str, y: str) -> None:
    """Titles, ticks and frame of one panel."""
    axes.set_title(title, loc="left", fontsize=TEXT_POINTS + 1, color=theme.ink, pad=8)
    axes.set_xlabel(x, fontsize=TEXT_POINTS, color=theme.muted)
    axes.set_ylabel(y, fontsize=TEXT_POINTS, color=theme.muted)
    axes.set_facecolor("none")
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, labelsize=TEXT_POINTS - 1, length=3, width=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.muted)
        spine.set_linewidth(0.8)


def legend(figure: Figure, axes: Axes, theme: Theme, narrow: bool) -> None:
    """One legend above all panels, in reading order."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), 2 if narrow else 6)
    box = figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=TEXT_POINTS - 0.5,
        handlelength=1.8,
        columnspacing=1.4,
    )
    for text in box.get_texts():
        text.set_color(theme.ink)


def log2_axis(axes: Axes, lengths: Sequence[int], narrow: bool) -> None:
    """A logarithmic axis of token counts with a tick at each power of two (fewer when narrow)."""
    axes.set_xscale("log", base=2)
    ticks = sorted(set(lengths))
    every = -(-len(ticks) // (6 if narrow else 12))
    axes.xaxis.set_major_locator(FixedLocator(ticks[::-1][::every][::-1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: token_count(round(value))))


def mark_l_train(axes: Axes, l_train: int, theme: Theme, *, label_at: str = "top") -> None:
    """The training length as a vertical line, with what lies beyond it shaded."""
    right = axes.get_xlim()[1]
    axes.axvspan(l_train, right, color=theme.muted, alpha=0.07, linewidth=0)
    axes.set_xlim(right=right)
    axes.axvline(l_train, color=theme.ink, linewidth=1.1)
    axes.annotate(
        f"training length {token_count(l_train)}",
        (l_train, 0.985 if label_at == "top" else 0.015),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-4, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va=label_at,
        fontsize=TEXT_POINTS - 1.5,
        color=theme.muted,
    )


def signed_axis(axes: Axes, linear_width: float, along: str = "y") -> None:
    """Linear within about linear_width of zero, logarithmic further out, so that a gain of 0.01
    can be read beside a loss of 2. along: "x" or "y"."""
    low, high = getattr(axes, f"get_{along}lim")()
    if max(abs(low), abs(high)) < 8 * linear_width:
        return
    getattr(axes, f"set_{along}scale")("asinh", linear_width=linear_width)
    steps = [m * 10.0**e for e in range(-4, 3) for m in (1, 3)]
    ticks = [t for t in steps if t >= linear_width]
    if along == "x" and sum(t < max(-low, high) for t in ticks) > 2:  # numbers need room there
        ticks = [t for t in ticks if f"{t:e}".startswith("1")]
    axis = getattr(axes, f"{along}axis")
    axis.set_major_locator(FixedLocator([-t for t in ticks[::-1]] + [0] + ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_signed))
    low, high = low * 1.15 if low < 0 else low, max(high, 1.6 * linear_width)
    getattr(axes, f"set_{along}lim")(low, high)


def gain_width(gains: Sequence[ResultRow]) -> float:
    """The width around zero that `signed_axis` leaves linear: a typical half interval."""
    return max(0.005, median(row.high - row.low for row in gains) / 2)


def plain_log_axis(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers at 1, 2, 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _signed(value: float, _: int) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def interval_line(
    axes: Axes,
    places: Sequence[float],
    rows: Sequence[ResultRow] | Sequence[Estimate],
    *,
    color: str,
    marker: str,
    label: str,
    above: float,
) -> None:
    """Estimates at `places` of the x axis, joined, with their intervals. above: drawing order."""
    low, high = [row.low for row in rows], [row.high for row in rows]
    axes.vlines(places, low, high, color=color, linewidth=2.6, alpha=0.45, zorder=above)
    axes.plot(
        places,
        [row.value for row in rows],
        color=color,
        marker=marker,
        markersize=5,
        linewidth=1.6,
        label=artist_label(label),
        zorder=above,
    )


def token_scale(tokens: int) -> tuple[float, str]:
    """Divisor for counts of up to `tokens`, and the word for it."""
    for scale, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if tokens >= scale:
            return scale, unit
    return 1.0, ""


def method_style(name: str, names: Sequence[str], theme: Theme) -> tuple[str, str]:
    """(color, marker) of a method among `names`, those that have one of their own."""
    place = names.index(name)
    return theme.methods[place % len(theme.methods)], MARKERS[place % len(MARKERS)]


def bucket_colors(lengths: Sequence[int], theme: Theme) -> dict[int, str]:
    """A color per bucket, ordered like the lengths, the same in every picture."""
    ordered = sorted(set(lengths))
    low, high = theme.buckets
    steps = max(1, len(ordered) - 1)
    return {
        length: to_hex(colormaps["viridis"](low + (high - low) * i / steps))
        for i, length in enumerate(ordered)
    }


def token_count(tokens: int) -> str:
    """128, 4,096, 32k: short and exact."""
    if tokens >= 8192 and tokens % 1024 == 0:
        return f"{tokens // 1024:,}k"
    return f"{tokens:,}"


def artist_label(name: str) -> str:
    """The label of a line with a user's name: matplotlib shows none that begins with "_"."""
    return f" {name}" if name.startswith("_") else name


def _literal_ticks(ticks: FuncFormatter) -> FuncFormatter:
    return FuncFormatter(lambda value, place: plain_text.label(ticks(value, place)))


def _make_literal(figure: Figure) -> None:
    """Has every text drawn as it stands: no mathtext between dollars, nothing that SVG can't hold,
    no name that leaves the picture no room."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = axis.get_major_formatter()
            if isinstance(ticks, FuncFormatter):  # which names at ticks have as well
                axis.set_major_formatter(_literal_ticks(ticks))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text("\n".join(plain_text.label(line) for line in text.get_text().split("\n")))


def svg_data_uri(figure: Figure) -> str:
    """The figure as a transparent SVG that needs no font and no network."""
    buffer = io.BytesIO()
    _make_literal(figure)
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def png_bytes(figure: Figure, theme: Theme) -> bytes:
    """The figure as a PNG on the theme's background, 160 dots per inch."""
    buffer = io.BytesIO()
    _make_literal(figure)
    figure.savefig(buffer, format="png", dpi=160, facecolor=theme.background)
    return buffer.getvalue()
