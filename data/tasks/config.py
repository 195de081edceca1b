"""The settings of a task as a corpus."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormatConfig:
    """How problems are written; with none of all this: plain."""

    transforms: tuple[str, ...]  # of FORMATS, in any order
    scratchpad_parts: tuple[str, ...]  # of SCRATCHPAD_PARTS
    tail_parts: tuple[str, ...]  # of TAIL_PARTS
    hint_symbols: int  # index hints: how many there are
    shots: int  # solved examples before each problem


PLAIN = FormatConfig(transforms=(), scratchpad_parts=(), tail_parts=(), hint_symbols=0, shots=0)


@dataclass(frozen=True)
class HintConfig:
    """An auxiliary task that is mixed in, in plain format (arXiv 2310.00726)."""

    task: str
    share: float  # of all samples


@dataclass(frozen=True)
class TaskConfig:
    """A task as a corpus."""

    name: str  # of data.tasks.registry; "": the corpus is no task
    format: FormatConfig
    lengths: tuple[int, ...]  # shortest and longest that is trained on; all alike
    samples: int  # of the main task; those of hints come on top
    hints: tuple[HintConfig, ...]
    seed: int


NO_TASK = TaskConfig(name="", format=PLAIN, lengths=(), samples=0, hints=(), seed=0)
