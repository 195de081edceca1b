"""Regular tasks: a finite automaton reads the prompt, its last state is the answer."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, masked, sizes, within
from lengthwise.data.tasks.task import Problems, Task, Trace

_DIGITS = tuple(map(str, range(10)))
_CHOMSKY = "Deletang et al. 2023, arXiv 2207.02098"
_NOPE = "Kazemnejad et al. 2023, arXiv 2305.19466"


@dataclass(frozen=True)
class Automaton:
    """States from 0, the first, on. Symbol k of a prompt is uniform over a class of symbols."""

    table: np.ndarray  # int [states, symbols] the next state
    answer: np.ndarray  # int [states] symbol
    classes: tuple[np.ndarray, ...]  # symbols of the odd and the even places, or of all
    prompt_size: Callable[[np.ndarray], np.ndarray] = lambda length_N: length_N

    def make(self, draws: Draws, length_N: np.ndarray) -> Problems:
        size_N = self.prompt_size(length_N)
        width = int(size_N.max(initial=0))
        kinds = [self.classes[place % len(self.classes)] for place in range(width)]
        drawn = draws.below("symbols", np.array([kind.size for kind in kinds], np.int64), width)
        prompt = np.empty(drawn.shape, np.int32)
        for number, kind in enumerate(self.classes):
            prompt[:, number :: len(self.classes)] = kind[drawn[:, number :: len(self.classes)]]
        prompt = masked(prompt, size_N)
        return Problems(prompt, self.answer[self._states(prompt)[:, -1:]].astype(np.int32))

    def _states(self, prompt_NW: np.ndarray) -> np.ndarray:
        """The state before each symbol and after the last; it stays behind the sequence."""
        states = np.zeros((len(prompt_NW), prompt_NW.shape[1] + 1), np.int64)
        for column in range(prompt_NW.shape[1]):
            symbol_N, before = prompt_NW[:, column], states[:, column]
            states[:, column + 1] = np.where(symbol_N >= 0, self.table[before, symbol_N], before)
        return states

    def trace(self, problems: Problems) -> Trace:
        """A step a symbol; states are symbols behind those of the alphabet."""
        prompt = problems.prompt
        steps_N, symbols = sizes(prompt), self.table.shape[1]
        inside = within(steps_N, prompt.shape[1])
        states = self._states(prompt) + symbols
        before, after = (
            np.where(inside, s, NONE).astype(np.int32) for s in (states[:, :-1], states[:, 1:])
        )
        last = np.arange(prompt.shape[1]) == steps_N[:, None] - 1
        output = np.where(last, problems.answer, NONE).astype(np.int32)
        place = np.where(inside, np.arange(prompt.shape[1]), NONE)
        return Trace(
            read=prompt[:, :, None],
            computation=np.stack([before, prompt, after], axis=2),
            output=output[:, :, None],
            variables=after[:, :, None],
            steps=steps_N,
            consumed=place,
        )


def _task(
    name: str,
    summary: str,
    alphabet: tuple[str, ...],
    automaton: Automaton,
    solve: Callable[[list[str]], list[str]],
    source: str,
    *,
    rasp_l: bool | None = None,
    length: str = "symbols of the prompt",
    aliases: tuple[str, ...] = (),
) -> Task:
    return Task(
        name=name,
        summary=summary,
        alphabet=alphabet,
        length=length,
        level="regular",
        rasp_l=rasp_l,
        make=automaton.make,
        solve=solve,
        trace=automaton.trace,
        trace_symbols=tuple(f"s{i}" for i in range(len(automaton.table))),
        source=source,
        aliases=aliases,
    )


def _modulo(modulus: int) -> Automaton:
    """The sum of digits below `modulus`, modulo it."""
    table = np.add.outer(np.arange(modulus), np.arange(modulus)) % modulus
    return Automaton(table, np.arange(modulus), (np.arange(modulus),))


def _even_pairs() -> Automaton:
    """States: nothing read, then 1 + 2 first + last."""
    table = np.array([[1, 4], [1, 2], [1, 2], [3, 4], [3, 4]])
    return Automaton(table, np.array([1, 1, 0, 0, 1]), (np.arange(2),))


def _polynomial() -> Automaton:
    """Horner's rule on x, c_n, ..., c_0. States: nothing read, then 1 + 10 x + value."""
    x, value, c = (a.ravel() for a in np.meshgrid(*[np.arange(10)] * 3, indexing="ij"))
    table = np.zeros((101, 10), np.int64)
    table[0] = 1 + 10 * np.arange(10)
    table[1 + 10 * x + value, c] = 1 + 10 * x + (value * x + c) % 10
    answer = np.concatenate([[0], np.arange(100) % 10])
    return Automaton(table, answer, (np.arange(10),), lambda length_N: length_N + 1)


