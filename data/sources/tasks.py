"""A task as a corpus: a document a sample, as token ids, generated where it is read.

All samples that a run needs are written to its store once, so that batches, buckets, curricula and
resuming are those of text. A store of as many samples as are trained on has fresh ones throughout.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.sources.source import Document, Part, Unit
from lengthwise.data.tasks.config import TaskConfig
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.data.tasks.symbols import END

_UNIT = 1 << 16  # samples
_BATCH = 1 << 11  # generated at once
_VERSION = 1  # changes when the samples of the same settings do


def task_tokenizer(task: TaskConfig) -> str:
    """What data.tokenizer is for a task. Raises UserError for an impossible one."""
    return f"ids:{len(TaskSamples(task).symbols)}:{END}"


@dataclass(frozen=True)
class TaskSource:
    """The training samples of a task, numbered."""

    task: TaskConfig
    domains: tuple[str, ...] = ("all",)

    def describe(self) -> str:
        config = self.task
        parts = [
            f"{config.samples:,} samples",
            f"lengths {config.lengths[0]} to {config.lengths[1]}",
        ]
        parts += config.format.transforms
        parts += [f"{hint.share:.1%} {hint.task}" for hint in config.hints]
        return f"task {config.name}: {', '.join(parts)}"

    def units(self) -> list[Unit]:
        if self.task.samples < 1:
            raise UserError(f"data.task.samples={self.task.samples} must be at least 1")
        samples = TaskSamples(self.task)
        first = samples.training(np.arange(min(samples.total, 256)))
        mean_bytes = 4 * int(np.count_nonzero(first.tokens >= 0) / len(first.tokens) + 1)
        units: list[Unit] = []
        for start in range(0, samples.total, _UNIT):
            stop = min(start + _UNIT, samples.total)
            part = Part(self.task.name, "", 0, 0, start, stop)
            key = hashlib.blake2b(repr((_VERSION, self.task, part)).encode(), digest_size=16)
            num_bytes = mean_bytes * (stop - start)
            units.append(Unit(len(units), (part,), num_bytes, key.hexdigest()))
        return units

    def documents(self, unit: Unit, skipped: Counter[str]) -> Iterator[Document]:
        samples = TaskSamples(self.task)
        for part in unit.parts:
            assert part.stop is not None
            for start in range(part.start, part.stop, _BATCH):
                index = np.arange(start, min(start + _BATCH, part.stop))
                tokens = samples.training(index).tokens
                size_N = np.count_nonzero(tokens >= 0, axis=1).tolist()
                for number, row, size in zip(index.tolist(), tokens, size_N, strict=True):
                    yield Document(f"{part.name}:{number}", row[:size].astype(np.int64), 0, "")
