"""Wording of the results: sentences and table cells."""

from __future__ import annotations

from dataclasses import dataclass

from lengthwise.eval.losses.results import GAIN, SAME_TARGET_NLL, ResultRow, Results
from lengthwise.eval.report.estimate_text import IntervalCell, cell, decimals, number, ratio_text
from lengthwise.eval.report.method_words import (
    PLAIN_NOTE,
    in_sentence,
    method_note,
    method_title,
    part_title,
    parts_of,
)
from lengthwise.eval.report.style import token_count
from lengthwise.eval.statistics.verdicts import UsefulLength, Verdict, useful_by_verdicts


@dataclass(frozen=True)
class LengthRow:
    """A line of the table by length."""

    method: str
    context: str
    ratio: str
    scaling: str
    nll: IntervalCell
    gain: IntervalCell
    reference: bool  # this line is truncation itself


@dataclass(frozen=True)
class MethodRow:
    """A method at the ratios of the headline; useful: its useful length in words."""

    method: str
    useful: str
    cells: list[IntervalCell | None]  # NLL and verdict per headline ratio; None where not tested


def method_notes(results: Results) -> list[tuple[str, str]]:
    """(title, what it does) of every part of the methods, in their order."""
    used = [part for name in method_names(results) for part in parts_of(name)]
    known = [part for part in dict.fromkeys(used) if method_note(part)]
    return [("Plain", PLAIN_NOTE), *((part_title(part), method_note(part)) for part in known)]


def method_names(results: Results) -> list[str]:
    """Methods in the order of the config, the plain model first."""
    return list(dict.fromkeys(row.method for row in results.rows if row.role == "result"))


def best_first(results: Results) -> list[str]:
    """Methods by their gain at the shortest context beyond L_train."""
    gains = [r for r in results.select(metric=GAIN, role="result") if r.context > r.l_train]
    shortest = min(row.context for row in gains)
    at = {row.method: row.value for row in gains if row.context == shortest}
    return sorted(method_names(results), key=lambda name: -at[name])


def highlighted(results: Results, most: int) -> list[str]:
    """Methods that a line chart highlights: the plain model and the best, in their order."""
    best = [name for name in best_first(results) if name != "plain"][: most - 1]
    return [name for name in method_names(results) if name == "plain" or name in best]


def useful_lengths(results: Results) -> dict[str, UsefulLength]:
    """Method -> useful length, from the gains on the report split."""
    gains = results.select(metric=GAIN, role="result")
    return {
        name: useful_by_verdicts(
            {r.context: Verdict(r.verdict) for r in gains if r.method == name and r.verdict},
            gains[0].l_train,
        )
        for name in method_names(results)
    }


def useful_text(useful: UsefulLength, l_train: int) -> str:
    """'512 tokens (4x)', or 'at least ...' where every tested length was useful."""
    if useful.tokens == l_train:
        return f"{token_count(l_train)} tokens (none beyond)"
    least = "at least " if useful.censored else ""
    return f"{least}{token_count(useful.tokens)} tokens ({ratio_text(useful.tokens / l_train)})"


def headline(results: Results) -> list[str]:
    """Outcome in sentences, the most important first."""
    lengths = useful_lengths(results)
    gains = results.select(metric=GAIN, role="result")
    l_train = gains[0].l_train
    longest = max(row.context for row in gains)
    reached = max(length.tokens for length in lengths.values())
    if reached == l_train:
        first = (
            f"Trained on sequences of up to {token_count(l_train)} tokens, the model gains nothing "
            f"detectable from context beyond them, however it is run: the useful length is "
            f"{token_count(l_train)} tokens."
        )
    else:
        best = [name for name, length in lengths.items() if length.tokens == reached]
        methods = _listed([in_sentence(name) for name in best])
        censored = ", the longest tested" if lengths[best[0]].censored else ""
        first = (
            f"Trained on sequences of up to {token_count(l_train)} tokens, the model makes use of "
            f"context up to {token_count(reached)} tokens{censored} "
            f"({ratio_text(reached / l_train)}), {methods} (the best of {len(lengths)} ways of "
            "running it; each is tested by itself, without a correction for the choice)."
        )
    return [first, *_plain_sentences([r for r in gains if r.method == "plain"], longest)]


def _plain_sentences(gains: list[ResultRow], longest: int) -> list[str]:
    """What happens to the model as trained, at twice its length and at the longest."""
    beyond = [r for r in gains if r.verdict]
    at_two = [r for r in beyond if r.ratio == 2]
    last = [r for r in beyond if r.context == longest and r.ratio != 2]
    return [_compared(row) for row in at_two + last]


def _compared(gain: ResultRow) -> str:
    subject = f"Run as it is at {ratio_text(gain.ratio)} the training length, it"
    if gain.verdict == Verdict.NO_DIFFERENCE:
        shown = cell(gain)
        return (
            f"{subject} shows no difference detectable from truncation "
            f"(gain {shown.value} {shown.interval} nats/token)."
        )
    ends = sorted((abs(gain.low), abs(gain.high)))
    places = decimals(gain.low, gain.high)
    amount, low, high = (number(x, places) for x in (abs(gain.value), *ends))
    does = "beats truncation" if gain.verdict == Verdict.USEFUL else "is worse than truncation"
    return f"{subject} {does} by {amount} [{low}, {high}] nats/token."


def headline_table(results: Results, ratios: tuple[float, ...]) -> list[MethodRow]:
    """Methods against ratios: NLL with interval, and the verdict against truncation."""
    rows = []
    for name, useful in useful_lengths(results).items():
        cells: list[IntervalCell | None] = []
        for ratio in ratios:
            nll = results.select(metric=SAME_TARGET_NLL, role="result", method=name, ratio=ratio)
            gain = results.select(metric=GAIN, role="result", method=name, ratio=ratio)
            cells.append(cell(nll[0], verdict=gain[0].verdict) if nll else None)
        l_train = results.rows[0].l_train
        rows.append(MethodRow(method_title(name), useful_text(useful, l_train), cells))
    return rows


def length_table(results: Results) -> list[LengthRow]:
    """Every method at every context, with truncation marked; in range only the plain model,
    which all methods are there."""
    rows = []
    for name in useful_lengths(results):
        for nll in results.select(metric=SAME_TARGET_NLL, role="result", method=name):
            if name != "plain" and nll.context <= nll.l_train:
                continue
            (gain,) = results.select(metric=GAIN, role="result", method=name, context=nll.context)
            rows.append(
                LengthRow(
                    method=method_title(name),
                    context=token_count(nll.context),
                    ratio=ratio_text(nll.ratio),
                    scaling=how(nll),
                    nll=cell(nll),
                    gain=cell(gain),
                    reference=name == "plain" and nll.context == nll.l_train,
                )
            )
    return rows


def how(row: ResultRow) -> str:
    """Scaling factor, distances and mask where they differ from the plain model's."""
    parts = []
    if row.factor != 1:
        parts.append(f"factor {row.factor:g}")
    if row.positions:
        parts.append(row.positions)
    if row.mask != "causal":
        parts.append(row.mask)
    return ", ".join(parts)


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " or " + items[-1]
