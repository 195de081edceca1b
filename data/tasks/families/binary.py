"""Binary numbers of many bits: addition, multiplication, square roots.

Results go through Python's integers, which are exact at any size.
"""

import math
from collections.abc import Callable

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.families.arithmetic import digits_of
from lengthwise.data.tasks.sequences import flip, join, masked, sizes
from lengthwise.data.tasks.task import Problems, Task

_PLUS, _TIMES = 2, 3
_ALPHABET = ("0", "1", "+", "*")


def _bits(draws: Draws, use: str, size_N: np.ndarray) -> np.ndarray:
    """Uniform numbers of so many bits, most significant, which is 1 beside others, first."""
    bits = draws.below(use, 2, int(size_N.max(initial=1)))
    bits[:, 0] = np.where(size_N > 1, 1, bits[:, 0])
    return masked(bits, size_N)


def _from_bits(bits_NW: np.ndarray) -> list[int]:
    texts = (bits_NW + ord("0")).astype(np.uint8)
    widths = sizes(bits_NW).tolist()
    return [int(row[:size].tobytes(), 2) for row, size in zip(texts, widths, strict=True)]


def _make(
    operator: int, result: Callable[[int, int], int]
) -> Callable[[Draws, np.ndarray], Problems]:
    """Two numbers, least significant bit first, whose bits and operator are `length` symbols."""

    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        first_N = 1 + draws.one("split", length_N - 2)
        a, b = _bits(draws, "first", first_N), _bits(draws, "second", length_N - 1 - first_N)
        pairs = zip(_from_bits(a), _from_bits(b), strict=True)
        answer = digits_of([result(x, y) for x, y in pairs], base=2)
        return Problems(join(flip(a), operator, flip(b)), flip(answer))

    return make


def _make_root(draws: Draws, length_N: np.ndarray) -> Problems:
    bits = _bits(draws, "first", length_N)
    return Problems(bits, digits_of(map(math.isqrt, _from_bits(bits)), base=2))


def _solve(prompt: list[str]) -> list[str]:
    for symbol in "+*":
        if symbol in prompt:
            a, b = (int(part[::-1], 2) for part in "".join(prompt).split(symbol))
            return list(f"{a + b if symbol == '+' else a * b:b}"[::-1])
    return list(f"{math.isqrt(int(''.join(prompt), 2)):b}")


def _task(
    name: str,
    summary: str,
    make: Callable[[Draws, np.ndarray], Problems],
    min_length: int,
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=_ALPHABET,
        length="symbols of the prompt",
        level="context-sensitive",
        rasp_l=None if min_length == 1 else False,
        make=make,
        solve=_solve,
        min_length=min_length,
        source="Deletang et al. 2023, arXiv 2207.02098",
    )


TASKS = (
    _task(
        "binary_addition",
        "a + b -> the sum, least significant bit first",
        _make(_PLUS, int.__add__),
        min_length=3,
    ),
    _task(
        "binary_multiplication",
        "a * b -> the product, least significant bit first",
        _make(_TIMES, int.__mul__),
        min_length=3,
    ),
    _task(
        "compute_sqrt",
        "bits, most significant first -> the root, rounded down",
        _make_root,
        min_length=1,
    ),
)
