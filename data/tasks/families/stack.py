"""A stack and what is done to it, from Deletang et al. 2023 (arXiv 2207.02098)."""

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import flip, masked
from lengthwise.data.tasks.task import Problems, Task

_POP, _PUSH = 2, 3  # _PUSH + b pushes b
_ALPHABET = ("0", "1", "pop", "push0", "push1")


def _make(draws: Draws, length_N: np.ndarray) -> Problems:
    width = int(length_N.max(initial=0))
    held_N = 1 + draws.one("stack", length_N)
    column = np.arange(width)
    bits, actions = draws.below("bits", 2, width), draws.below("actions", 3, width)
    prompt = masked(np.where(column < held_N[:, None], bits, _POP + actions), length_N)
    stack, top_N = bits.copy(), held_N.copy()
    rows = np.arange(len(prompt))
    for place in range(1, width):
        symbol_N = np.where(place >= held_N, prompt[:, place], -1)
        pushed = symbol_N >= _PUSH
        stack[rows[pushed], top_N[pushed]] = symbol_N[pushed] - _PUSH
        top_N += pushed
        top_N -= (symbol_N == _POP) & (top_N > 0)
    return Problems(prompt, flip(masked(stack, top_N)))


def _solve(prompt: list[str]) -> list[str]:
    stack: list[str] = []
    for symbol in prompt:
        if symbol == "pop":
            del stack[-1:]
        else:
            stack.append(symbol.removeprefix("push"))
    return stack[::-1]


TASKS = (
    Task(
        name="stack_manipulation",
        summary="a stack of bits, bottom first, then pushes and pops -> the stack, top first",
        alphabet=_ALPHABET,
        length="symbols of the prompt",
        level="deterministic context-free",
        rasp_l=None,
        make=_make,
        solve=_solve,
        source="Deletang et al. 2023, arXiv 2207.02098",
    ),
)
