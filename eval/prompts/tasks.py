"""The tasks by name: lookups, chains of lookups, and counts over all of the input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from eval.prompts.prompt import Draw, Material, PromptTask

CANDIDATES = 4  # the answer and three distractors
ODDS = (9, 4, 2, 1)
# The haystack without information of Landmark attention's passkey and RULER's noise.
NOISE = ("The grass is green. ", "The sky is blue. ", "The sun is yellow. ", "Here we go. ")


def _noise() -> Callable[[], str]:
    sentences = itertools.cycle(NOISE)
    return lambda: next(sentences)


def _statements(keys: Draw, values: Draw) -> Callable[[], str]:
    """A haystack of facts like the one that is asked for."""
    return lambda: _fact(keys(1)[0], values(1)[0])


def _fact(key: str, value: str) -> str:
    return f"The code of{key} is{value}. "


def passkey(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """One number in noise (arXiv 2305.16300)."""
    candidates = values(CANDIDATES)
    needle = f"The pass key is{candidates[0]}. "
    depth = (rng.uniform(),)
    return Material(
        "Keep the pass key. ", (needle,), depth, _noise(), "The pass key is", tuple(candidates)
    )


def single_key(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """One fact of a named key in noise; RULER's niah_single_1."""
    return _lookup(rng, keys, values, facts=1, filler=_noise())


def several_keys(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """Four facts in noise, one of them asked for; the others are the distractors."""
    return _lookup(rng, keys, values, facts=CANDIDATES, filler=_noise())


def only_keys(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """A haystack of facts and nothing else: key-value retrieval, RULER's niah_multikey_2."""
    return _lookup(rng, keys, values, facts=CANDIDATES, filler=_statements(keys, values))


def _lookup(
    rng: np.random.Generator, keys: Draw, values: Draw, facts: int, filler: Callable[[], str]
) -> Material:
    names, candidates = keys(facts), values(CANDIDATES)
    needles = [_fact(*pair) for pair in zip(names, candidates, strict=False)]
    return Material(
        "Keep the codes. ",
        tuple(needles[i] for i in rng.permutation(facts)),
        _depths(rng, facts),
        filler,
        f"The code of{names[0]} is",
        tuple(candidates),
    )


def threading(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """Each fact names the key of the next; three hops from the first (arXiv 2411.05000)."""
    names, ends = keys(3), keys(CANDIDATES)
    chain = [*names, ends[0]]
    needles = [f"From{a} one goes to{b}. " for a, b in itertools.pairwise(chain)]
    # Wrong ends are named as well, so that an end is no answer by standing there.
    needles += [
        f"From{other} one goes to{end}. " for other, end in zip(keys(3), ends[1:], strict=True)
    ]
    return Material(
        "Follow the way. ",
        tuple(needles[i] for i in rng.permutation(len(needles))),
        _depths(rng, len(needles)),
        _noise(),
        f"From{names[0]} one goes in three steps to",
        tuple(ends),
    )


def tracing(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """Variables that copy each other, four hops from a value; RULER's vt, asked backwards."""
    names, candidates = keys(5), values(CANDIDATES)
    needles = [f"Let{names[0]} be{candidates[0]}. "]
    needles += [f"Let{later} be{earlier}. " for earlier, later in itertools.pairwise(names)]
    others = [f"Let{key} be{value}. " for key, value in zip(keys(3), candidates[1:], strict=True)]
    at = sorted(rng.choice(8, size=5, replace=False))
    # The chain keeps its order, as in a program; the other assignments stand between.
    merged = [needles.pop(0) if i in at else others.pop(0) for i in range(8)]
    return Material(
        "Follow the variables. ",
        tuple(merged),
        _depths(rng, 8),
        _noise(),
        f"The value of{names[-1]} is",
        tuple(candidates),
    )


def common_word(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """The word that stands ten times as often as others, at any length; after RULER's cwe."""
    words = keys(CANDIDATES)
    first, more = _counted(rng, words, (10, 1, 1, 1), "{}", lambda: keys(7))
    question = ". The most frequent word is"
    return Material("Count the words:", (first,), (0.0,), more, question, tuple(words))


def frequent_word(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """Words at odds of 9 : 4 : 2 : 1 in one block after the other; after RULER's fwe."""
    words = keys(CANDIDATES)
    first, more = _counted(rng, words, ODDS, "{}", list)
    question = ". The most frequent word is"
    return Material("Count the words:", (first,), (0.0,), more, question, tuple(words))


def survey(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """Where most people live, of whom each has a sentence: an aggregate over all of the input."""
    places = keys(CANDIDATES)
    first, more = _counted(rng, places, ODDS, "One lives in{}. ", list)
    return Material("", (first,), (0.0,), more, "Most live in", tuple(places))


def joined_survey(rng: np.random.Generator, keys: Draw, values: Draw) -> Material:
    """The number of the place where most people live: places have theirs in sentences of their own,
    spread over the input."""
    places, numbers = keys(CANDIDATES), values(CANDIDATES)
    first, more = _counted(rng, places, ODDS, "One lives in{}. ", list)
    named = [f"The number of{p} is{n}. " for p, n in zip(places, numbers, strict=True)]
    return Material(
        "",
        (first, *(named[i] for i in rng.permutation(CANDIDATES))),
        (0.0, *_depths(rng, CANDIDATES)),
        more,
        "Most live in the place of number",
        tuple(numbers),
    )


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
        held = [w for w, count in zip(words, counts, strict=True) for _ in range(count)] + more()
        return [sentence.format(held[i]) for i in rng.permutation(len(held))]

    stream = itertools.chain.from_iterable(block() for _ in itertools.count())
    return "".join(block()), lambda: next(stream)


def _depths(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    return tuple(np.sort(rng.uniform(size=count)).tolist())


TASKS = {
    task.name: task
    for task in (
        PromptTask("passkey", "low", "low", passkey),
        PromptTask("single_key", "low", "low", single_key),
        PromptTask("several_keys", "mid", "low", several_keys),
        PromptTask("only_keys", "high", "low", only_keys),
        PromptTask("threading", "high", "mid", threading),
        PromptTask("tracing", "mid", "mid", tracing),
        PromptTask("common_word", "low", "high", common_word, aggregates=True),
        PromptTask("frequent_word", "low", "high", frequent_word, aggregates=True),
        PromptTask("survey", "high", "high", survey, aggregates=True),
        PromptTask("joined_survey", "high", "high", joined_survey, aggregates=True),
    )
}
