"""The contract of a task: alphabet, problems of any length, solver, known facts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import as_batch, rows_of, same

# Level of the grammar of right answers, from Deletang et al. 2023 (arXiv 2207.02098)
# where the task is theirs; "finite" where the input has bounded length.
LEVELS = ("regular", "deterministic context-free", "context-free", "context-sensitive", "finite")


@dataclass(frozen=True)
class Numbers:
    """A problem in numbers, most significant digit first, left-aligned."""

    operands: tuple[np.ndarray, ...]  # int32 [N, W] digits
    result: np.ndarray  # int32 [N, V] digits, without a sign
    result_digits: np.ndarray  # int64 [N] the most digits that numbers of these sizes give
    operator: int  # symbol: between two operands, before one
    equals: int  # symbol behind the operands
    minus: np.ndarray  # int32 [N, 1] symbol of the result's sign; -1: none


@dataclass(frozen=True)
class Problems:
    """N problems with their answers, in symbols of the task's alphabet, left-aligned."""

    prompt: np.ndarray  # int32 [N, W]
    answer: np.ndarray  # int32 [N, V]
    # Where in the prompt each symbol of the answer stands, int [N, V]; None: it is no copy.
    places: np.ndarray | None = None
    numbers: Numbers | None = None  # what prompt and answer write in plain digits


@dataclass(frozen=True)
class Trace:
    """A solver's steps, S at most, each a few symbols: arrays [N, S, K] with -1 for no symbol.

    Symbols are those of the task's alphabet and, behind them, of its `trace_symbols`.
    """

    read: np.ndarray  # the operands that a step reads from the prompt
    computation: np.ndarray  # the elementary operation spelled out, with its result
    output: np.ndarray  # symbols that the step adds to the answer
    variables: np.ndarray  # what it carries to the next step
    steps: np.ndarray  # int64 [N]
    consumed: np.ndarray  # int64 [N, W]: the step that uses up each symbol of the prompt; -1: none


@dataclass(frozen=True)
class Task:
    """A task of the registry."""

    name: str
    summary: str  # prompt -> answer
    alphabet: tuple[str, ...]  # symbols of prompts and answers
    length: str  # what the length counts
    level: str  # one of LEVELS
    rasp_l: bool | None  # a short RASP-L program, so that generalization is expected; None: unknown
    # Fresh problems of these lengths, int64 [N]; a pure function of each sample's draws.
    make: Callable[[Draws, np.ndarray], Problems]
    # The answer to one prompt, written apart from `make`; ValueError: no prompt of the task.
    solve: Callable[[list[str]], list[str]]
    min_length: int = 1
    max_length: int | None = None  # None: no bound
    # Lengths between the two that no problem has: training has the next fewer for them.
    missing: frozenset[int] = frozenset()
    numeric: bool = False  # its problems have `numbers`
    copying: bool = False  # its problems have `places`
    trace: Callable[[Problems], Trace] | None = None
    trace_symbols: tuple[str, ...] = ()
    source: str = ""
    aliases: tuple[str, ...] = ()
    ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"{self.name}: level {self.level!r}")
        symbols = (*self.alphabet, *self.trace_symbols)
        if len(set(symbols)) != len(symbols):
            raise ValueError(f"{self.name}: a symbol stands twice in the alphabet")
        object.__setattr__(self, "ids", {symbol: i for i, symbol in enumerate(symbols)})

    def check_lengths(self, low: int, high: int, where: str) -> None:
        """Raises UserError, beginning with `where`, unless all of [low, high] are possible."""
        most = self.max_length
        span = f"{self.min_length} or more" if most is None else f"{self.min_length} to {most}"
        if low > high:
            raise UserError(f"{where}=({low}, {high}) is empty; {self.name} takes lengths {span}")
        if low < self.min_length or (most is not None and high > most):
            raise UserError(
                f"{where}=({low}, {high}): {self.name} takes lengths {span} ({self.length})"
            )

    def problems(self, draws: Draws, length_N: np.ndarray) -> Problems:
        """Fresh problems. Raises UserError for lengths that the task does not have."""
        if length_N.size:
            self.check_lengths(int(length_N.min()), int(length_N.max()), "length")
        return self.make(draws, length_N.astype(np.int64))

    def check(self, prompt_NW: np.ndarray, answer_NV: np.ndarray) -> np.ndarray:
        """Whether answers are right, exactly; bool [N]. Both left-aligned batches of symbols."""
        right = [self.encode(self.solve(self.decode(row))) for row in rows_of(prompt_NW)]
        return same(as_batch(right), answer_NV)

    def decode(self, symbols: Sequence[int]) -> list[str]:
        names = (*self.alphabet, *self.trace_symbols)
        return [names[symbol] for symbol in symbols]

    def encode(self, names: Sequence[str]) -> list[int]:
        return [self.ids[name] for name in names]
