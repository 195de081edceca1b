"""The scorers that a config names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.prompts.prompt import Prompting, Unaskable
from lengthwise.eval.prompts.registry import TASKS, task_names
from lengthwise.eval.prompts.tasks.questions import tasks_of_files
from lengthwise.eval.scoring.bench import Bench, BenchScorer, CurveScorer
from lengthwise.eval.scoring.prompts import PromptScorer
from lengthwise.eval.statistics.curves import ScorerResult

# What eval.prompting may name.
PROMPTING = tuple(way for way in Prompting if way != Prompting.DIRECT)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """The `CurveScorer` of a task that can't be asked under the tokenizer: it has no curves."""

    name: str
    reason: str
    rows: Sequence[int] = ()

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        return ScorerResult(())


def make_scorers(bench: Bench) -> list[CurveScorer]:
    """Those of eval.scorers, then those of eval.tasks; `LeftOut` for tasks that can't be asked.

    Raises UserError: an unknown name, a scorer that these settings or documents don't serve, or
    none that the tokenizer does.
    """
    config = bench.config
    scorers: list[BenchScorer] = [
        config.scorer_settings.make(name, "an item of eval.scorers")
        for name in dict.fromkeys(config.scorers)
    ]
    for name in config.prompting:
        if name not in PROMPTING:
            raise UserError(
                f"eval.prompting holds {name!r}, which is unknown; choose among "
                + ", ".join(PROMPTING)
            )
    names = task_names(config.tasks)
    if twice := [name for name in names if name in config.scorers]:
        raise UserError(f"eval.tasks: {twice[0]!r} is a scorer as well; rename yours")
    made = [_unless_unaskable(each.name, _prepared, each, bench) for each in scorers]
    if names:
        maker = bench.prompt_maker
        of_files = tasks_of_files(config.qa_1, config.qa_2)
        for name in names:
            task = of_files.get(name) or TASKS[name]
            made.append(_unless_unaskable(name, PromptScorer, task, bench, maker))
    left_out = [scorer for scorer in made if isinstance(scorer, LeftOut)]
    if made and len(left_out) == len(made):
        raise UserError(left_out[0].reason)
    return made


def _prepared(scorer: BenchScorer, bench: Bench) -> BenchScorer:
    scorer.prepare(bench)
    return scorer


def _unless_unaskable(name: str, make: Callable[..., CurveScorer], *arguments: Any) -> CurveScorer:
    try:
        return make(*arguments)
    except Unaskable as error:
        return LeftOut(name, str(error))


def finite_scores(scorer: CurveScorer, methods: Sequence[Method]) -> ScorerResult:
    """The scores by all methods; where one is not finite, by the plain model alone; where that is
    not finite either, none. What is left out says why. methods: the plain one first."""
    try:
        return scorer(methods)
    except FloatingPointError as error:
        reason = str(error)
    plain, *others = methods
    if not others:
        return ScorerResult((), left_out=(f"{scorer.name} ({plain.name}): {reason}",))
    scored = finite_scores(scorer, [plain])
    names = ", ".join(method.name for method in others)
    return dataclasses.replace(
        scored, left_out=(*scored.left_out, f"{scorer.name} ({names}): {reason}")
    )
