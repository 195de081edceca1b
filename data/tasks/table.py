"""The table of all tasks in docs/tasks.md.

    python -m lengthwise.data.tasks.table          # writes it

Everything in it comes from the registry.
"""

from pathlib import Path

import numpy as np

from lengthwise.data.tasks.draws import Draws
from lengthwise.data.tasks.formats import formats_of
from lengthwise.data.tasks.registry import TASKS
from lengthwise.data.tasks.sequences import rows_of
from lengthwise.data.tasks.task import Task

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tasks.md"
BEGIN, END = "<!-- table of tasks: begin -->\n", "<!-- table of tasks: end -->\n"
_EXAMPLE = 4  # length of the example of each task
_RASP_L = {True: "yes", False: "no", None: ""}


def example(task: Task) -> str:
    """Sample 0 of length 4, or of the closest possible length."""
    length = min(max(_EXAMPLE, task.min_length), task.max_length or _EXAMPLE)
    made = task.problems(Draws.of(0, "example", np.arange(1)), np.array([length]))
    prompt, answer = (rows_of(x)[0] for x in (made.prompt, made.answer))
    return f"{' '.join(task.decode(prompt))} → {' '.join(task.decode(answer))}"


def markdown() -> str:
    head = "task | prompt → answer | example | length | level | RASP-L | symbols | formats | source"
    rows = [head, " | ".join(["---"] * len(head.split(" | ")))]
    for task in TASKS.values():
        most = "" if task.max_length is None else f", at most {task.max_length}"
        least = "" if task.min_length == 1 else f", at least {task.min_length}"
        cells = (
            " = ".join(f"`{name}`" for name in (task.name, *task.aliases)),
            task.summary.replace("->", "→"),
            f"`{example(task)}`",
            task.length + least + most,
            task.level,
            _RASP_L[task.rasp_l],
            str(len(task.alphabet)),
            ", ".join(formats_of(task)),
            task.source,
        )
        rows.append(" | ".join(cell.replace("|", "\\|") for cell in cells))
    return "".join(f"| {row} |\n" for row in rows)


def page_with(table: str, page: str) -> str:
    """Replaces the table of `page`."""
    before, found, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found and found_end):
        raise ValueError(f"docs/tasks.md has no {BEGIN!r} and {END!r}")
    return before + BEGIN + table + END + after


if __name__ == "__main__":
    PAGE.write_text(page_with(markdown(), PAGE.read_text("utf-8")), "utf-8")
    print(f"{PAGE}: {len(TASKS)} tasks")
