"""The tasks by name: those of the families, a file each, and those of users."""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.data.tasks import families
from lengthwise.data.tasks.task import Task


def _families() -> Iterator[Task]:
    for module in pkgutil.iter_modules(families.__path__):
        yield from importlib.import_module(f"{families.__name__}.{module.name}").TASKS


TASKS: dict[str, Task] = {task.name: task for task in _families()}
_BY_ALIAS = {alias: task for task in TASKS.values() for alias in task.aliases}
# Functions that return a task each, of modules outside of this tree.
USER_TASKS: Registry[Callable[[], Task]] = Registry("task", families.__name__)


def task_named(name: str, where: str) -> Task:
    """The task of a name or alias. Raises UserError, beginning with `where`, for none."""
    ours = TASKS.get(name) or _BY_ALIAS.get(name)
    if ours and name in USER_TASKS:
        raise UserError(f"{where}={name!r} is one of Lengthwise's own; rename yours")
    if ours:
        return ours
    if name in USER_TASKS:
        return _user_task(name)
    known = ", ".join((*sorted(TASKS), *USER_TASKS.names()))
    raise UserError(f"{where}={name!r} is no task; choose one of {known}")


@functools.cache
def _user_task(name: str) -> Task:
    return dataclasses.replace(USER_TASKS[name](), name=name)
