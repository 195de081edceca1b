"""Nested expressions modulo 5, from Deletang et al. 2023 (arXiv 2207.02098), of an exact length.

As in the authors' code: an expression of 1 to 4 symbols is d, -d, (d) or (-d); a longer one is
(left operator right), the length of left uniform over what is possible, the operator uniform. The
trees of a whole batch grow together, a generation at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, join, take
from lengthwise.data.tasks.task import Problems, Task

_MODULUS = 5
_ALPHABET = (*map(str, range(_MODULUS)), "(", ")", "+", "-", "*", "x", "=")
_OPEN, _CLOSE, _PLUS, _MINUS, _TIMES, _X, _EQUALS = range(5, 12)
_SOURCE = "Deletang et al. 2023, arXiv 2207.02098"


@dataclass(frozen=True)
class _Generation:
    """Nodes of equal depth, in all rows; [K]."""

    row: np.ndarray
    start: np.ndarray  # column of the first symbol
    size: np.ndarray  # symbols
    parent: np.ndarray  # number of the node in the generation before; the right child is the next


def _expressions(
    draws: Draws, length_N: np.ndarray, operators: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols int32 [N, W], values int64 [N], and where digits stand, bool [N, W].

    operators: how many of +, -, * there are.
    """
    count, width = len(draws), int(length_N.max(initial=0))
    symbols = np.full((count, width), NONE, np.int32)
    is_digit = np.zeros((count, width), bool)
    # A node is known by its first column: no other node of the row begins there.
    digit = draws.below("digits", _MODULUS, width)
    operator = draws.below("operators", operators, width)
    grown: list[tuple[_Generation, np.ndarray]] = []  # with the values of leaves
    now = _Generation(np.arange(count), np.zeros(count, np.int64), length_N, np.arange(count))
    while now.row.size:
        row, start, size = now.row, now.start, now.size
        leaf = size <= 4
        bracketed, negated = leaf & (size >= 3), leaf & (size % 2 == 0)
        at = start + bracketed
        value = digit[row, start]
        for chosen, column, symbol in (
            (bracketed | ~leaf, start, _OPEN),
            (bracketed | ~leaf, start + size - 1, _CLOSE),
            (negated, at, _MINUS),
        ):
            symbols[row[chosen], column[chosen]] = symbol
        place = (at + negated)[leaf]
        symbols[row[leaf], place] = value[leaf]
        is_digit[row[leaf], place] = True
        grown.append((now, np.where(negated, -value, value) % _MODULUS))
        inner = np.flatnonzero(~leaf)
        row, start, size = row[inner], start[inner], size[inner]
        # Uniform in [1, size - 4]: brackets, the operator and a right side of one symbol are left.
        left = 1 + draws.rows(row).below("left", (size - 4)[:, None], start[:, None])[:, 0]
        symbols[row, start + 1 + left] = _PLUS + operator[row, start]
        now = _Generation(
            row=np.repeat(row, 2),
            start=np.stack([start + 1, start + left + 2], axis=1).ravel(),
            size=np.stack([left, size - left - 3], axis=1).ravel(),
            parent=np.repeat(inner, 2),
        )
    for (parents, values), (children, below) in zip(grown[-2::-1], grown[:0:-1], strict=True):
        inner = children.parent[::2]
        a, b = below[::2], below[1::2]
        kind = operator[parents.row[inner], parents.start[inner]]
        values[inner] = np.choose(kind, [a + b, a - b, a * b]) % _MODULUS
    return symbols, grown[0][1], is_digit


def _make_brackets(draws: Draws, length_N: np.ndarray) -> Problems:
    symbols, value_N, _ = _expressions(draws, length_N, operators=3)
    return Problems(symbols, value_N[:, None].astype(np.int32))


def _make_equation(draws: Draws, length_N: np.ndarray) -> Problems:
    """A digit, all alike, is x; without products x has one solution."""
    symbols, value_N, is_digit = _expressions(draws, length_N, operators=2)
    one = np.uint64(1)
    keys = np.where(is_digit, (draws.bits("x", symbols.shape[1]) >> one) + one, np.uint64(0))
    hidden_N1 = np.argmax(keys, axis=1)[:, None]
    answer = take(symbols, hidden_N1)
    shown = np.where(np.arange(symbols.shape[1]) == hidden_N1, _X, symbols)
    return Problems(join(shown, _EQUALS, value_N[:, None].astype(np.int32)), answer)


def _value(prompt: list[str]) -> int:
    """By recursive descent."""
    rest = list(prompt)

    def expression() -> int:
        symbol = rest.pop(0)
        if symbol == "-":
            return -int(rest.pop(0))
        if symbol != "(":
            return int(symbol)
        value = expression()
        if rest[0] != ")":
            operator, right = rest.pop(0), expression()
            value = {"+": value + right, "-": value - right, "*": value * right}[operator]
        if rest.pop(0) != ")":
            raise ValueError(f"{''.join(prompt)} is no expression")
        return value

    value = expression() % _MODULUS
    if rest:
        raise ValueError(f"{''.join(prompt)} is no expression")
    return value


def _solve_equation(prompt: list[str]) -> list[str]:
    left, right = prompt[:-2], int(prompt[-1])
    digits = map(str, range(_MODULUS))
    (x,) = (d for d in digits if _value([d if s == "x" else s for s in left]) == right)
    return [x]


def _task(
    name: str,
    summary: str,
    make: Callable[[Draws, np.ndarray], Problems],
    solve: Callable[[list[str]], list[str]],
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=_ALPHABET,
        length="symbols of the expression",
        level="deterministic context-free",
        rasp_l=None,
        make=make,
        solve=solve,
        source=_SOURCE,
    )


TASKS = (
    _task(
        "modular_arithmetic_brackets",
        "a nested expression of +, - and * -> its value modulo 5",
        _make_brackets,
        lambda prompt: [str(_value(prompt))],
    ),
    _task(
        "solve_equation",
        "a nested expression of + and - with x, = its value modulo 5 -> x",
        _make_equation,
        _solve_equation,
    ),
)
