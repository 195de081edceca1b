"""SCAN: navigation commands to sequences of actions (Lake and Baroni 2018, arXiv 1711.00350).

All 20,910 commands of the grammar are listed once; a problem is one of those of its length.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import as_batch, sizes
from lengthwise.data.tasks.task import Problems, Task

_ACTIONS = {"walk": "WALK", "look": "LOOK", "run": "RUN", "jump": "JUMP"}
_WORDS = (
    *_ACTIONS, "turn", "left", "right", "opposite", "around", "twice", "thrice", "and", "after",
)  # fmt: skip
_ALPHABET = (*_WORDS, *_ACTIONS.values(), "LEFT", "RIGHT")
_LONGEST = 48


def _directed(verb: str, direction: str, manner: str) -> list[str]:
    """Actions of "verb manner direction"."""
    turn, act = direction.upper(), [] if verb == "turn" else [_ACTIONS[verb]]
    if manner == "opposite":
        return [turn, turn, *act]
    return [turn, *act] * (4 if manner == "around" else 1)


def _phrases() -> list[tuple[list[str], list[str]]]:
    """(words, actions) of all phrases that "and" and "after" join."""
    single: list[tuple[list[str], list[str]]] = [([v], [a]) for v, a in _ACTIONS.items()]
    for verb, manner, direction in itertools.product(
        (*_ACTIONS, "turn"), ("", "opposite", "around"), ("left", "right")
    ):
        words = [verb, *([manner] if manner else []), direction]
        single.append((words, _directed(verb, direction, manner)))
    repeated = [
        ([*words, word], actions * times)
        for words, actions in single
        for word, times in (("twice", 2), ("thrice", 3))
    ]
    return single + repeated


def _missing() -> frozenset[int]:
    """Numbers of actions that no command has."""
    alone = {len(actions) for _, actions in _phrases()}
    joined = {a + b for a in alone for b in alone}
    return frozenset(range(1, _LONGEST)) - alone - joined


@dataclass(frozen=True)
class _Commands:
    """All commands by ascending number of actions."""

    prompt: np.ndarray  # int32 [C, W]
    answer: np.ndarray  # int32 [C, V]
    length: np.ndarray  # int64 [C]


@functools.cache
def _commands() -> _Commands:
    phrases = _phrases()
    commands = list(phrases)
    for (a_words, a), (b_words, b) in itertools.product(phrases, phrases):
        commands.append(([*a_words, "and", *b_words], a + b))
        commands.append(([*a_words, "after", *b_words], b + a))
    number = {symbol: i for i, symbol in enumerate(_ALPHABET)}
    prompt = as_batch([[number[s] for s in words] for words, _ in commands])
    answer = as_batch([[number[s] for s in actions] for _, actions in commands])
    length = sizes(answer)
    order = np.argsort(length, kind="stable")
    return _Commands(prompt[order], answer[order], length[order])


def _make(draws: Draws, length_N: np.ndarray) -> Problems:
    commands = _commands()
    # A length that no command has stands for the next one below it that some have.
    last_N = np.searchsorted(commands.length, length_N, side="right")
    first_N = np.searchsorted(commands.length, commands.length[last_N - 1], side="left")
    chosen_N = first_N + draws.one("command", last_N - first_N)
    return Problems(commands.prompt[chosen_N], commands.answer[chosen_N])


def _solve(prompt: list[str]) -> list[str]:
    for joint in ("and", "after"):
        if joint in prompt:
            place = prompt.index(joint)
            first, second = _solve(prompt[:place]), _solve(prompt[place + 1 :])
            return first + second if joint == "and" else second + first
    times = {"twice": 2, "thrice": 3}.get(prompt[-1], 1)
    verb, *rest = prompt if times == 1 else prompt[:-1]
    if not rest:
        return [verb.upper()] * times
    turn, act = rest[-1].upper(), [] if verb == "turn" else [verb.upper()]
    manner = {"opposite": [turn, turn, *act], "around": [turn, *act] * 4}
    return manner.get(rest[0], [turn, *act]) * times


TASKS = (
    Task(
        name="scan",
        summary="a command in words -> its actions; all 20,910 commands of the grammar",
        alphabet=_ALPHABET,
        length="actions of the answer; where no command has so many, the next fewer",
        level="finite",
        rasp_l=None,
        make=_make,
        solve=_solve,
        max_length=_LONGEST,
        missing=_missing(),
        source="Lake and Baroni 2018, arXiv 1711.00350",
    ),
)
