"""Samples of a task as token ids: the main task in its format, with auxiliary tasks mixed in.

Sample i is a pure function of the settings and i. Training samples, and those of each split that is
scored, are independent streams.
"""

from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.config import PLAIN, TaskConfig
from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.formats import Format
from lengthwise.data.tasks.registry import task_named
from lengthwise.data.tasks.sequences import NONE, constant, join, squeeze
from lengthwise.data.tasks.symbols import ANSWER, END, SEPARATOR, Symbols, Written

_PATTERN = 1000  # samples of the repeating order of tasks


@dataclass(frozen=True)
class SampleBatch:
    """N samples, padded to W tokens."""

    tokens: np.ndarray  # int32 [N, W] ids, END last, then -1
    prompt: np.ndarray  # int64 [N] tokens up to the last ANSWER, itself included


class TaskSamples:
    """Samples of a task, by number.

    Raises:
      UserError: no such task, format, or length; shares that leave nothing to the main task.
    """

    def __init__(self, config: TaskConfig):
        self.config = config
        self.task = task_named(config.name, "data.task.name")
        if len(config.lengths) != 2:
            raise UserError(f"data.task.lengths={config.lengths} must be (shortest, longest)")
        self.low, self.high = config.lengths
        self.task.check_lengths(self.low, self.high, "data.task.lengths")
        self._formats = [Format(self.task, config.format)]
        for hint in config.hints:
            auxiliary = task_named(hint.task, "data.task.hints.task")
            auxiliary.check_lengths(self.low, self.high, "data.task.lengths")
            self._formats.append(Format(auxiliary, PLAIN))
        names = [each.task.name for each in self._formats]
        if len(set(names)) < len(names):
            raise UserError(f"data.task.hints: {', '.join(names)} must all differ")
        self._pattern = _pattern([hint.share for hint in config.hints])
        self._tags = [f"<{name}>" for name in names] if config.hints else []
        written = [name for each in self._formats for name in each.names]
        self.symbols = Symbols([*self._tags, *written])

    @property
    def total(self) -> int:
        """Number of training samples, hints included: the least with `samples` of the main task."""
        main = np.flatnonzero(self._pattern == 0)
        whole, rest = divmod(self.config.samples, main.size)
        return whole * _PATTERN + (int(main[rest - 1]) + 1 if rest else 0)

    def training(self, index_N: np.ndarray) -> SampleBatch:
        """Training samples of these numbers, int64 [N] in [0, total).

        The k-th sample of the main task is the same with hints and without.
        """
        block, place = np.divmod(index_N, _PATTERN)
        kind_N = self._pattern[place]
        parts, order = [], []
        for kind in np.unique(kind_N).tolist():
            of_kind = np.flatnonzero(kind_N == kind)
            rank = np.cumsum(self._pattern == kind) - 1
            number_N = block[of_kind] * (rank[-1] + 1) + rank[place[of_kind]]
            draws = Draws.of(self.config.seed, f"training {kind}", number_N)
            length_N = self.low + draws.one("length", self.high - self.low + 1)
            parts.append(self._documents(kind, draws, length_N))
            order.append(of_kind)
        return _in_order(parts, np.argsort(np.concatenate(order)))

    def scored(self, split: str, length: int, index_N: np.ndarray) -> SampleBatch:
        """Samples of the main task of a length; any `split` but training is a stream of its own.

        Raises UserError: the task does not have the length.
        """
        draws = Draws.of(self.config.seed, f"{split} {length}", index_N)
        return self._documents(0, draws, np.full(index_N.size, length, np.int64))

    def _documents(self, kind: int, draws: Draws, length_N: np.ndarray) -> SampleBatch:
        shots = self.config.format.shots if kind == 0 else 0
        blocks = [constant(len(draws), self.symbols[self._tags[kind]])] if self._tags else []
        for shot in range(shots):
            example = self._written(kind, draws.child(f"shot {shot}"), length_N)
            rows = len(draws)
            blocks += [example.prompt, constant(rows, ANSWER)]
            blocks += [example.answer, constant(rows, SEPARATOR)]
        problem = self._written(kind, draws, length_N)
        blocks += [problem.prompt, constant(len(draws), ANSWER)]
        before = squeeze(np.concatenate(blocks, axis=1))
        size_N = np.count_nonzero(before >= 0, axis=1)
        return SampleBatch(join(before, problem.answer, END), size_N)

    def _written(self, kind: int, draws: Draws, length_N: np.ndarray) -> Written:
        each = self._formats[kind]
        return each.write(each.task.problems(draws, length_N), self.symbols, draws)


def _pattern(shares: list[float]) -> np.ndarray:
    """Task of each of _PATTERN consecutive samples, 0: the main one; evenly mixed, int64."""
    if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise UserError(f"data.task.hints: shares {shares} must be above 0 and sum to less than 1")
    counts = [round(share * _PATTERN) for share in shares]
    counts = [_PATTERN - sum(counts), *counts]
    if min(counts) < 1:
        raise UserError(f"data.task.hints: shares {shares} are too small; 0.001 is the least")
    at = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    kinds = np.repeat(np.arange(len(counts)), counts)
    return kinds[np.lexsort((kinds, at))]


def _in_order(parts: list[SampleBatch], order: np.ndarray) -> SampleBatch:
    width = max(part.tokens.shape[1] for part in parts)
    tokens = [
        np.pad(p.tokens, ((0, 0), (0, width - p.tokens.shape[1])), constant_values=NONE)
        for p in parts
    ]
    prompt = np.concatenate([part.prompt for part in parts])
    return SampleBatch(np.concatenate(tokens)[order], prompt[order])
