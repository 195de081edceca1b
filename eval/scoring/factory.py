"""The scorers that a config names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.prompts.prompt import Prompting
from lengthwise.eval.prompts.registry import TASKS, task_names
from lengthwise.eval.prompts.tasks.questions import tasks_of_files
from lengthwise.eval.scoring.bench import Bench, BenchScorer, CurveScorer
from lengthwise.eval.scoring.prompts import PromptScorer
from lengthwise.eval.statistics.curves import ScorerResult

# What eval.prompting may name.
PROMPTING = tuple(way for way in Prompting if way != Prompting.DIRECT)


def make_scorers(bench: Bench) -> list[CurveScorer]:
    """Those of eval.scorers, then those of eval.tasks.

    Raises UserError: an unknown name, or a scorer that these settings, documents or tokenizer don't
    serve.
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
    for scorer in scorers:
        scorer.prepare(bench)
    if not names:
        return [*scorers]
    of_files = tasks_of_files(config.qa_1, config.qa_2)
    tasks = [of_files.get(name) or TASKS[name] for name in names]
    return [*scorers, *(PromptScorer(task, bench, bench.prompt_maker) for task in tasks)]


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
