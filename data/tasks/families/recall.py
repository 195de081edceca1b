"""Names and what they stand for: recall of pairs, chains of variables."""

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, join, masked, sizes, take, within
from lengthwise.data.tasks.task import Problems, Task, Trace

_KEYS, _VALUES = 256, 100
_RECALL_ALPHABET = (
    *(f"k{i}" for i in range(_KEYS)),
    *(f"v{i}" for i in range(_VALUES)),
    "?",
)
_QUERY = _KEYS + _VALUES


def _pairs(draws: Draws, length_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different keys with values: the pairs [N, 2 W], the keys and the values, [N, W]."""
    width = int(length_N.max(initial=0))
    keys = masked(draws.order("keys", _KEYS, width), length_N)
    values = masked(_KEYS + draws.below("values", _VALUES, width), length_N)
    return np.stack([keys, values], axis=2).reshape(len(keys), -1), keys, values


def _make_recall(draws: Draws, length_N: np.ndarray) -> Problems:
    pairs, keys, values = _pairs(draws, length_N)
    asked_N1 = draws.one("asked", length_N)[:, None]
    return Problems(join(pairs, _QUERY, take(keys, asked_N1)), take(values, asked_N1))


def _make_multi(draws: Draws, length_N: np.ndarray) -> Problems:
    """All keys are asked for, in random order."""
    pairs, keys, values = _pairs(draws, length_N)
    order = draws.order("asked", length_N, keys.shape[1])
    return Problems(join(pairs, _QUERY, take(keys, order)), take(values, order))


def _solve_recall(prompt: list[str]) -> list[str]:
    middle = prompt.index("?")
    value = dict(zip(prompt[:middle:2], prompt[1:middle:2], strict=True))
    return [value[key] for key in prompt[middle + 1 :]]


_VARIABLES = 256
_LEGO_ALPHABET = (*(f"x{i}" for i in range(_VARIABLES)), "=", "+", "-", "1", ";", "?")
_EQUALS, _PLUS, _MINUS, _ONE, _END, _ASK = range(_VARIABLES, _VARIABLES + 6)
_CLAUSE = 5  # symbols: variable = sign (variable or 1) ;


def _make_lego(draws: Draws, length_N: np.ndarray) -> Problems:
    """x = +1 or -1, y = +x or -x, ...: clauses in random order, the last variable is asked for."""
    width = int(length_N.max(initial=0))
    variable = masked(draws.order("variables", _VARIABLES, width), length_N)
    sign = masked(_PLUS + draws.below("signs", 2, width), length_N)
    before = np.concatenate([np.full((len(draws), 1), _ONE), variable[:, :-1]], axis=1)
    inside = within(length_N)
    clause = np.full((*variable.shape, _CLAUSE), NONE, np.int32)
    blocks: tuple[np.ndarray | int, ...] = (variable, _EQUALS, sign, before, _END)
    for place, symbols in enumerate(blocks):
        clause[:, :, place] = np.where(inside, symbols, NONE)
    order = draws.order("order", length_N, width)
    shuffled = np.take_along_axis(clause, np.maximum(order, 0)[:, :, None], axis=1)
    shuffled = np.where(order[:, :, None] >= 0, shuffled, NONE).reshape(len(draws), -1)
    last = take(variable, length_N[:, None] - 1)
    negative = (sign == _MINUS).sum(axis=1) % 2
    answer = (_PLUS + negative)[:, None].astype(np.int32)
    return Problems(join(shuffled, _ASK, last), answer)


def lego_trace(problems: Problems) -> Trace:
    """A step a clause, in the order of the chain: the clause, the sign of its variable."""
    prompt = problems.prompt
    steps_N = (sizes(prompt) - 2) // _CLAUSE
    width = int(steps_N.max(initial=0))
    clause = prompt[:, : width * _CLAUSE].reshape(len(prompt), width, _CLAUSE)
    inside = within(steps_N)
    # Which clause defines a variable, and so which one follows from which.
    rows = np.arange(len(prompt))
    follows = np.full((len(prompt), _VARIABLES + 6), NONE, np.int64)  # by what is on the right
    row, number = np.nonzero(inside)
    follows[row, clause[row, number, 3]] = number
    at_N, value_N = follows[:, _ONE].copy(), np.zeros(len(prompt), np.int64)
    order, values = np.full((2, len(prompt), width), NONE, np.int64)
    for step in range(width):
        live = inside[:, step]
        order[:, step] = np.where(live, at_N, NONE)
        value_N = value_N ^ (clause[rows, at_N, 2] == _MINUS)
        values[:, step] = np.where(live, _PLUS + value_N, NONE)
        following = follows[rows, clause[rows, at_N, 0]]
        at_N = np.where(following >= 0, following, at_N)
    read = np.take_along_axis(clause, np.maximum(order, 0)[:, :, None], axis=1)[:, :, :4]
    read = np.where(inside[:, :, None], read, NONE)
    known = np.concatenate([np.full((len(prompt), 1), _PLUS), values[:, :-1]], axis=1)
    known = np.where(inside, known, NONE)
    last = np.arange(width) == steps_N[:, None] - 1
    consumed = np.full(prompt.shape, NONE, np.int64)
    for offset in range(_CLAUSE):
        consumed[row, order[row, number] * _CLAUSE + offset] = number
    stack = lambda *parts: np.stack(parts, axis=2).astype(np.int32)
    return Trace(
        read=read,
        computation=stack(read[:, :, 2], known, np.where(inside, _EQUALS, NONE), values),
        output=stack(np.where(last, values, NONE)),
        variables=stack(read[:, :, 0], np.where(inside, _EQUALS, NONE), values),
        steps=steps_N,
        consumed=consumed,
    )


def _solve_lego(prompt: list[str]) -> list[str]:
    clauses = {}
    for start in range(0, len(prompt) - 2, _CLAUSE):
        variable, _, sign, before, _ = prompt[start : start + _CLAUSE]
        clauses[variable] = (sign, before)
    negative, variable = False, prompt[-1]
    while variable != "1":
        sign, variable = clauses[variable]
        negative ^= sign == "-"
    return ["-" if negative else "+"]


TASKS = (
    Task(
        name="key_value_recall",
        summary="key value key value ... ? key -> its value",
        alphabet=_RECALL_ALPHABET,
        length="pairs",
        level="context-sensitive",
        rasp_l=True,
        make=_make_recall,
        solve=_solve_recall,
        max_length=_KEYS,
        source="associative recall: Olsson et al. 2022, arXiv 2209.11895",
    ),
    Task(
        name="multi_query_recall",
        summary="key value key value ... ? all keys in another order -> their values",
        alphabet=_RECALL_ALPHABET,
        length="pairs",
        level="context-sensitive",
        rasp_l=True,
        make=_make_multi,
        solve=_solve_recall,
        max_length=_KEYS,
        source="MQAR: Arora et al. 2023, arXiv 2312.04927",
    ),
    Task(
        name="lego",
        summary="a = +1; b = -a; ... in any order ? the last variable -> its sign",
        alphabet=_LEGO_ALPHABET,
        length="clauses",
        level="context-sensitive",
        rasp_l=None,
        make=_make_lego,
        solve=_solve_lego,
        max_length=_VARIABLES,
        trace=lego_trace,
        source="Zhang et al. 2022, arXiv 2206.04301; Kazemnejad et al. 2023, arXiv 2305.19466",
    ),
)
