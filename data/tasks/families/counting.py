"""Counting up, and which symbol stands most often."""

from collections.abc import Callable

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.families.copying import BINARY, uniform
from lengthwise.data.tasks.sequences import masked
from lengthwise.data.tasks.task import Problems, Task

_RASP = "Zhou et al. 2023, arXiv 2310.16028"
_NUMBERS = tuple(f"n{i}" for i in range(256))
_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


def _make_count(draws: Draws, length_N: np.ndarray) -> Problems:
    first_N = draws.one("first", len(_NUMBERS) - length_N + 1)
    prompt = np.stack([first_N, first_N + length_N - 1], axis=1).astype(np.int32)
    counted = first_N[:, None] + np.arange(length_N.max(initial=0))
    return Problems(prompt, masked(counted, length_N))


def _solve_count(prompt: list[str]) -> list[str]:
    first, last = (int(symbol[1:]) for symbol in prompt)
    return [f"n{i}" for i in range(first, last + 1)]


def _make_mode(symbols: int) -> Callable[[Draws, np.ndarray], Problems]:
    """Uniform over the sequences that have one most frequent symbol: others are drawn again."""

    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        prompt = uniform(draws, length_N, symbols)
        mode_N, tied = _mode(prompt, symbols)
        attempt = 0
        while tied.size:
            attempt += 1
            drawn = uniform(draws.rows(tied).child(f"again {attempt}"), length_N[tied], symbols)
            prompt[tied, : drawn.shape[1]] = drawn
            mode_N[tied], left = _mode(drawn, symbols)
            tied = tied[left]
        return Problems(prompt, mode_N[:, None].astype(np.int32))

    return make


def _mode(x_NW: np.ndarray, symbols: int) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent symbol of each row, and the rows where there are several."""
    filled = x_NW >= 0
    row = np.broadcast_to(np.arange(len(x_NW))[:, None], x_NW.shape)
    flat = np.bincount(row[filled] * symbols + x_NW[filled], minlength=len(x_NW) * symbols)
    counts_NS = flat.reshape(len(x_NW), symbols)
    most_N = counts_NS.max(axis=1)
    return counts_NS.argmax(axis=1), np.flatnonzero((counts_NS == most_N[:, None]).sum(axis=1) > 1)


def _solve_mode(prompt: list[str]) -> list[str]:
    return [max(set(prompt), key=prompt.count)]


TASKS = (
    Task(
        name="count",
        summary="a b -> a, a + 1, ..., b",
        alphabet=_NUMBERS,
        length="numbers of the answer",
        level="regular",
        rasp_l=True,
        make=_make_count,
        solve=_solve_count,
        max_length=len(_NUMBERS),
        source=_RASP,
    ),
    Task(
        name="mode",
        summary="w -> its most frequent symbol, of 26, one w can't tie in",
        alphabet=_LETTERS,
        length="symbols of the prompt",
        level="context-sensitive",
        rasp_l=True,
        make=_make_mode(len(_LETTERS)),
        solve=_solve_mode,
        source=_RASP,
    ),
    Task(
        name="majority",
        summary="w -> the more frequent of two symbols, never tied",
        alphabet=BINARY,
        length="symbols of the prompt",
        level="deterministic context-free",
        rasp_l=True,
        make=_make_mode(len(BINARY)),
        solve=_solve_mode,
        source=_RASP,
    ),
)
