"""Runs the experiments on text, a grid of runs that many claims share.

    python -m lengthwise.experiments.grid [QUESTION ...] [--scale=cpu] [--hours=H]

Each question goes by steps, and the command does what comes next: learning rates are tried and
pilots run, under seeds that count for nothing else; they give the plan
docs/claims/GRID/QUESTION.json, which you read and commit; then the runs start that count. A
finished run leaves one row in docs/claims/GRID.jsonl, and one that serves several claims is trained
once: the same command later trains what is missing, and goes on with a run that was killed. Started
several times side by side, on cores or machines that share the folders, it divides the runs. Commit
the rows too; `python -m lengthwise.experiments.claims` writes docs/claims.md from them.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lengthwise.app.command import shell
from lengthwise.common.errors import UserError
from lengthwise.experiments.definitions.text import GRIDS, grid_of
from lengthwise.experiments.page import DOCS
from lengthwise.experiments.text.design import RunGrid, TextQuestion
from lengthwise.experiments.text.plan import (
    check_committed,
    choose_rates,
    families_of,
    make_plan,
    plan_path,
    read_plan,
    write_plan,
)
from lengthwise.experiments.text.row import Row, read_rows
from lengthwise.experiments.text.run import (
    Run,
    hours_needed,
    main_runs,
    pilot_runs,
    rate_runs,
    train_missing,
)
from lengthwise.experiments.text.tables import plan_table, results_section
from lengthwise.experiments.text.verdicts import QuestionResults, results_of

STORED = DOCS / "claims"  # rows and plans


@dataclass(frozen=True)
class Sitting:
    """One sitting of a grid."""

    grid: RunGrid
    stored: Path  # folder of rows and plans
    directory: Path  # of work directories
    deadline: float | None  # of time.monotonic; None: no limit

    @property
    def file(self) -> Path:
        """The file of the rows."""
        return self.stored / f"{self.grid.title}.jsonl"

    def rows(self) -> dict[str, Row]:
        return read_rows(self.file)

    def train(self, runs: Sequence[Run]) -> tuple[int, list[Run]]:
        """See `train_missing`."""
        return train_missing(runs, self.file, self.directory, self.deadline)

    def advance(self, question: TextQuestion) -> int:
        """Does what comes next for a question, as far as the time allows; returns the status.

        Raises:
          UserError: a plan that isn't committed, or is of another design.
        """
        grid, path = self.grid, plan_path(self.stored, self.grid, question)
        families = families_of(grid, question)
        status, left = self.train(rate_runs(grid, families))
        if status or left:
            return self._stopped(status, "rates to try", left)
        rates = choose_rates(grid, families, self.rows())
        status, left = self.train(pilot_runs(grid, question, rates))
        if status or left:
            return self._stopped(status, "pilots", left)
        plan = read_plan(path, grid, question)
        if plan is None:
            plan = make_plan(grid, question, self.rows())
            write_plan(path, plan)
            print(f"{question.name}: {path} is the plan; read and commit it, then go on\n")
            print(plan_table(grid, plan))
            return 0
        check_committed(path)
        status, left = self.train(main_runs(grid, [question.name], plan.rates))
        if status or left:
            return self._stopped(status, "runs", left)
        results = results_of(grid, question, plan, self.rows())
        assert isinstance(results, QuestionResults)
        print(f"{question.name}: {question.question}\n\n{results_section(results)}")
        return 0

    def _stopped(self, status: int, what: str, left: Sequence[Run]) -> int:
        if status:
            print(f"ended by a signal; the same command goes on below {self.directory}")
            return status
        print(missing_table(what, left, self.rows()))
        return 0


def missing_table(what: str, left: Sequence[Run], rows: Mapping[str, Row]) -> str:
    """Missing runs by arm, with the hours that they need."""
    needed = [hours_needed(run, rows) for run in left]
    known = [hours for hours in needed if hours is not None]
    total = f"about {sum(known):.1f} hours" if known else "hours unknown before a first run"
    lines = [f"the time is spent; {len(left)} {what} are missing, {total}:"]
    for name in dict.fromkeys(run.arm.name for run in left):
        of_arm = [hours for run, hours in zip(left, needed, strict=True) if run.arm.name == name]
        known = [hours for hours in of_arm if hours is not None]
        each = f", about {sum(known):.2f} hours" if known else ""
        lines.append(f"  {name}: {len(of_arm)} runs{each}")
    return "\n".join(lines)


def _parser() -> shell.ArgumentParser:
    parser = shell.ArgumentParser(
        prog="python -m lengthwise.experiments.grid",
        description=__doc__,
        formatter_class=shell.HelpFormatter,
    )
    parser.add_argument("questions", nargs="*", help="of the grid, in this order; none: all")
    parser.add_argument("--corpus", default="aws_docs", help=" | ".join(GRIDS))
    parser.add_argument("--scale", default="cpu", help="cpu | gpu | pod")
    parser.add_argument("--hours", type=float, help="after which no run starts")
    parser.add_argument("--directory", default="runs/text", help="the folder of all runs")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Advances the questions that the arguments name; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.hours is not None and not options.hours > 0:
        raise UserError(f"--hours={options.hours:g} must be above 0")
    grid = grid_of(options.corpus, options.scale)
    grid.check()
    questions = [grid.question(name) for name in options.questions] or list(grid.questions)
    deadline = None if options.hours is None else time.monotonic() + 3600 * options.hours
    sitting = Sitting(grid, STORED, Path(options.directory), deadline)
    for question in questions:
        if status := sitting.advance(question):
            return status
    return 0


if __name__ == "__main__":
    shell.run_command(lambda: main(sys.argv[1:]))
