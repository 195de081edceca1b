"""Formats of numbers, and index hints.

`padded` fills numbers up with zeros, so that equal places stand in equal columns. `reversed` writes
the result from its last digit on, as it is computed, after a "$" (Lee et al. 2023, arXiv
2307.03381). `index_hints` puts a symbol before each digit that is the same for equal places on both
sides, from a random one on, so that all of them are seen in training (Zhou et al. 2023, arXiv
2310.16028); a symbol of an answer that is copied has the hint of where it stood in the prompt.
"""

from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.sequences import NONE, flip, join, right_aligned, sizes, squeeze
from lengthwise.data.tasks.symbols import Symbols, Written
from lengthwise.data.tasks.task import Numbers, Problems, Task

REVERSED = "$"


def hint_names(count: int) -> tuple[str, ...]:
    return tuple(f"h{i}" for i in range(count))


@dataclass(frozen=True)
class DigitFormat:
    """The three transforms, each on or off; hints: number of hint symbols, 0: off."""

    padded: bool
    reversed: bool
    hints: int

    @property
    def names(self) -> tuple[str, ...]:
        """Symbols that the format adds."""
        return ((REVERSED,) if self.reversed else ()) + hint_names(self.hints)

    def write(self, task: Task, problems: Problems, symbols: Symbols, draws: Draws) -> Written:
        """Raises UserError for more places than hints."""
        names = task.alphabet
        if problems.numbers is not None:
            return self._numbers(problems.numbers, names, symbols, draws)
        prompt, answer = (symbols.translate(x, names) for x in (problems.prompt, problems.answer))
        if not self.hints:
            return Written(prompt, answer)
        assert problems.places is not None
        offset_N = self._offset(draws, sizes(prompt))
        place = np.where(prompt >= 0, np.arange(prompt.shape[1]), NONE)
        return Written(
            self._hinted(prompt, place, offset_N, symbols),
            self._hinted(answer, problems.places, offset_N, symbols),
        )

    def _numbers(
        self, numbers: Numbers, names: tuple[str, ...], symbols: Symbols, draws: Draws
    ) -> Written:
        most_N = np.maximum.reduce([sizes(each) for each in numbers.operands])
        places_N = np.maximum(most_N, numbers.result_digits)
        offset_N = self._offset(draws, places_N) if self.hints else np.zeros(len(draws), np.int64)

        def written(digits: np.ndarray, size_N: np.ndarray) -> np.ndarray:
            """Digits, most significant first, with the hint of each before it."""
            if self.padded:
                width = int(size_N.max(initial=0))
                column = np.arange(width) - (width - size_N)[:, None]
                filled = np.maximum(right_aligned(digits, width), 0)
                digits = squeeze(np.where(column >= 0, filled, NONE))
            place = sizes(digits)[:, None] - 1 - np.arange(digits.shape[1])
            place = np.where(digits >= 0, place, NONE)
            return self._hinted(symbols.translate(digits, names), place, offset_N, symbols)

        operator, equals = (symbols[names[s]] for s in (numbers.operator, numbers.equals))
        operands = [written(each, most_N) for each in numbers.operands]
        sides: list[np.ndarray | int] = [operands[0], operator, *operands[1:]]
        if len(operands) == 1:
            sides = [operator, operands[0]]
        sign = symbols.translate(numbers.minus, names)
        result = written(numbers.result, numbers.result_digits)
        if not self.reversed:
            return Written(join(*sides, equals), join(sign, result))
        result = flip(result)
        if self.hints:  # digits and hints changed places
            pairs = result.reshape(len(result), -1, 2)[:, :, ::-1]
            result = pairs.reshape(result.shape)
        return Written(join(*sides, equals), join(symbols[REVERSED], sign, result))

    def _offset(self, draws: Draws, places_N: np.ndarray) -> np.ndarray:
        """The hint of place 0; int64 [N]."""
        most = int(places_N.max(initial=0))
        if most > self.hints:
            raise UserError(
                f"data.task.format.hint_symbols={self.hints} are too few for {most} places; raise "
                f"it to {most} or more"
            )
        return draws.one("index hints", self.hints - places_N + 1)

    def _hinted(
        self, x_NW: np.ndarray, place_NW: np.ndarray, offset_N: np.ndarray, symbols: Symbols
    ) -> np.ndarray:
        """x with the hint of its place before each symbol."""
        if not self.hints:
            return x_NW
        numbers = np.where(place_NW >= 0, offset_N[:, None] + place_NW, NONE)
        hint = symbols.translate(numbers, hint_names(self.hints))
        return np.stack([hint, x_NW], axis=2).reshape(len(x_NW), -1)
