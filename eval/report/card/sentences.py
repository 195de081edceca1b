"""The card's outcome in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from lengthwise.eval.card.card import Card, CardEntry
from lengthwise.eval.card.judgement import Judgement
from lengthwise.eval.card.lengths import ABSOLUTE
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.report.card.wording import reach_text, times
from lengthwise.eval.report.estimate_text import decimals, number
from lengthwise.eval.report.method_words import in_sentence
from lengthwise.eval.report.style import token_count
from lengthwise.eval.statistics.reach import Reach


def sentences(card: Card) -> list[str]:
    """Outcome of the first entry, then of the comparisons, the most important first."""
    entry = card.first
    outcome = [*_loss_sentences(entry), *_task_sentences(entry)]
    outcome += [_comparison_sentence(card, other) for other in card.entries[1:]]
    return outcome or ["No score of this card reaches a length that it could be judged by."]


def _loss_sentences(entry: CardEntry) -> list[str]:
    losses = [
        (each, each.useful)
        for each in entry.judgements
        if each.useful is not None and not each.is_task
    ]
    if not losses:
        return []
    losses = [pair for pair in losses if pair[0].curve.scorer == losses[0][0].curve.scorer]
    plain = next((pair for pair in losses if pair[0].curve.method == PLAIN), losses[0])
    used, held = _up_to(plain[1], entry.l_train), _up_to(plain[0].holds, entry.l_train)
    does = (
        f"makes use of context, and keeps its loss, {used}"
        if used == held
        else f"makes use of context {used}, and keeps its loss {held}"
    )
    outcome = [
        f"Trained on up to {token_count(entry.l_train)} tokens and run as it is, "
        f"{entry.contestant.claim} {does}."
    ]
    shorter = [
        n
        for n, gain in zip(plain[0].lengths, plain[0].judged, strict=True)
        if n < entry.l_train and gain.low > 0
    ]
    if shorter:
        outcome.append(
            f"With {token_count(shorter[0])} tokens of context its loss on the same targets is "
            "lower than with its training length: it has not learned to use the text further back."
        )
    outcome += [_best_sentence(entry, plain, losses), _longest_sentence(entry, plain[0])]
    return [sentence for sentence in outcome if sentence]


def _best_sentence(
    entry: CardEntry,
    plain: tuple[Judgement, Reach],
    losses: Sequence[tuple[Judgement, Reach]],
) -> str:
    """Which other method makes use of most context, or keeps the loss longest; empty: none does."""
    ways = f"Of {len(losses)} ways to run it"
    best, useful = max(losses, key=lambda pair: pair[1].tokens or 0)
    if (useful.tokens or 0) > (plain[1].tokens or 0):
        return (
            f"{ways}, that {in_sentence(best.curve.method)} makes use of most context, "
            f"{_up_to(useful, entry.l_train)}: --config.generate.method={best.curve.method}."
        )
    keeps, _ = max(losses, key=lambda pair: pair[0].holds.tokens or 0)
    if (keeps.holds.tokens or 0) > (plain[0].holds.tokens or 0):
        return (
            f"{ways}, none makes use of more; that {in_sentence(keeps.curve.method)} keeps its "
            f"loss longest, {_up_to(keeps.holds, entry.l_train)}."
        )
    return ""


def _longest_sentence(entry: CardEntry, plain: Judgement) -> str:
    """What the longest tested context does to the plain model; empty: none is longer."""
    length, gain = plain.lengths[-1], plain.judged[-1]
    if length <= entry.l_train:
        return ""
    more = f"{token_count(length)} tokens of context ({times(length / entry.l_train)})"
    subject = f"Run as it is with {more}, it"
    truncation = f"truncation, the same model shown the last {token_count(entry.l_train)} tokens"
    ends = sorted((abs(gain.low), abs(gain.high)))
    places = decimals(gain.low, gain.high)
    amount, low, high = (number(x, places) for x in (abs(gain.value), *ends))
    if gain.low > 0:
        return f"{subject} gains {amount} [{low}, {high}] nats/token over {truncation}."
    if gain.high < 0:
        return f"{subject} loses {amount} [{low}, {high}] nats/token to {truncation}."
    return f"{subject} can't be told from {truncation}."


def _up_to(reach: Reach, l_train: int) -> str:
    """Text of a reach that begins at L_train."""
    if reach.tokens is None:
        return "not even up to its training length"
    if reach.tokens == l_train:
        return "up to its training length alone"
    return f"up to {reach_text(reach)} tokens ({times(reach.tokens / l_train)})"


def _task_sentences(entry: CardEntry) -> list[str]:
    tasks = [each for each in entry.judgements if each.is_task]
    if not tasks:
        return []
    counts = (
        sum(_above_chance(each, entry.l_train) for each in tasks),
        sum(each.judged[-1].low > 0 for each in tasks if each.lengths[-1] > entry.l_train),
        sum(each.useful is not None and each.useful.tokens is not None for each in tasks),
    )
    above, far, solved = (str(n) if n else "none" for n in counts)
    return [
        f"Of {len(tasks)} tasks it is above chance at {above} within its training length and at "
        f"{far} at the longest tested length; it solves {solved} "
        f"({100 * ABSOLUTE:g} % of the way from chance to perfect) at the shortest."
    ]


def _above_chance(each: Judgement, l_train: int) -> bool:
    """Whether it is above chance at some tested length within L_train."""
    within = [k for k, length in enumerate(each.lengths) if length <= l_train]
    return any(each.judged[k].low > 0 for k in within)


def _comparison_sentence(card: Card, other: CardEntry) -> str:
    mine = [c for c in card.comparisons if c.second == other.contestant.name]
    last = [c.outcomes[-1] for c in mine]
    counts = ", ".join(f"{last.count(outcome)} {outcome}" for outcome in dict.fromkeys(last))
    return (
        f"Beside {card.first.contestant.name}, {other.contestant.name} is, at the longest length "
        f"of each of {len(mine)} scores: {counts}."
    )
