"""The settings of a task as a corpus."""

from dataclasses import dataclass

from lengthwise.common.settings import section, setting


@dataclass(frozen=True)
class FormatConfig:
    """How problems are written; with none of all this: plain."""

    # padded | reversed | index_hints | simple_scratchpad | detailed_scratchpad | scratchpad | tail,
    # several together; (): plain
    transforms: tuple[str, ...] = ()
    # scratchpad: which of its parts are written
    scratchpad_parts: tuple[str, ...] = (
        "input",
        "computation",
        "output",
        "variables",
        "remaining",
    )
    tail_parts: tuple[str, ...] = ("transition", "atomic", "fetcher")  # the same of tail
    hint_symbols: int = 256  # different index hints
    shots: int = 0  # solved examples before each problem


PLAIN = FormatConfig(transforms=(), scratchpad_parts=(), tail_parts=(), hint_symbols=0, shots=0)


@dataclass(frozen=True)
class HintConfig:
    """An auxiliary task that is mixed in, in plain format (arXiv 2310.00726)."""

    task: str
    share: float  # of all samples


@dataclass(frozen=True)
class TaskConfig:
    """A task as a corpus."""

    name: str = ""  # such as copy, addition, parity
    format: FormatConfig = section(FormatConfig)  # how its problems are written
    # shortest and longest trained on, in what the task counts
    lengths: tuple[int, ...] = setting((1, 20), "[1, inf)")
    # Of the main task, each trained on once an epoch; hints come on top.
    samples: int = setting(100_000, "[0, inf)")
    # Auxiliary tasks mixed in: ({"task": "successor", "share": 0.5},)
    hints: tuple[HintConfig, ...] = ()
    seed: int = setting(0, "[0, inf)")  # of the samples
