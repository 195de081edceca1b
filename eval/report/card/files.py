"""Files beside the card: its numbers as CSV, its outcome as Markdown, a picture to share."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lengthwise.common.plain_text import visible
from lengthwise.eval.card.card import Card
from lengthwise.eval.report.card.reach_bars import ReachAxis, ReachBar
from lengthwise.eval.report.card.wording import reach_text
from lengthwise.eval.report.style import LIGHT, new_figure, png_bytes, token_count

CSV, MARKDOWN, SHARED = "card.csv", "card.md", "card.png"  # beside the page
_BARS = 7  # in the picture to share, at most
_DOTS = 160  # an inch, as `png_bytes` has them


def card_csv(card: Card) -> bytes:
    """A line a score: of every entry, curve and length."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("run", "scorer", "method", "metric", "unit", "length"),
            *("score", "low", "high", "judged", "judged_low", "judged_high"),
        ]
    )
    for entry in card.entries:
        for each in entry.judgements:
            curve = each.curve
            about = (entry.contestant.name, curve.scorer, curve.method, curve.metric, curve.unit)
            for length, score, judged in zip(each.lengths, each.scores, each.judged, strict=True):
                values = (score.value, score.low, score.high, judged.value, judged.low, judged.high)
                writer.writerow([*about, length, *(f"{value:.6g}" for value in values)])
    return text.getvalue().encode()


def card_markdown(
    name: str, sentences: Sequence[str], bars: Sequence[ReachBar], facts: Mapping[str, str]
) -> bytes:
    """The outcome for a repository or a model page."""
    lines = [f"# {_cell(name)}", "", f"![How far it reaches, in tokens]({SHARED})", ""]
    lines += [*map(_cell, sentences), ""]
    if bars:
        lines += ["| | useful or solved to | holds to | tested to |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {_cell(bar.label)} | {reach_text(bar.useful)} | {reach_text(bar.holds)} | "
            f"{token_count(bar.tested)} |"
            for bar in bars
        ]
        lines.append("")
    if facts:
        lines += ["| fact | |", "| --- | --- |"]
        lines += [f"| {_cell(title)} | {_cell(text)} |" for title, text in facts.items()]
        lines.append("")
    lines.append("Lengths in tokens. [All numbers](card.html), [as CSV](card.csv).")
    return ("\n".join(lines) + "\n").encode()


def _cell(text: str) -> str:
    """Text from outside as a piece of a Markdown table."""
    return visible(text).replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def shared_picture(name: str, sentence: str, bars: Sequence[ReachBar], l_train: int) -> bytes:
    """A PNG of 1200 x 630 dots: name, outcome and bars."""
    return png_bytes(draw_shared(name, sentence, bars, l_train), LIGHT)


def draw_shared(name: str, sentence: str, bars: Sequence[ReachBar], l_train: int) -> Figure:
    """See `shared_picture`."""
    figure, (axes,) = new_figure(narrow=False, panels=1, height=1.0)
    figure.set_layout_engine("none")
    figure.set_size_inches(1200 / _DOTS, 630 / _DOTS)
    axes.set_position((0, 0, 1, 1))
    axes.set_xlim(0, 1200)
    axes.set_ylim(630, 0)
    axes.set_axis_off()
    top: dict[str, Any] = {"ha": "left", "va": "top", "color": LIGHT.ink}
    axes.text(60, 46, name[:48], fontsize=15, weight="bold", **top)
    axes.text(60, 100, _wrapped(sentence, 76), fontsize=8.4, **top)
    if bars:
        _draw_bars(axes, bars[:_BARS], ReachAxis(bars, l_train))
    axes.text(60, 596, "Lengthwise report card", fontsize=6.5, color=LIGHT.muted, va="center")
    return figure


def _draw_bars(axes: Axes, bars: Sequence[ReachBar], axis: ReachAxis) -> None:
    left, width, top, step = 330.0, 800.0, 215.0, min(56.0, 330.0 / len(bars))

    def x(tokens: float) -> float:
        return left + width * axis.at(tokens) / 100

    for number, bar in enumerate(bars):
        y = top + step * (number + 0.5)
        axes.text(
            left - 20, y, bar.label[:30], fontsize=7.5, color=LIGHT.ink, ha="right", va="center"
        )
        axes.plot([x(axis.shortest), x(bar.tested)], [y, y], color=LIGHT.muted, linewidth=1)
        for reach, height, alpha in ((bar.holds, 14, 0.35), (bar.useful, 22, 1.0)):
            if reach.tokens is not None:
                begin = x(axis.shortest)
                axes.add_patch(
                    Rectangle(
                        (begin, y - height / 2),
                        x(reach.tokens) - begin,
                        height,
                        color=LIGHT.methods[0],
                        alpha=alpha,
                        linewidth=0,
                        zorder=3,
                    )
                )
    bottom = top + step * len(bars)
    axes.plot([x(axis.l_train)] * 2, [top, bottom], color=LIGHT.ink, linewidth=1.2)
    for tokens in axis.ticks:
        axes.text(x(tokens), bottom + 8, token_count(tokens), fontsize=6.5, color=LIGHT.muted,
                  ha="center", va="top")  # fmt: skip
    key = "solid: useful or solved to; light: holds to; line: tested to; in tokens"
    axes.text(left, 566, key, fontsize=6.2, color=LIGHT.muted, va="center")


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)[:4])
