"""Sorting symbols and integers, and the auxiliary tasks that hint at it."""

from collections.abc import Callable

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.families.copying import TOKENS, distinct, gathering_trace, uniform
from lengthwise.data.tasks.sequences import NONE, constant, join, masked, squeeze, take, within
from lengthwise.data.tasks.task import Problems, Task

_NOPE = "Kazemnejad et al. 2023, arXiv 2305.19466"
_HINTS = "Awasthi and Gupta 2023, arXiv 2310.00726"
_LARGEST = 10_000  # integers are below
_DIGITS = 4

Draw = Callable[[Draws, np.ndarray, int], np.ndarray]


def _sorted_places(x_NW: np.ndarray) -> np.ndarray:
    """Columns of the smallest, second smallest, ... symbol; of equal ones the first comes first.

    int64 [N, W], -1 behind the sequence.
    """
    order = np.argsort(np.where(x_NW >= 0, x_NW, np.iinfo(np.int32).max), axis=1, kind="stable")
    return np.where(np.sort(x_NW < 0, axis=1), NONE, order)


def _make_sort(draw: Draw, symbols: int) -> Callable[[Draws, np.ndarray], Problems]:
    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        prompt_NW = draw(draws, length_N, symbols)
        places_NW = _sorted_places(prompt_NW)
        return Problems(prompt_NW, take(prompt_NW, places_NW), places=places_NW)

    return make


def _sort(
    name: str,
    summary: str,
    alphabet: tuple[str, ...],
    draw: Draw,
    source: str,
    *,
    rasp_l: bool | None = None,
    max_length: int | None = None,
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=alphabet,
        length="symbols of the prompt",
        level="context-sensitive",
        rasp_l=rasp_l,
        make=_make_sort(draw, len(alphabet)),
        solve=lambda prompt: sorted(prompt, key=alphabet.index),
        max_length=max_length,
        copying=True,
        trace=gathering_trace,
        source=source,
    )


_COMMA = 10  # behind the digits in the alphabet of integers


