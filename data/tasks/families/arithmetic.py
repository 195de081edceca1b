"""Decimal numbers of many digits: addition, subtraction, multiplication, square roots.

Addition is done on whole batches, digit by digit, since its trace shows the carries. The others go
through Python's integers, which are exact at any size.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import (
    NONE,
    constant,
    join,
    masked,
    right_aligned,
    sizes,
    within,
)
from lengthwise.data.tasks.task import Numbers, Problems, Task, Trace

DIGITS = tuple(map(str, range(10)))
_PLUS, _MINUS, _TIMES, _ROOT, _EQUALS = 10, 11, 12, 13, 14
_DECIMAL = (*DIGITS, "+", "-", "*", "sqrt", "=")
_LEE = "Lee et al. 2023, arXiv 2307.03381"
_NOPE = "Kazemnejad et al. 2023, arXiv 2305.19466"


def _number(draws: Draws, use: str, size_N: np.ndarray) -> np.ndarray:
    """Uniform numbers of so many decimal digits; 0 has one digit. Most significant first."""
    width = int(size_N.max(initial=1))
    digits = draws.below(use, 10, width)
    leading = 1 + draws.one(f"{use} leading", 9)
    digits[:, 0] = np.where(size_N > 1, leading, digits[:, 0])
    return masked(digits, size_N)


def _pair(draws: Draws, length_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers, uniform over the pairs of numbers of digits of which the larger is the length,
    then over the numbers."""
    pair_N = draws.one("pair", 2 * length_N - 1)
    first_N = np.where(pair_N < length_N, length_N, pair_N - length_N + 1)
    second_N = np.where(pair_N < length_N, pair_N + 1, length_N)
    return _number(draws, "first", first_N), _number(draws, "second", second_N)


def _integers(digits_NW: np.ndarray) -> list[int]:
    """Left-aligned decimal numbers as integers."""
    texts = (digits_NW + ord("0")).astype(np.uint8)
    widths = sizes(digits_NW).tolist()
    return [int(row[:size].tobytes()) for row, size in zip(texts, widths, strict=True)]


def digits_of(values: Iterable[int], base: int = 10) -> np.ndarray:
    """Non-negative integers as digits, most significant first, left-aligned; int32 [N, W]."""
    texts = [f"{v:b}" if base == 2 else str(v) for v in values]
    size_N = np.array([len(text) for text in texts], np.int64)
    out = np.full((len(texts), int(size_N.max(initial=0))), NONE, np.int32)
    out[within(size_N)] = np.frombuffer("".join(texts).encode("ascii"), np.uint8) - ord("0")
    return out


def _problems(
    operands: tuple[np.ndarray, ...],
    operator: int,
    result: np.ndarray,
    result_digits: np.ndarray,
    negative: np.ndarray | None = None,
) -> Problems:
    sign_N1 = np.full((len(result), 1), NONE, np.int32)
    if negative is not None:
        sign_N1[negative] = _MINUS
    if len(operands) == 1:
        prompt = join(constant(len(result), operator), operands[0], _EQUALS)
    else:
        prompt = join(operands[0], operator, operands[1], _EQUALS)
    numbers = Numbers(operands, result, result_digits, operator, _EQUALS, sign_N1)
    return Problems(prompt, join(sign_N1, result), numbers=numbers)


