"""Tasks of retrieval: facts by their key, and the end of chains of facts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from lengthwise.eval.prompts.prompt import Answer, Material, Vocabulary, WordSampler
from lengthwise.eval.prompts.registry import TASKS

CANDIDATES = 4  # the answer and three distractors
SEVERAL = 4  # values of a key, or keys that are asked for
# The haystack without information of Landmark attention's passkey and RULER's noise.
NOISE = ("The grass is green. ", "The sky is blue. ", "The sun is yellow. ", "Here we go. ")


def noise() -> Callable[[], str]:
    sentences = itertools.cycle(NOISE)
    return lambda: next(sentences)


def depths(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    return tuple(np.sort(rng.uniform(size=count)).tolist())


@TASKS.register("passkey", dispersion="low", scope="low")
def passkey(words: Vocabulary) -> Material:
    """One passkey in noise (arXiv 2305.16300)."""
    candidates = words.values(CANDIDATES)
    return Material(
        "Keep the pass key. ",
        (f"The pass key is{candidates[0]}. ",),
        depths(words.rng, 1),
        noise(),
        "The pass key is",
        (Answer(tuple(candidates)),),
        "What stands there as the pass key is",
    )


@TASKS.register("single_key", dispersion="low", scope="low")
def single_key(words: Vocabulary) -> Material:
    """One fact of a named key in noise."""
    return _lookup(words, noise(), facts=1)


@TASKS.register("key_in_prose", dispersion="low", scope="low")
def key_in_prose(words: Vocabulary) -> Material:
    """One fact of a named key in held-out text."""
    return _lookup(words, words.prose, facts=1)


@TASKS.register("code_in_prose", dispersion="low", scope="low")
def code_in_prose(words: Vocabulary) -> Material:
    """One fact with a value of 32 hexadecimal digits in held-out text."""
    return _lookup(words, words.prose, facts=1, values=words.codes)


@TASKS.register("several_keys", dispersion="mid", scope="low")
def several_keys(words: Vocabulary) -> Material:
    """Four facts in held-out text, one of them asked for; the others are the distractors."""
    return _lookup(words, words.prose, facts=CANDIDATES)


@TASKS.register("only_keys", dispersion="high", scope="low")
def only_keys(words: Vocabulary) -> Material:
    """A haystack of facts and nothing else: key-value retrieval."""
    return _lookup(words, _facts(words.keys, words.values), facts=CANDIDATES)


@TASKS.register("only_codes", dispersion="high", scope="low")
def only_codes(words: Vocabulary) -> Material:
    """A haystack of facts whose keys and values have 32 hexadecimal digits."""
    filler = _facts(words.codes, words.codes)
    return _lookup(words, filler, facts=CANDIDATES, keys=words.codes, values=words.codes)


@TASKS.register("several_values", dispersion="mid", scope="mid")
def several_values(words: Vocabulary) -> Material:
    """A key with four values in held-out text, all asked for in their order of appearance."""
    names = words.keys(2)
    values = words.values(2 * SEVERAL)
    mine, others = values[:SEVERAL], values[SEVERAL:]
    needles = [_fact(names[0], value) for value in mine]
    # A key that is not asked for has as many: its values are the distractors.
    order = words.rng.permutation(2 * SEVERAL)
    left, right = iter(needles), iter([_fact(names[1], value) for value in others])
    merged = [next(left) if i < SEVERAL else next(right) for i in order]
    answers = [
        Answer((value, *np.roll(others, -i)[: CANDIDATES - 1].tolist()), "," if i else "")
        for i, value in enumerate(mine)
    ]
    return Material(
        "Keep the codes. ",
        tuple(merged),
        depths(words.rng, len(merged)),
        words.prose,
        f"The codes of{names[0]}, in their order, are",
        tuple(answers),
        f"What stands there as the codes of{names[0]} is",
    )


@TASKS.register("several_queries", dispersion="mid", scope="mid")
def several_queries(words: Vocabulary) -> Material:
    """Four keys of eight in held-out text, all asked for."""
    names, values = words.keys(2 * SEVERAL), words.values(2 * SEVERAL)
    needles = [_fact(*pair) for pair in zip(names, values, strict=True)]
    answers = []
    for i in range(SEVERAL):
        # The values of other keys, asked for or not.
        wrong = [v for j, v in enumerate(values) if j != i]
        picked = words.rng.permutation(len(wrong))[: CANDIDATES - 1]
        answers.append(Answer((values[i], *(wrong[j] for j in picked)), "," if i else ""))
    listed = ",".join(names[:SEVERAL])
    return Material(
        "Keep the codes. ",
        tuple(needles[i] for i in words.rng.permutation(len(needles))),
        depths(words.rng, len(needles)),
        words.prose,
        f"The codes of{listed}, in this order, are",
        tuple(answers),
        f"What stands there as the codes of{listed} is",
    )


@TASKS.register("threading", dispersion="high", scope="mid")
def threading(words: Vocabulary) -> Material:
    """Each fact names the key of the next; three hops from the first (arXiv 2411.05000)."""
    names, ends = words.keys(3), words.keys(CANDIDATES)
    steps = [f"From{a} one goes to" for a in names]
    chain = [f"{step}{b}. " for step, b in zip(steps, [*names[1:], ends[0]], strict=True)]
    # Wrong ends are named as well, so that an end is no answer by standing there.
    others = zip(words.keys(CANDIDATES - 1), ends[1:], strict=True)
    needles = [*chain, *(f"From{other} one goes to{end}. " for other, end in others)]
    return Material(
        "Follow the way. ",
        tuple(needles[i] for i in words.rng.permutation(len(needles))),
        depths(words.rng, len(needles)),
        noise(),
        f"From{names[0]} one goes in three steps to",
        (Answer(tuple(ends)),),
        "".join(chain[:2]) + steps[2],
    )


@TASKS.register("tracing", dispersion="mid", scope="mid")
def tracing(words: Vocabulary) -> Material:
    """Variables that copy each other, four hops from a value; RULER's vt, asked backwards.

    Its value is the first, second, third or fourth to be named, each as often: the chain alone
    would begin early, and the first number that occurs be right more often than not.
    """
    names, candidates = words.keys(5), words.values(CANDIDATES)
    needles = [f"Let{names[0]} be{candidates[0]}. "]
    needles += [f"Let{later} be{earlier}. " for earlier, later in itertools.pairwise(names)]
    keys = words.keys(CANDIDATES - 1)
    others = [f"Let{k} be{value}. " for k, value in zip(keys, candidates[1:], strict=True)]
    before = int(words.rng.integers(CANDIDATES))  # other values that are named before the chain's
    behind = np.sort(before + 1 + words.rng.choice(7 - before, size=4, replace=False))
    at = {before, *behind.tolist()}
    back = "".join(f"{later} is{earlier}," for earlier, later in itertools.pairwise(names))
    # The chain keeps its order, as in a program; the other assignments stand between.
    chain, between = iter(needles), iter(others)
    return Material(
        "Follow the variables. ",
        tuple(next(chain) if i in at else next(between) for i in range(8)),
        depths(words.rng, 8),
        noise(),
        f"The value of{names[-1]} is",
        (Answer(tuple(candidates)),),
        f"Backwards:{back} and{names[0]} is",
    )


def _lookup(
    words: Vocabulary,
    filler: Callable[[], str],
    facts: int,
    keys: WordSampler | None = None,
    values: WordSampler | None = None,
) -> Material:
    names = (keys or words.keys)(facts)
    candidates = (values or words.values)(CANDIDATES)
    needles = [_fact(*pair) for pair in zip(names, candidates, strict=False)]
    return Material(
        "Keep the codes. ",
        tuple(needles[i] for i in words.rng.permutation(facts)),
        depths(words.rng, facts),
        filler,
        f"The code of{names[0]} is",
        (Answer(tuple(candidates)),),
        f"What stands there as the code of{names[0]} is",
    )


def _facts(keys: WordSampler, values: WordSampler) -> Callable[[], str]:
    """A haystack of facts like the one that is asked for."""
    return lambda: _fact(keys(1)[0], values(1)[0])


def _fact(key: str, value: str) -> str:
    return f"The code of{key} is{value}. "
