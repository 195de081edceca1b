"""Tasks of aggregation: answers follow from counts over all of a long input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.eval.prompts.prompt import Answer, Material, Vocabulary
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.prompts.tasks.lookups import CANDIDATES, depths

ODDS = (9, 4, 2, 1)
TEN_TO_ONE = (10, 1, 1, 1)


@TASKS.register("common_word", dispersion="low", scope="high", aggregates=True)
def common_word(words: Vocabulary) -> Material:
    """One word ten times as frequent as the others, at any length; after RULER's cwe."""
    return _most_frequent(words, TEN_TO_ONE, lambda: words.keys(7))


@TASKS.register("frequent_word", dispersion="low", scope="high", aggregates=True)
def frequent_word(words: Vocabulary) -> Material:
    """Words at odds of 9 : 4 : 2 : 1 in one block after the other; after RULER's fwe."""
    return _most_frequent(words, ODDS, list)


def _most_frequent(
    words: Vocabulary, counts: Sequence[int], more: Callable[[], list[str]]
) -> Material:
    names = words.keys(CANDIDATES)
    first, blocks = _counted(words.rng, names, counts, "{}", more)
    return Material(
        "Count the words:",
        (first,),
        (0.0,),
        blocks,
        ". The most frequent word is",
        (Answer(tuple(names)),),
        f"{_counts(words.rng, names, counts)}. So the most frequent word is",
    )


@TASKS.register("survey", dispersion="high", scope="high", aggregates=True)
def survey(words: Vocabulary) -> Material:
    """Place where most people live, a sentence a person: an aggregate over all of the input."""
    places = words.keys(CANDIDATES)
    first, more = _counted(words.rng, places, ODDS, "One lives in{}. ", list)
    return Material(
        "",
        (first,),
        (0.0,),
        more,
        "Most live in",
        (Answer(tuple(places)),),
        f"{_counts(words.rng, places, ODDS)}. So most live in",
    )


@TASKS.register("joined_survey", dispersion="high", scope="high", aggregates=True)
def joined_survey(words: Vocabulary) -> Material:
    """Number of the place where most people live: places have theirs in sentences of their own,
    spread over the input."""
    places, numbers = words.keys(CANDIDATES), words.values(CANDIDATES)
    first, more = _counted(words.rng, places, ODDS, "One lives in{}. ", list)
    named = [f"The number of{p} is{n}. " for p, n in zip(places, numbers, strict=True)]
    return Material(
        "",
        (first, *(named[i] for i in words.rng.permutation(CANDIDATES))),
        (0.0, *depths(words.rng, CANDIDATES)),
        more,
        "Most live in the place of number",
        (Answer(tuple(numbers)),),
        f"Most live in{places[0]}. The number of{places[0]} is",
    )


def _counts(rng: np.random.Generator, names: Sequence[str], counts: Sequence[int]) -> str:
    """The counts of the first block, in random order: no place in the list gives the answer."""
    order = rng.permutation(len(names))
    return "At first" + ",".join(f"{names[i]} {counts[i]} times" for i in order)


def _counted(
    rng: np.random.Generator,
    words: Sequence[str],
    counts: Sequence[int],
    sentence: str,
    more: Callable[[], list[str]],
) -> tuple[str, Callable[[], str]]:
    """A block of sentences in random order, and the sentences of more such blocks.

    The counts keep their ratios as the input grows. The first block is a needle, so that it is
    always whole: a cut one behind it can't make another word the most frequent, since
    counts[1] * 2 < counts[0].
    """

    def block() -> list[str]:
        block_words = [
            w for w, count in zip(words, counts, strict=True) for _ in range(count)
        ] + more()
        return [sentence.format(block_words[i]) for i in rng.permutation(len(block_words))]

    stream = itertools.chain.from_iterable(block() for _ in itertools.count())
    return "".join(block()), lambda: next(stream)
