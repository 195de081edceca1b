"""Answers that are symbols of the prompt, gathered: copy, reverse, and their relatives."""

from collections.abc import Callable

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, join, masked, sizes, take, within
from lengthwise.data.tasks.task import Problems, Task, Trace

BINARY = ("0", "1")
TOKENS = tuple(f"t{i}" for i in range(100))
DISTINCT = tuple(f"t{i}" for i in range(200))
_NOPE = "Kazemnejad et al. 2023, arXiv 2305.19466"
_RASP = "Zhou et al. 2023, arXiv 2310.16028"
_CHOMSKY = "Deletang et al. 2023, arXiv 2207.02098"

# Sizes [N] -> places in the prompt of the symbols of the answer, int64 [N, V], -1 behind them.
Places = Callable[[np.ndarray], np.ndarray]


def uniform(draws: Draws, length_N: np.ndarray, symbols: int) -> np.ndarray:
    """Sequences of independent uniform symbols."""
    width = int(length_N.max(initial=0))
    return masked(draws.below("symbols", symbols, width), length_N)


def distinct(draws: Draws, length_N: np.ndarray, symbols: int) -> np.ndarray:
    """Sequences of different symbols, all equally likely."""
    width = int(length_N.max(initial=0))
    return masked(draws.order("distinct", symbols, width), length_N)


def _forward(size_N: np.ndarray) -> np.ndarray:
    wide = np.arange(size_N.max(initial=0))
    return np.where(wide < size_N[:, None], wide, NONE)


def _backward(size_N: np.ndarray) -> np.ndarray:
    return np.maximum(size_N[:, None] - 1 - np.arange(size_N.max(initial=0)), NONE)


def _odds_first(size_N: np.ndarray) -> np.ndarray:
    """The first, third, ... symbol, then the second, fourth, ..."""
    wide, half_N1 = np.arange(size_N.max(initial=0)), (size_N[:, None] + 1) // 2
    places = np.where(wide < half_N1, 2 * wide, 2 * (wide - half_N1) + 1)
    return np.where(wide < size_N[:, None], places, NONE)


def _both(first: Places, second: Places) -> Places:
    return lambda size_N: join(first(size_N).astype(np.int32), second(size_N).astype(np.int32))


def gathered(
    draw: Callable[[Draws, np.ndarray], np.ndarray], places: Places
) -> Callable[[Draws, np.ndarray], Problems]:
    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        prompt_NW = draw(draws, length_N)
        places_NV = places(length_N)
        return Problems(prompt_NW, take(prompt_NW, places_NV), places=places_NV)

    return make


def gathering_trace(problems: Problems) -> Trace:
    """A step for each symbol of the answer: fetch it, output it."""
    assert problems.places is not None
    places_NS = problems.places
    steps_N = sizes(places_NS)
    output = take(problems.prompt, places_NS)[:, :, None]
    nothing = np.full((*places_NS.shape, 0), NONE, np.int32)
    consumed = np.full(problems.prompt.shape, NONE, np.int64)
    rows, at = np.nonzero(places_NS >= 0)
    consumed[rows, places_NS[rows, at]] = at  # where it is read twice, the later step stands
    return Trace(output, nothing, output, nothing, steps_N, consumed)


def _of_one(symbol: int) -> Callable[[Draws, np.ndarray], np.ndarray]:
    return lambda draws, length_N: np.where(within(length_N), symbol, NONE).astype(np.int32)


def _uniform_of(symbols: tuple[str, ...]) -> Callable[[Draws, np.ndarray], np.ndarray]:
    return lambda draws, length_N: uniform(draws, length_N, len(symbols))


def _copying(
    name: str,
    summary: str,
    alphabet: tuple[str, ...],
    places: Places,
    solve: Callable[[list[str]], list[str]],
    *,
    level: str = "context-sensitive",
    rasp_l: bool | None = None,
    source: str = _NOPE,
    draw: Callable[[Draws, np.ndarray], np.ndarray] | None = None,
    max_length: int | None = None,
    aliases: tuple[str, ...] = (),
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=alphabet,
        length="symbols of the prompt",
        level=level,
        rasp_l=rasp_l,
        make=gathered(draw or _uniform_of(alphabet), places),
        solve=solve,
        max_length=max_length,
        copying=True,
        trace=gathering_trace,
        source=source,
        aliases=aliases,
    )


