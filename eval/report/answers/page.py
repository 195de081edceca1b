"""The report of a run on a task: one self-contained page, and its pictures as PNGs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lengthwise.eval.answers.trainings import TrainingScores
from lengthwise.eval.card.comparison import Comparison
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.report.answers.pictures import draw_answers, draw_selection
from lengthwise.eval.report.answers.wording import headline, mean_text, share_cell
from lengthwise.eval.report.card.wording import difference_cells
from lengthwise.eval.report.page import Figure, Picture, page_environment, write_page
from lengthwise.eval.report.run.run_page import (
    RunInputs,
    run_filters,
    run_values,
    training_pictures,
)
from lengthwise.eval.report.training_log import TrainingLog, evaluation_rows


@dataclass(frozen=True)
class Example:
    """One problem with its answer, as text."""

    length: int
    prompt: str
    answer: str


@dataclass(frozen=True)
class AnswersInputs(RunInputs):
    """Content of the page."""

    task: str
    counts: str  # what its length counts
    trained: tuple[int, int]  # shortest and longest length
    examples: Sequence[Example]
    scored: Sequence[TrainingScores]  # the run's own training first
    comparisons: Sequence[Comparison]  # of the others with the first
    decoded: Sequence[Mapping[str, int]]  # length, samples, agree
    identity: RunIdentity
    confidence: float
    seeds: str  # of the run, in words


def write_answers(workdir: Path, inputs: AnswersInputs) -> Path:
    """Writes workdir/report/index.html and a PNG per picture beside it; returns the page's path.

    Each file is replaced whole. Raises UserError where metrics hold no training step.
    """
    log = TrainingLog(inputs.metrics)
    return write_page(
        workdir / "report" / "index.html",
        _pictures(inputs, log),
        lambda figures: render(inputs, log, figures),
    )


def render(inputs: AnswersInputs, log: TrainingLog, figures: Mapping[str, Figure]) -> str:
    """The page as text; whatever comes from the user is escaped."""
    environment = page_environment()
    environment.filters.update(run_filters(), interval=share_cell, mean=mean_text)
    first = inputs.scored[0]
    lengths = [score.length for score in first.answers.scores]
    return environment.get_template("answers.html.j2").render(
        run_values(inputs, log),
        inputs=inputs,
        sentences=headline(first, inputs.trained),
        first=first,
        has_chance=any(score.chance >= 0.001 for score in first.answers.scores),
        differences=[(c, difference_cells(c, lengths)) for c in inputs.comparisons],
        lengths=lengths,
        figures=figures,
    )


def _pictures(inputs: AnswersInputs, log: TrainingLog) -> list[Picture]:
    answers = inputs.scored[0].answers
    several = any(len(each.seeds) > 1 for each in inputs.scored)
    bars = f"Bars: {inputs.confidence:.0%} intervals, "
    alone = (
        "Wilson's for answers and the bootstrap over samples (and one all right, one all wrong) "
        "for tokens"
    )
    if several:
        bars += f"over seeds and samples where there are several seeds (thin lines), else {alone}."
    else:
        bars += f"{alone}, {answers.scores[0].samples:,} samples a length."
    pictures = [
        Picture(
            "answers",
            "Answers that are right as a whole, and right tokens of the answers, by "
            f"{inputs.counts}. Shaded: lengths that were trained. {bars}",
            "Line charts of exact match and of right tokens against length, with the trained "
            "lengths shaded and the threshold marked.",
            partial(draw_answers, inputs.scored, inputs.trained),
        ),
        *training_pictures(log),
    ]
    evaluations = evaluation_rows(inputs.metrics)
    if evaluations:
        pictures.append(
            Picture(
                "selection",
                "Samples that choose, beyond the trained lengths unless "
                "eval.answers.selection_lengths says otherwise: means over lengths. Early "
                "stopping and the best checkpoint go by the right tokens.",
                "Line chart of exact match and right tokens over training steps.",
                partial(draw_selection, evaluations),
            )
        )
    return pictures