def _solve_polynomial(prompt: list[str]) -> list[str]:
    x, *coefficients = map(int, prompt)
    powers = reversed(range(len(coefficients)))
    return [str(sum(c * x**k for c, k in zip(coefficients, powers, strict=True)) % 10)]


_OPERATORS = "+-*"


def _modular_arithmetic() -> Automaton:
    """Digits below 5 with operators between them, * before + and -.

    States: nothing read; 1 + 5 sum + product, behind a digit: the sum without its last term, and
    that term; 26 + 3 (5 sum + product) + operator, behind an operator.
    """
    table = np.zeros((101, 8), np.int64)
    table[0, :5] = 1 + np.arange(5)
    for total, product in itertools.product(range(5), range(5)):
        pair = 5 * total + product
        for number, operator in enumerate(_OPERATORS):
            table[1 + pair, 5 + number] = 26 + 3 * pair + number
            for digit in range(5):
                if operator == "*":
                    next_pair = 5 * total + product * digit % 5
                else:
                    sign = 1 if operator == "+" else -1
                    next_pair = 5 * ((total + product) % 5) + sign * digit % 5
                table[26 + 3 * pair + number, digit] = 1 + next_pair
    answer = np.zeros(101, np.int64)
    answer[1:26] = [(total + product) % 5 for total in range(5) for product in range(5)]
    return Automaton(
        table, answer, (np.arange(5), np.arange(5, 8)), lambda length_N: 2 * length_N - 1
    )


def _cycle() -> Automaton:
    """Five places around a circle; 0 stays, 1 goes on, 2 goes back."""
    table = (np.arange(5)[:, None] + np.array([0, 1, -1, 0, 0])) % 5
    return Automaton(table, np.arange(5), (np.arange(3),))


S5 = tuple(itertools.permutations(range(5)))
_S5_NAMES = tuple("".join(str(i + 1) for i in p) for p in S5)


def _s5() -> Automaton:
    """State p, then symbol q: i goes to q[p[i]]."""
    number = {p: i for i, p in enumerate(S5)}
    table = np.array([[number[tuple(q[i] for i in p)] for q in S5] for p in S5])
    return Automaton(table, np.arange(120), (np.arange(120),))


def _solve_s5(prompt: list[str]) -> list[str]:
    state = "12345"
    for symbol in prompt:
        state = "".join(symbol[int(i) - 1] for i in state)
    return [state]


def _solve_modular(prompt: list[str]) -> list[str]:
    total, product, sign = 0, int(prompt[0]), 1
    for operator, digit in zip(prompt[1::2], map(int, prompt[2::2]), strict=True):
        if operator == "*":
            product *= digit
        else:
            total, product, sign = total + sign * product, digit, 1 if operator == "+" else -1
    return [str((total + sign * product) % 5)]


TASKS = (
    _task(
        "parity",
        "w -> 1 where its number of 1s is odd, else 0",
        ("0", "1"),
        _modulo(2),
        lambda prompt: [str(prompt.count("1") % 2)],
        f"{_CHOMSKY}; {_NOPE}",
        rasp_l=False,
        aliases=("parity_check",),
    ),
    _task(
        "sum_mod_10",
        "digits -> their sum modulo 10",
        _DIGITS,
        _modulo(10),
        lambda prompt: [str(sum(map(int, prompt)) % 10)],
        _NOPE,
        rasp_l=False,
    ),
    _task(
        "polynomial_mod_10",
        "x c_n ... c_0 -> the sum of c_k x^k modulo 10",
        _DIGITS,
        _polynomial(),
        _solve_polynomial,
        _NOPE,
        length="coefficients",
    ),
    _task(
        "even_pairs",
        "w -> 1 where its numbers of 01 and 10 together are even, else 0",
        ("0", "1"),
        _even_pairs(),
        lambda prompt: [str((sum(a != b for a, b in itertools.pairwise(prompt)) + 1) % 2)],
        _CHOMSKY,
        rasp_l=True,
    ),
    _task(
        "modular_arithmetic",
        "d + d - d * d ... -> its value modulo 5, without brackets",
        (*map(str, range(5)), *_OPERATORS),
        _modular_arithmetic(),
        _solve_modular,
        _CHOMSKY,
        length="digits",
    ),
    _task(
        "cycle_navigation",
        "moves 0 (stay), 1 (on), 2 (back) -> the place on a circle of five",
        tuple(map(str, range(5))),
        _cycle(),
        lambda prompt: [str((prompt.count("1") - prompt.count("2")) % 5)],
        _CHOMSKY,
    ),
    _task(
        "s5_words",
        "permutations of five things -> their product, left to right",
        _S5_NAMES,
        _s5(),
        _solve_s5,
        "Liu et al. 2023, arXiv 2210.10749; Merrill et al. 2024, arXiv 2404.08819",
        rasp_l=False,
    ),
)