def _make_other(twice: bool) -> Callable[[Draws, np.ndarray], Problems]:
    """x^n -> y^n."""

    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        answer_N = length_N * (2 if twice else 1)
        return Problems(_of_one(0)(draws, length_N), _of_one(1)(draws, answer_N))

    return make


def _other_task(name: str, twice: bool) -> Task:
    times = 2 if twice else 1
    return Task(
        name=name,
        summary=f"x^n -> y^{'2n' if twice else 'n'}",
        alphabet=("x", "y"),
        length="symbols of the prompt",
        level="context-sensitive" if twice else "deterministic context-free",
        rasp_l=None,
        make=_make_other(twice),
        solve=lambda prompt: ["y"] * (len(prompt) * times),
        source=_NOPE,
    )


def _make_missing(draws: Draws, length_N: np.ndarray) -> Problems:
    word_NW = uniform(draws, length_N, 2)
    hidden_N = draws.one("hidden", length_N)
    second_NW = np.where(np.arange(word_NW.shape[1]) == hidden_N[:, None], 2, word_NW)
    return Problems(join(word_NW, second_NW), take(word_NW, hidden_N[:, None]))


def _solve_missing(prompt: list[str]) -> list[str]:
    return [prompt[prompt.index("_") - len(prompt) // 2]]


TASKS = (
    _copying(
        "copy",
        "w -> w, 100 symbols (V3)",
        TOKENS,
        _forward,
        lambda p: p,
        aliases=("copy_v3",),
    ),
    _copying(
        "copy_2x",
        "w -> w w, 100 symbols (V3-2x)",
        TOKENS,
        _both(_forward, _forward),
        lambda p: p + p,
        aliases=("copy_v3_2x",),
    ),
    _copying(
        "copy_v1",
        "x^n -> x^n, one symbol",
        ("x",),
        _forward,
        lambda p: p,
        draw=_of_one(0),
        level="deterministic context-free",
    ),
    _copying(
        "copy_v1_2x",
        "x^n -> x^2n, one symbol",
        ("x",),
        _both(_forward, _forward),
        lambda p: p + p,
        draw=_of_one(0),
        level="deterministic context-free",
    ),
    _other_task("copy_v2", twice=False),
    _other_task("copy_v2_2x", twice=True),
    _copying(
        "copy_unique",
        "w -> w, all symbols different, of 200",
        DISTINCT,
        _forward,
        lambda p: p,
        rasp_l=True,
        source=_RASP,
        draw=lambda draws, length_N: distinct(draws, length_N, len(DISTINCT)),
        max_length=len(DISTINCT),
    ),
    _copying(
        "copy_repeat",
        "w -> w, two symbols, so that they repeat",
        BINARY,
        _forward,
        lambda p: p,
        rasp_l=False,
        source=_RASP,
    ),
    _copying(
        "reverse",
        "w -> w reversed, 100 symbols (V1)",
        TOKENS,
        _backward,
        lambda p: p[::-1],
        level="deterministic context-free",
        aliases=("reverse_v1",),
    ),
    _copying(
        "reverse_2x",
        "w -> w reversed, then w, 100 symbols (V2)",
        TOKENS,
        _both(_backward, _forward),
        lambda p: p[::-1] + p,
        aliases=("reverse_v2",),
    ),
    _copying(
        "reverse_string",
        "w -> w reversed, two symbols",
        BINARY,
        _backward,
        lambda p: p[::-1],
        level="deterministic context-free",
        source=_CHOMSKY,
    ),
    _copying(
        "duplicate_string",
        "w -> w w, two symbols",
        BINARY,
        _both(_forward, _forward),
        lambda p: p + p,
        source=_CHOMSKY,
    ),
    _copying(
        "odds_first",
        "w -> its 1st, 3rd, 5th, ... symbol, then its 2nd, 4th, ...; two symbols",
        BINARY,
        _odds_first,
        lambda p: p[::2] + p[1::2],
        source=_CHOMSKY,
    ),
    Task(
        name="missing_duplicate_string",
        summary="w w with a symbol of the second w hidden -> that symbol",
        alphabet=(*BINARY, "_"),
        length="symbols of w",
        level="context-sensitive",
        rasp_l=None,
        make=_make_missing,
        solve=_solve_missing,
        source=_CHOMSKY,
    ),
)