def _written(value_NM: np.ndarray) -> np.ndarray:
    """Integers in decimal with commas between them; negative: none. Symbols [N, W]."""
    present = value_NM >= 0
    digits = np.full((*value_NM.shape, _DIGITS + 1), NONE, np.int32)
    digits[:, 1:, 0] = np.where(present[:, 1:], _COMMA, NONE)
    for place in range(_DIGITS):
        unit = 10 ** (_DIGITS - 1 - place)
        shown = present & ((value_NM >= unit) | (unit == 1))
        digits[..., place + 1] = np.where(shown, value_NM // unit % 10, NONE)
    return squeeze(digits.reshape(len(value_NM), -1))


def _make_integers(unique: bool) -> Callable[[Draws, np.ndarray], Problems]:
    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        width = int(length_N.max(initial=0))
        fresh_NM = draws.below("integers", _LARGEST, width) if unique else _by_digits(draws, width)
        value_NM = masked(fresh_NM, length_N)
        attempt = 0
        # Repeats of a value to the left are drawn again until all differ. No value is special, so
        # that all sequences of different integers are equally likely.
        while unique and (again := _seen_before(value_NM)).any():
            attempt += 1
            fresh_NM = draws.child(f"again {attempt}").below("integers", _LARGEST, width)
            value_NM = np.where(again, fresh_NM, value_NM)
        return Problems(_written(value_NM), _written(take(value_NM, _sorted_places(value_NM))))

    return make


def _by_digits(draws: Draws, width: int) -> np.ndarray:
    """Integers whose number of digits is uniform, so that short ones are not rare; [N, width]."""
    digits = draws.below("digits", _DIGITS, width)
    low = np.where(digits == 0, 0, 10**digits)
    return low + draws.below("integers", 10 ** (digits + 1) - low, width)


def _seen_before(value_NM: np.ndarray) -> np.ndarray:
    """Whether an integer stands to the left in its row; what is negative doesn't count."""
    order = np.argsort(value_NM, axis=1, kind="stable")
    in_order = np.take_along_axis(value_NM, order, axis=1)
    repeated = np.zeros(value_NM.shape, bool)
    repeated[:, 1:] = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    out = np.empty_like(repeated)
    np.put_along_axis(out, order, repeated, axis=1)
    return out


def _solve_integers(prompt: list[str]) -> list[str]:
    numbers = sorted(map(int, "".join(prompt).split(",")))
    return list(",".join(map(str, numbers)))


def _integers(name: str, unique: bool) -> Task:
    return Task(
        name=name,
        summary=(
            "different integers below 10,000, all alike -> sorted"
            if unique
            else "integers of 1 to 4 digits, all numbers of digits alike -> sorted"
        ),
        alphabet=(*map(str, range(10)), ","),
        length="integers",
        level="context-sensitive",
        rasp_l=None,
        make=_make_integers(unique),
        solve=_solve_integers,
        max_length=1000 if unique else None,  # near 10,000 redrawing would take long
        source=_NOPE,
    )


_QUERY, _NONE, _BLANK = len(TOKENS), len(TOKENS) + 1, len(TOKENS) + 2
_HINT_ALPHABET = (*TOKENS, "?", "none", "_")


def _with_query(draws: Draws, length_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequence, a symbol of it [N], and the prompt of both."""
    word_NW = uniform(draws, length_N, len(TOKENS))
    asked_N1 = take(word_NW, draws.one("asked", length_N)[:, None])
    return word_NW, asked_N1, join(word_NW, _QUERY, asked_N1)


def _make_neighbour(after: bool) -> Callable[[Draws, np.ndarray], Problems]:
    def make(draws: Draws, length_N: np.ndarray) -> Problems:
        word_NW, asked_N1, prompt = _with_query(draws, length_N)
        if after:
            found_N = np.where(word_NW > asked_N1, word_NW, _NONE).min(axis=1)
        else:
            found_N = np.where((word_NW >= 0) & (word_NW < asked_N1), word_NW, NONE).max(axis=1)
            found_N = np.where(found_N < 0, _NONE, found_N)
        return Problems(prompt, found_N[:, None].astype(np.int32))

    return make


def _solve_neighbour(prompt: list[str], after: bool) -> list[str]:
    word, symbol = map(TOKENS.index, prompt[:-2]), TOKENS.index(prompt[-1])
    candidates = [x for x in word if (x > symbol if after else x < symbol)]
    if not candidates:
        return ["none"]
    return [TOKENS[min(candidates) if after else max(candidates)]]


def _make_count_of(draws: Draws, length_N: np.ndarray) -> Problems:
    word_NW, asked_N1, prompt = _with_query(draws, length_N)
    count_N = (word_NW == asked_N1).sum(axis=1)
    answer = np.where(within(count_N), asked_N1, NONE).astype(np.int32)
    return Problems(prompt, answer)


def _make_fill(draws: Draws, length_N: np.ndarray) -> Problems:
    """A hidden symbol of the sorted sequence, which follows the sequence."""
    word_NW = uniform(draws, length_N, len(TOKENS))
    in_order = take(word_NW, _sorted_places(word_NW))
    hidden_N1 = draws.one("hidden", length_N)[:, None]
    shown = np.where(np.arange(in_order.shape[1]) == hidden_N1, _BLANK, in_order)
    prompt = join(word_NW, constant(len(word_NW), _QUERY), shown)
    return Problems(prompt, take(in_order, hidden_N1))


def _solve_fill(prompt: list[str]) -> list[str]:
    middle = prompt.index("?")
    in_order = sorted(prompt[:middle], key=TOKENS.index)
    return [in_order[prompt[middle + 1 :].index("_")]]


def _hint(
    name: str,
    summary: str,
    make: Callable[[Draws, np.ndarray], Problems],
    solve: Callable[[list[str]], list[str]],
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=_HINT_ALPHABET,
        length="symbols of w",
        level="context-sensitive",
        rasp_l=None,
        make=make,
        solve=solve,
        source=_HINTS,
    )


TASKS = (
    _sort("sort", "w -> w sorted, of 100 symbols, with repetition", TOKENS, uniform, _NOPE),
    _sort(
        "sort_unique",
        "w -> w sorted, all symbols different, of 200",
        tuple(f"t{i}" for i in range(200)),
        distinct,
        "Zhou et al. 2023, arXiv 2310.16028",
        rasp_l=True,
        max_length=200,
    ),
    _integers("sort_integers", unique=False),
    _integers("sort_integers_unique", unique=True),
    _sort(
        "bucket_sort",
        "w -> w sorted, five symbols",
        tuple(map(str, range(5))),
        uniform,
        "Deletang et al. 2023, arXiv 2207.02098",
    ),
    _hint(
        "successor",
        "w ? x -> the smallest symbol of w above x, or none",
        _make_neighbour(after=True),
        lambda prompt: _solve_neighbour(prompt, after=True),
    ),
    _hint(
        "predecessor",
        "w ? x -> the largest symbol of w below x, or none",
        _make_neighbour(after=False),
        lambda prompt: _solve_neighbour(prompt, after=False),
    ),
    _hint(
        "count_of",
        "w ? x -> x as often as it stands in w",
        _make_count_of,
        lambda prompt: [prompt[-1]] * prompt[:-2].count(prompt[-1]),
    ),
    _hint(
        "fill",
        "w ? w sorted, with a symbol hidden -> that symbol",
        _make_fill,
        _solve_fill,
    ),
)
