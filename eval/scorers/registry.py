"""Every scorer by name. tests/eval/scorers/test_trust.py asks models with known answers of each."""

from __future__ import annotations

from collections.abc import Callable

from lengthwise.common.errors import UserError
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.prompt import Prompting
from lengthwise.eval.prompts.questions import tasks_of_files
from lengthwise.eval.prompts.tasks import TASKS, task_names
from lengthwise.eval.scorers import forgetting, needle_grid, power_law, sliding_window
from lengthwise.eval.scorers.bench import Bench, CurveScorer
from lengthwise.eval.scorers.forgetting import ForgettingCurve
from lengthwise.eval.scorers.needle_grid import NeedleGrid
from lengthwise.eval.scorers.power_law import PowerLawForecast
from lengthwise.eval.scorers.prompts import PromptScorer
from lengthwise.eval.scorers.sliding_window import SlidingWindow

# What eval.scorers may name.
SCORERS: dict[str, Callable[[Bench], CurveScorer]] = {
    forgetting.NAME: ForgettingCurve,
    power_law.NAME: PowerLawForecast,
    sliding_window.NAME: SlidingWindow,
    needle_grid.DEPTH: lambda bench: NeedleGrid(needle_grid.DEPTH, bench, prompt_maker(bench)),
    needle_grid.DISTANCE: lambda bench: NeedleGrid(
        needle_grid.DISTANCE, bench, prompt_maker(bench)
    ),
}

# What eval.prompting may name.
PROMPTING = tuple(way for way in Prompting if way != Prompting.DIRECT)


def make_scorers(bench: Bench) -> list[CurveScorer]:
    """Those of eval.scorers, then those of eval.tasks.

    Raises UserError: an unknown name, or a scorer that these settings, documents or tokenizer don't
    serve.
    """
    config = bench.config
    for name in config.scorers:
        if name not in SCORERS:
            raise UserError(
                f"eval.scorers holds {name!r}, which is unknown; choose among {', '.join(SCORERS)}"
            )
    for name in config.prompting:
        if name not in PROMPTING:
            raise UserError(
                f"eval.prompting holds {name!r}, which is unknown; choose among "
                + ", ".join(PROMPTING)
            )
    made = [SCORERS[name](bench) for name in dict.fromkeys(config.scorers)]
    names = task_names(config.tasks)
    if not names:
        return made
    tasks = tasks_of_files(TASKS, config.qa_1, config.qa_2)
    maker = prompt_maker(bench)
    return [*made, *(PromptScorer(tasks[name], bench, maker) for name in names)]


def prompt_maker(bench: Bench) -> PromptMaker:
    return PromptMaker(bench.tokenizer, bench.l_train, lambda: bench.prose, bench.config.shots)
