"""The formats, those of each task, and their combinations."""

from collections.abc import Callable
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.config import FormatConfig
from lengthwise.data.tasks.digits import DigitFormat
from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.scratchpads import (
    NAMES,
    SCRATCHPAD_PARTS,
    TAIL_PARTS,
    detailed_addition,
    five_parts,
    simple_addition,
    tail,
    with_work,
)
from lengthwise.data.tasks.symbols import Symbols, Written
from lengthwise.data.tasks.task import Problems, Task

DIGIT_FORMATS = ("padded", "reversed", "index_hints")
WORK_FORMATS = ("simple_scratchpad", "detailed_scratchpad", "scratchpad", "tail")
FORMATS = (*DIGIT_FORMATS, *WORK_FORMATS)


def formats_of(task: Task) -> tuple[str, ...]:
    """Transforms that apply to a task."""
    names = ["padded", "reversed"] if task.numeric else []
    if task.numeric or task.copying:
        names.append("index_hints")
    if task.numeric and task.trace is not None:
        names += ["simple_scratchpad", "detailed_scratchpad"]
    if task.trace is not None:
        names += ["scratchpad", "tail"]
    return tuple(names)


def check_format(task: Task, config: FormatConfig, where: str) -> None:
    """Raises UserError, naming fields below `where`, for formats that do not apply to the task."""
    for field in ("transforms", "scratchpad_parts", "tail_parts"):
        named = getattr(config, field)
        if len(set(named)) < len(named):
            raise UserError(f"{where}.{field}: {', '.join(named)} must all differ")
    had = formats_of(task)
    for name in config.transforms:
        if name not in had:
            choices = ", ".join(had) or "none but plain, ()"
            raise UserError(f"{where}.transforms: {task.name} has no {name!r}; it has {choices}")
    work = [name for name in config.transforms if name in WORK_FORMATS]
    if len(work) > 1:
        raise UserError(f"{where}.transforms: {' and '.join(work)} are alternatives; choose one")
    if work and {"padded", "index_hints"} & set(config.transforms):
        raise UserError(
            f"{where}.transforms: {work[0]} shows numbers as they are; leave out padded and "
            "index_hints"
        )
    for field, known in (("scratchpad_parts", SCRATCHPAD_PARTS), ("tail_parts", TAIL_PARTS)):
        for part in getattr(config, field):
            if part not in known:
                raise UserError(f"{where}.{field}: {part!r} is not one of {', '.join(known)}")
    if "index_hints" in config.transforms and config.hint_symbols < 1:
        raise UserError(f"{where}.hint_symbols={config.hint_symbols} must be at least 1")
    if config.shots < 0:
        raise UserError(f"{where}.shots={config.shots} must be 0 or more")


class Format:
    """A format of one task: writes its problems, shots apart."""

    def __init__(self, task: Task, config: FormatConfig):
        """Raises UserError as `check_format`."""
        check_format(task, config, "data.task.format")
        on = set(config.transforms)
        self.task = task
        self._digits = DigitFormat(
            "padded" in on, "reversed" in on, config.hint_symbols if "index_hints" in on else 0
        )
        steps: dict[str, Callable[..., Any]] = {
            "simple_scratchpad": simple_addition,
            "detailed_scratchpad": detailed_addition,
            "scratchpad": five_parts(config.scratchpad_parts),
            "tail": tail(config.tail_parts),
        }
        self._steps = next((steps[name] for name in WORK_FORMATS if name in on), None)

    @property
    def names(self) -> tuple[str, ...]:
        """All symbols that the format writes."""
        work = (*self.task.trace_symbols, *NAMES) if self._steps else ()
        return (*self.task.alphabet, *self._digits.names, *work)

    def write(self, problems: Problems, symbols: Symbols, draws: Draws) -> Written:
        written = self._digits.write(self.task, problems, symbols, draws)
        if self._steps is None:
            return written
        answer = with_work(self.task, problems, written.answer, symbols, self._steps)
        return Written(written.prompt, answer)
