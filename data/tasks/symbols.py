"""The vocabulary of a task in a format: special tokens, then symbols, each once by its name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

END, ANSWER, SEPARATOR = range(3)
SPECIAL = ("<end>", "<answer>", "<separator>")  # in the order of their ids


class Symbols:
    """Names to ids and back. A document is prompt, ANSWER, answer, END; behind the answer of an
    example in context stands SEPARATOR instead."""

    def __init__(self, names: Iterable[str]):
        self.names = (*SPECIAL, *dict.fromkeys(names))
        self._ids = {name: i for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> int:
        return self._ids[name]

    def translate(self, x: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Ids of symbols that are numbers in `names`; -1 stays."""
        table = np.array([*(self._ids[name] for name in names), -1], np.int32)
        ids: np.ndarray = table[x]
        return ids

    def text(self, ids: Iterable[int]) -> str:
        return " ".join(self.names[i] for i in ids)


@dataclass(frozen=True)
class Written:
    """Left-aligned batches of the ids of `data.tasks.symbols`."""

    prompt: np.ndarray  # int32 [N, W]
    answer: np.ndarray  # int32 [N, V]: the tokens to generate, steps first