def add(a_NW: np.ndarray, b_NW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Digits of the sum, right-aligned, int32 [N, W + 1] with zeros before it, and the carry into
    each of its places; of left-aligned decimal numbers."""
    width = max(a_NW.shape[1], b_NW.shape[1]) + 1
    sums = np.maximum(right_aligned(a_NW, width), 0) + np.maximum(right_aligned(b_NW, width), 0)
    carries = np.zeros_like(sums)
    for column in range(width - 1, 0, -1):
        carries[:, column - 1] = sums[:, column] + carries[:, column] > 9
    return (sums + carries) % 10, carries


def _make_addition(draws: Draws, length_N: np.ndarray) -> Problems:
    operands = _pair(draws, length_N)
    total, _ = add(*operands)
    size_N = np.maximum(total.shape[1] - np.argmax(total > 0, axis=1), 1)
    size_N = np.where(total.any(axis=1), size_N, 1)
    shown = np.arange(total.shape[1]) >= (total.shape[1] - size_N)[:, None]
    result = join(np.where(shown, total, NONE))
    return _problems(operands, _PLUS, result, length_N + 1)


def addition_trace(problems: Problems) -> Trace:
    """A step a place, from the right: both digits and the carry; the carry alone may come last.

    Symbols behind the alphabet: "->", for what a sum is.
    """
    assert problems.numbers is not None
    a_NW, b_NW = problems.numbers.operands
    total, carries = add(a_NW, b_NW)
    width = total.shape[1]
    steps_N = np.maximum(sizes(a_NW), sizes(b_NW))
    last_carry = sizes(problems.numbers.result) > steps_N
    steps_N = steps_N + last_carry
    inside = within(steps_N, width)[:, :, None]

    def from_right(x_NW: np.ndarray) -> np.ndarray:
        return right_aligned(x_NW, width)[:, ::-1]

    a, b = from_right(a_NW), from_right(b_NW)
    carry, digit = carries[:, ::-1], total[:, ::-1]
    after = np.pad(carry[:, 1:], ((0, 0), (0, 1)))
    read = np.stack([a, b], axis=2)
    plus, equals = np.full_like(a, _PLUS), np.full_like(a, _EQUALS)
    tens = np.where(after > 0, after, NONE)
    zeros = [np.maximum(a, 0), plus, np.maximum(b, 0), plus, carry, equals, tens, digit]
    # Where in the prompt: operand one begins at 0, operand two behind it and the operator.
    place = np.arange(width)
    first = np.where(a >= 0, sizes(a_NW)[:, None] - 1 - place, NONE)
    second = np.where(b >= 0, (sizes(a_NW) + sizes(b_NW))[:, None] - place, NONE)
    consumed = np.full(problems.prompt.shape, NONE, np.int64)
    for each in (first, second):
        rows, step = np.nonzero(each >= 0)
        consumed[rows, each[rows, step]] = step

    def shown(x_NSK: np.ndarray) -> np.ndarray:
        return np.where(inside, x_NSK, NONE)

    return Trace(
        read=shown(read),
        computation=shown(np.stack(zeros, axis=2)),
        output=shown(digit[:, :, None]),
        variables=shown(after[:, :, None]),
        steps=steps_N,
        consumed=consumed,
    )


def _make_with(
    operator: int, result: Callable[[int, int], int]
) -> Callable[[Draws, np.ndarray], Problems]:
    """Of - or *."""

    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        operands = _pair(draws, length_N)
        pairs = zip(*map(_integers, operands), strict=True)
        values = [result(a, b) for a, b in pairs]
        digits = digits_of(map(abs, values))
        negative = np.array([value < 0 for value in values], bool)
        most = length_N if operator == _MINUS else sizes(operands[0]) + sizes(operands[1])
        return _problems(operands, operator, digits, most, negative)

    return make


def _make_square_root(draws: Draws, length_N: np.ndarray) -> Problems:
    number = _number(draws, "first", length_N)
    root = digits_of(map(math.isqrt, _integers(number)))
    return _problems((number,), _ROOT, root, (length_N + 1) // 2)


def _solve(prompt: list[str]) -> list[str]:
    """Any of the decimal tasks."""
    text = "".join(prompt).removesuffix("=")
    if text.startswith("sqrt"):
        return list(str(math.isqrt(int(text.removeprefix("sqrt")))))
    for symbol in "+-*":
        first, operator, second = text.partition(symbol)
        if operator:
            a, b = int(first), int(second)
            return list(str({"+": a + b, "-": a - b, "*": a * b}[symbol]))
    raise ValueError(f"no operator in {text!r}")


def _decimal(
    name: str,
    summary: str,
    make: Callable[[Draws, np.ndarray], Problems],
    source: str,
    *,
    trace: Callable[[Problems], Trace] | None = None,
    length: str = "digits of the longer number",
    rasp_l: bool | None = None,
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=_DECIMAL,
        length=length,
        level="context-sensitive",
        rasp_l=rasp_l,
        make=make,
        solve=_solve,
        numeric=True,
        trace=trace,
        source=source,
    )


TASKS = (
    _decimal(
        "addition",
        "a + b = -> the sum",
        _make_addition,
        f"{_LEE}; {_NOPE}",
        trace=addition_trace,
        rasp_l=False,
    ),
    _decimal("subtraction", "a - b = -> the difference", _make_with(_MINUS, int.__sub__), _LEE),
    _decimal("multiplication", "a * b = -> the product", _make_with(_TIMES, int.__mul__), _LEE),
    _decimal(
        "square_root",
        "sqrt a = -> the root, rounded down",
        _make_square_root,
        _LEE,
        length="digits",
    ),
)
