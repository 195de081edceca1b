"""The tasks by name."""

from lengthwise.common.errors import UserError
from lengthwise.data.tasks.families import (
    arithmetic,
    automata,
    binary,
    copying,
    counting,
    expressions,
    geometry,
    recall,
    scan,
    sorting,
    stack,
    string_edits,
)
from lengthwise.data.tasks.task import Task

_FAMILIES = (
    copying,
    sorting,
    counting,
    automata,
    arithmetic,
    binary,
    expressions,
    stack,
    scan,
    string_edits,
    recall,
    geometry,
)
TASKS: dict[str, Task] = {task.name: task for family in _FAMILIES for task in family.TASKS}
_BY_ALIAS = {alias: task for task in TASKS.values() for alias in task.aliases}


def task_named(name: str, where: str) -> Task:
    """Looks up a task by name or alias. Raises UserError, beginning with `where`, for none."""
    if name in TASKS:
        return TASKS[name]
    if name in _BY_ALIAS:
        return _BY_ALIAS[name]
    raise UserError(f"{where}={name!r} is no task; choose one of {', '.join(sorted(TASKS))}")
