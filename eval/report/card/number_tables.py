"""Tables of all numbers of a card, without the columns that nothing stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lengthwise.eval.card.card import CardEntry
from lengthwise.eval.card.lengths import ABSOLUTE, RELATIVE, SAFE_NATS
from lengthwise.eval.report.card.wording import (
    GROUPS,
    crossing_text,
    drops_text,
    headline_rows,
    share_cell,
    title,
)
from lengthwise.eval.report.estimate_text import IntervalCell, decimals, number
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.style import token_count
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.curves import Group

EMPTY = IntervalCell("", "", "")


@dataclass(frozen=True)
class Column:
    """One column. tip: its definition."""

    head: str
    tip: str
    cells: Sequence[IntervalCell]


@dataclass(frozen=True)
class NumberTable:
    """A table. rows: (name, how it was run), or a name alone for a heading between rows."""

    rows: Sequence[tuple[str, str]]
    columns: Sequence[Column]


def _table(rows: Sequence[tuple[str, str]], columns: Sequence[Column]) -> NumberTable:
    return NumberTable(rows, [each for each in columns if any(cell.value for cell in each.cells)])


def _text(value: str) -> IntervalCell:
    return IntervalCell(value, "", "")


def score_table(entry: CardEntry) -> NumberTable:
    """Scores and lengths by lower bounds, of every primary curve."""
    grouped = headline_rows(entry)
    found = [row for rows in grouped.values() for row in rows]
    losses = set(map(id, grouped.get(GROUPS[Group.LANGUAGE], ())))
    p95 = token_count(entry.contestant.first.length_p95)
    return _table(
        [(row.title, row.detail) for row in found],
        [
            Column(
                f"At {token_count(entry.l_train)}",
                "score at the training length",
                [row.short or EMPTY for row in found],
            ),
            Column("At the longest", "longest tested length", [row.long for row in found]),
            Column(
                "Holds to",
                f"the longest tested length such that it and every shorter one keep "
                f"{100 * RELATIVE:g} % of the score at the shortest (tasks), or stay within "
                f"{SAFE_NATS} nats/token of the plain model at the training length (losses); by "
                "lower bounds",
                [_text(row.holds) for row in found],
            ),
            Column(
                "Useful to",
                "a loss surely below truncation to the training length",
                [_text(row.useful if id(row) in losses else "") for row in found],
            ),
            Column(
                "Solved to",
                f"{100 * ABSOLUTE:g} % of the way from chance to perfect, by lower bounds",
                [_text("" if id(row) in losses else row.useful) for row in found],
            ),
            Column(
                "Ratios",
                f"what holds over the training length ({token_count(entry.l_train)}) and over the "
                f"length below which 95 % of the trained tokens lie ({p95})",
                [_text(row.ratios) for row in found],
            ),
            Column(
                "Retention",
                "the mean score a doubling beyond the training length over that within it, "
                "corrected for chance",
                [_text(row.retention) for row in found],
            ),
        ],
    )


def fitted_table(entry: CardEntry) -> NumberTable:
    """Lengths by a monotone fit, areas and sudden drops, of every primary curve."""
    found = entry.judgements

    def area(part: str) -> list[IntervalCell]:
        estimates: list[Estimate | None] = [
            getattr(each.areas, part) if each.areas else None for each in found
        ]
        return [EMPTY if each is None else share_cell(each) for each in estimates]

    return _table(
        [(title(each.curve.scorer), method_title(each.curve.method)) for each in found],
        [
            Column(
                "Units",
                "documents or prompts, near-duplicates counted once",
                [_text(f"{len(each.curve.clusters_N):,}") for each in found],
            ),
            Column(
                "Holds to, fitted",
                "where the best curve that never rises with length crosses the threshold, between "
                "tested lengths",
                [
                    _text(crossing_text(each.holds_fit, each.lengths)) if each.holds_fit else EMPTY
                    for each in found
                ],
            ),
            Column(
                "Solved to, fitted",
                "as the column before",
                [
                    _text(crossing_text(each.useful_fit, each.lengths))
                    if each.useful_fit
                    else EMPTY
                    for each in found
                ],
            ),
            Column("Area within", "mean score over log2 of the length", area("within")),
            Column("Area beyond", "the same beyond the training length", area("beyond")),
            Column(
                "Sudden drops",
                "where the length grows by half, or by the least tested step above that, and the "
                "score falls by more than its interval",
                [_text(drops_text(each.drops)) for each in found],
            ),
        ],
    )


def truncation_table(entry: CardEntry) -> tuple[list[int], list[tuple[str, list[IntervalCell]]]]:
    """(lengths beyond L_train, by method of the main loss its gains over truncation there)."""
    losses = [each for each in entry.judgements if each.useful is not None and not each.is_task]
    losses = [each for each in losses if each.curve.scorer == losses[0].curve.scorer]
    lengths = sorted({n for each in losses for n in each.lengths if n > entry.l_train})
    return lengths, [
        (
            method_title(each.curve.method),
            [
                _gain(each.judged[each.lengths.index(n)]) if n in each.lengths else EMPTY
                for n in lengths
            ],
        )
        for each in losses
    ]


def _gain(gain: Estimate) -> IntervalCell:
    places = decimals(gain.low, gain.high)
    value, low, high = (number(x, places, signed=True) for x in (gain.value, gain.low, gain.high))
    said = "better" if gain.low > 0 else "worse" if gain.high < 0 else "no difference detectable"
    return IntervalCell(value, f"[{low}, {high}]", said)
