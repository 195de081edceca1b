"""Nested edits of strings, in the manner of PCFG SET (Hupkes et al. 2020, arXiv 1908.08351).

A problem is f_1 f_2 ... f_n w: the innermost function stands next to the string. The second
argument of append and prepend is a string of its own, behind a comma, the innermost function's
first. The function `repeat` is left out: answers would grow as 2^n.
"""

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, join, masked, squeeze, take
from lengthwise.data.tasks.task import Problems, Task

_FUNCTIONS = ("copy", "reverse", "shift", "swap", "echo", "append", "prepend")
_COPY, _REVERSE, _SHIFT, _SWAP, _ECHO, _APPEND, _PREPEND = range(len(_FUNCTIONS))
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ALPHABET = (*_FUNCTIONS, *_LETTERS, ",")
_COMMA = len(_ALPHABET) - 1
_LONGEST = 5  # letters of a string


def _strings(draws: Draws, use: str, count: int) -> np.ndarray:
    """Strings of 1 to 5 letters; int32 [N, count, 5]."""
    size = 1 + draws.below(f"{use} size", _LONGEST, count)
    letters = draws.below(f"{use} letters", len(_LETTERS), count * _LONGEST)
    letters = letters.reshape(len(draws), count, _LONGEST) + len(_FUNCTIONS)
    return np.where(np.arange(_LONGEST) < size[:, :, None], letters, NONE).astype(np.int32)


def _make(draws: Draws, length_N: np.ndarray) -> Problems:
    width = int(length_N.max(initial=0))
    # Function and argument 0 are the innermost.
    function = masked(draws.below("functions", len(_FUNCTIONS), width), length_N)
    arguments = _strings(draws, "argument", width)
    arguments[function < _APPEND] = NONE
    base = _strings(draws, "base", 1)[:, 0]
    answer = squeeze(base)
    for place in range(width):
        live = np.flatnonzero(length_N > place)
        edited = _edit(function[live, place], answer[live], arguments[live, place])
        wider = max(0, edited.shape[1] - answer.shape[1])
        answer = np.pad(answer, ((0, 0), (0, wider)), constant_values=NONE)
        answer[live] = NONE
        answer[live, : edited.shape[1]] = edited
    answer = squeeze(answer)
    places = length_N[:, None] - 1 - np.arange(width)
    commas = np.where(function >= _APPEND, _COMMA, NONE).astype(np.int32)
    behind = np.concatenate([commas[:, :, None], arguments], axis=2)
    prompt = join(take(function, places), base, behind.reshape(len(base), -1))
    return Problems(prompt, answer)


def _edit(function_N: np.ndarray, x_NW: np.ndarray, y_NV: np.ndarray) -> np.ndarray:
    """f(x) or f(x, y) of each row, left-aligned as x and y are."""
    both = np.concatenate([x_NW, y_NV], axis=1)
    x, y = (np.count_nonzero(z >= 0, axis=1)[:, None] for z in (x_NW, y_NV))
    size = x + np.where(function_N[:, None] >= _APPEND, y, function_N[:, None] == _ECHO)
    at = np.arange(int(size.max(initial=0)))
    second = x_NW.shape[1] + at  # columns of y
    inside = at < x
    plain = np.where(inside, at, NONE)
    of = {
        _REVERSE: np.where(inside, x - 1 - at, NONE),
        _SHIFT: np.where(inside, (at + 1) % x, NONE),
        _SWAP: np.where(at == 0, x - 1, np.where(at == x - 1, 0, plain)),
        _ECHO: np.where(at <= x, np.minimum(at, x - 1), NONE),
        _APPEND: np.where(inside, at, np.where(at < x + y, second - x, NONE)),
        _PREPEND: np.where(at < y, second, np.where(at < x + y, at - y, NONE)),
    }
    conditions = [function_N[:, None] == each for each in of]
    return take(both, np.select(conditions, list(of.values()), plain))


def _solve(prompt: list[str]) -> list[str]:
    functions = [s for s in prompt if s in _FUNCTIONS]
    string, *arguments = " ".join(prompt[len(functions) :]).split(" , ")
    value, rest = string.split(), [argument.split() for argument in arguments]
    for function in reversed(functions):
        match function:
            case "reverse":
                value = value[::-1]
            case "shift":
                value = value[1:] + value[:1]
            case "swap" if len(value) > 1:
                value = [value[-1], *value[1:-1], value[0]]
            case "echo":
                value = [*value, value[-1]]
            case "append":
                value = value + rest.pop(0)
            case "prepend":
                value = rest.pop(0) + value
    return value


TASKS = (
    Task(
        name="string_edits",
        summary="nested functions of strings, as in PCFG SET -> the string",
        alphabet=_ALPHABET,
        length="functions",
        level="context-sensitive",
        rasp_l=None,
        make=_make,
        solve=_solve,
        source="Hupkes et al. 2020, arXiv 1908.08351",
    ),
)
