"""The picture on top of the card: how far each method and task reaches, a bar each on a log axis.

Drawn in places that are shares of the width, with the colors of the page: one drawing for phone and
laptop, light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from lengthwise.eval.card.card import CardEntry
from lengthwise.eval.card.judgement import Judgement
from lengthwise.eval.report.card.wording import reach_text, title
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.style import token_count
from lengthwise.eval.statistics.reach import Reach

_LEFT, _RIGHT = 1.0, 98.0  # percent of the width, shortest and longest tested length
_TICKS = 6  # at most, beside that of the training length


@dataclass(frozen=True)
class ReachBar:
    """One bar. Lengths in tokens."""

    label: str
    useful: Reach  # of a task: solved
    holds: Reach
    interval: tuple[float, float] | None  # of the fitted length up to which it holds
    is_task: bool
    shortest: int  # tested

    @property
    def tested(self) -> int:
        return self.holds.longest

    @property
    def words(self) -> str:
        """What the bar shows."""
        use = "solved to" if self.is_task else "useful to"
        return f"{use} {reach_text(self.useful)}, holds to {reach_text(self.holds)}"


def reach_bars(entry: CardEntry) -> list[ReachBar]:
    """Bars of the methods of the main loss, then of the tasks, as they stand on the card."""
    losses = [each for each in entry.judgements if each.useful is not None and not each.is_task]
    losses = [each for each in losses if each.curve.scorer == losses[0].curve.scorer]
    tasks = [each for each in entry.judgements if each.useful is not None and each.is_task]
    bars = [_bar(each, method_title(each.curve.method)) for each in losses]
    return bars + [_bar(each, title(each.curve.scorer)) for each in tasks]


def _bar(each: Judgement, label: str) -> ReachBar:
    assert each.useful is not None
    return ReachBar(label, each.useful, each.holds, _interval(each), each.is_task, each.lengths[0])


def _interval(each: Judgement) -> tuple[float, float] | None:
    """Ends of the fitted length's interval, cut at the tested lengths; None: there is no fit."""
    if each.holds_fit is None:
        return None
    outside = {"below": float(each.lengths[0]), "above": float(each.lengths[-1])}
    low, high = (
        outside[point.censored] if point.tokens is None else point.tokens
        for point in (each.holds_fit.low, each.holds_fit.high)
    )
    return low, high


class ReachAxis:
    """A logarithmic axis over all tested lengths, in percent of the width."""

    def __init__(self, bars: Sequence[ReachBar], l_train: int):
        lengths = [n for bar in bars for n in (bar.shortest, bar.tested)]
        self.l_train = l_train
        self.shortest, self.longest = min([*lengths, l_train]), max([*lengths, l_train])

    def at(self, tokens: float) -> float:
        """Place of a length."""
        if self.shortest == self.longest:
            return _RIGHT
        share = math.log(tokens / self.shortest) / math.log(self.longest / self.shortest)
        return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)

    @property
    def ticks(self) -> list[int]:
        """The training length, and lengths that are it times powers of two, thinned out."""
        first = math.ceil(math.log2(self.shortest / self.l_train) - 1e-9)
        last = math.floor(math.log2(self.longest / self.l_train) + 1e-9)
        every = max(1, -(-(last - first + 1) // _TICKS))
        steps = {*range(0, last + 1, every), *range(0, first - 1, -every)}
        return [round(self.l_train * 2.0**step) for step in sorted(steps)]


def bar_svg(bar: ReachBar, axis: ReachAxis) -> Markup:
    """One bar as SVG for inside of the page."""
    start, l_train = axis.at(axis.shortest), axis.at(axis.l_train)
    parts = [_line("tested", start, axis.at(bar.tested), 11)]
    for kind, reach in (("holds", bar.holds), ("useful", bar.useful)):
        if reach.tokens is not None:
            parts.append(_block(kind, start, axis.at(reach.tokens)))
    if bar.interval is not None:
        low, high = map(axis.at, bar.interval)
        parts.append(_line("interval", low, high, 19))
        parts += [_line("interval", x, x, 16, 22) for x in (low, high)]
    parts.append(_line("trained", l_train, l_train, 0, 22))
    told = escape(f"{bar.label}: {bar.words} of {token_count(bar.tested)} tokens tested")
    return Markup(
        '<svg class="reach" width="100%" height="22" role="img" aria-label="{0}">'
        "<title>{0}</title>{1}</svg>"
    ).format(told, Markup("").join(parts))


def axis_svg(axis: ReachAxis) -> Markup:
    """The axis below the bars as SVG for inside of the page."""
    parts = []
    for tokens in axis.ticks:
        x = axis.at(tokens)
        anchor = "start" if x < 6 else "end" if x > 94 else "middle"
        kind = "tick at" if tokens == axis.l_train else "tick"
        parts.append(_line("trained" if tokens == axis.l_train else "tested", x, x, 0, 5))
        parts.append(
            Markup('<text class="{}" x="{:.2f}%" y="18" text-anchor="{}">{}</text>').format(
                kind, x, anchor, token_count(tokens)
            )
        )
    return Markup('<svg class="reach" width="100%" height="22" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def _line(kind: str, x1: float, x2: float, y1: float, y2: float | None = None) -> Markup:
    return Markup('<line class="{}" x1="{:.2f}%" x2="{:.2f}%" y1="{:g}" y2="{:g}"/>').format(
        kind, x1, x2, y1, y1 if y2 is None else y2
    )


def _block(kind: str, x1: float, x2: float) -> Markup:
    y, height = (6, 10) if kind == "holds" else (3, 16)
    return Markup(
        '<rect class="{}" x="{:.2f}%" width="{:.2f}%" y="{}" height="{}" rx="2"/>'
    ).format(kind, x1, x2 - x1, y, height)
