"""docs/claims.md: claims that users come with, beside what was measured of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lengthwise.eval.report.style import LIGHT, png_bytes
from lengthwise.experiments.claims.lessons import (
    NO_VERDICT,
    NOT_YET,
    SETTLED,
    UNSETTLED,
    UNTESTABLE,
    lessons,
)
from lengthwise.experiments.claims.listed import ListedClaim, listed_claims
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.definitions.text import grid_of
from lengthwise.experiments.page import STORED, settles
from lengthwise.experiments.results import ExperimentResults, read
from lengthwise.experiments.statistics.verdict import CONTRADICTED, EQUIVALENT, REPRODUCED
from lengthwise.experiments.tables import table
from lengthwise.experiments.text.design import RunGrid, TextQuestion
from lengthwise.experiments.text.picture import draw
from lengthwise.experiments.text.plan import Plan, plan_path, read_plan
from lengthwise.experiments.text.row import Row, read_rows
from lengthwise.experiments.text.run import main_runs, missing
from lengthwise.experiments.text.tables import plan_table, results_section
from lengthwise.experiments.text.verdicts import QuestionResults, results_of

PAGE, ROWS = "claims.md", "claims"  # in docs/
PICTURE, PRIMARY = "claims.png", "natural_lengths"  # of the main question, once it is answered
_SURE = {REPRODUCED, EQUIVALENT, CONTRADICTED}  # verdicts that settle something
_SCALE = "cpu"
_CORPUS = "aws_docs"  # of the questions on text


@dataclass(frozen=True)
class QuestionAnswer:
    """What is known of a question on text."""

    verdicts: tuple[str, ...]  # of its claims; (): none yet
    state: str  # in words
    section: str  # Markdown
    results: QuestionResults | None = None


class StoredResults:
    """All that was measured: results of the task lab, rows of the grids."""

    def __init__(self, docs: Path):
        """Raises UserError: as `read`, `read_rows` and `read_plan`."""
        self.tasks: dict[str, ExperimentResults] = {}
        for path in sorted((docs / STORED).glob(f"*-{_SCALE}.json")):
            experiment, results = read(path, EXPERIMENTS)
            self.tasks[experiment.name] = results
        self.answers: dict[str, QuestionAnswer] = {}
        grid = grid_of(_CORPUS, _SCALE)
        rows = read_rows(docs / ROWS / f"{grid.title}.jsonl")
        for question in grid.questions:
            plan = read_plan(plan_path(docs / ROWS, grid, question), grid, question)
            self.answers[question.name] = answer(grid, question, plan, rows)

    def of_task(self, name: str) -> str:
        """The verdict of an experiment of the task lab, with its link."""
        results = self.tasks.get(name)
        if results is None:
            return f"{NOT_YET} ({name})"
        told = settles(EXPERIMENTS[name], results)
        blind = "" if told == "yes" else "; its design can't settle it" + told.removeprefix("no")
        link = f"[{name}](reproductions.md#{name})"
        return f"{_counted(self.verdicts_of_task(name))} ({link}{blind})"

    def verdicts_of_task(self, name: str) -> tuple[str, ...]:
        """The verdicts on the claims of an experiment; () where it wasn't run."""
        if name not in self.tasks:
            return ()
        judged = self.tasks[name].verdicts(EXPERIMENTS[name])
        return tuple(verdict.verdict for _, _, verdict in judged)


def answer(
    grid: RunGrid, question: TextQuestion, plan: Plan | None, rows: Mapping[str, Row]
) -> QuestionAnswer:
    """What is known of a question."""
    command = f"`python -m lengthwise.experiments.grid {question.name} --scale={grid.scale}`"
    rates = {family: tried[0] for family, tried in grid.rates.items()}
    runs = main_runs(grid, [question.name], rates if plan is None else plan.rates)
    tokens = sum(run.tokens for run in runs) / 1e6
    size = f"{len(runs)} runs, {tokens:.0f}M tokens"
    claims = "".join(
        f"- {claim.text(grid.label)}; smallest that counts: {claim.margin:g} {claim.measure.unit}\n"
        for claim in question.claims
    )
    head = (
        f"### {question.name}\n\n{question.question} About {question.about}. Source: "
        f"{question.source}: {question.published}. "
        f"{'Exploratory' if question.exploratory else 'Primary'}, {question.seeds} seeds an arm. "
        f"{command}\n\n"
    )
    if plan is None:
        state = f"rates, pilots and a committed plan, then {size}"
        return QuestionAnswer((), state, f"{head}{claims}\nNot yet: {state}.\n")
    found = results_of(grid, question, plan, rows)
    if not isinstance(found, QuestionResults):
        state = f"{len(missing(runs, rows))} of {size}"
        return QuestionAnswer((), state, f"{head}{plan_table(grid, plan)}\nNot yet: {state}.\n")
    verdicts = tuple(verdict.verdict for _, _, verdict in found.verdicts())
    section = f"{head}{_picture(found)}{results_section(found)}\n{plan_table(grid, plan)}"
    return QuestionAnswer(verdicts, "", section, found)


def _picture(results: QuestionResults) -> str:
    """The line that shows the main question's picture; empty of any other."""
    if results.question.name != PRIMARY:
        return ""
    return (
        f"![Loss of the same targets against context, by arm, mean of {results.question.seeds} "
        f"seeds with 95 % intervals, and the difference to the rival by seed]({PICTURE})\n\n"
    )


def verdict_of(claim: ListedClaim, evidence: StoredResults) -> tuple[str, str]:
    """(kind of answer, the cell of a claim's verdict)."""
    if claim.untestable:
        return UNTESTABLE, f"**{UNTESTABLE}**: {claim.untestable}"
    parts = [evidence.of_task(name) for name in claim.experiments]
    verdicts = [each for name in claim.experiments for each in evidence.verdicts_of_task(name)]
    waiting = []
    for name in claim.questions:
        if found := evidence.answers[name].verdicts:
            verdicts += found
            parts.append(f"{_counted(found)} ([{name}](#{name}))")
        else:
            waiting.append(f"[{name}](#{name})")
    if waiting:
        parts.append(f"of text **{NOT_YET}**: {', '.join(waiting)}")
    if claim.missing:
        parts.append(f"missing: {claim.missing}")
    if verdicts:
        return SETTLED if _SURE & set(verdicts) else UNSETTLED, "; ".join(parts)
    if not parts:
        return NO_VERDICT, f"**{NO_VERDICT}** over seeds"
    return NOT_YET, "; ".join(parts if waiting else [f"**{NOT_YET}**", *parts])


def _counted(verdicts: Sequence[str]) -> str:
    """Verdicts with how often each was given, where there are several."""
    counts = Counter(verdicts)
    if len(counts) == 1:
        return f"**{verdicts[0]}**"
    return ", ".join(f"{count} **{verdict}**" for verdict, count in counts.items())


def picture(evidence: StoredResults) -> bytes | None:
    """The main question's picture, a PNG; None before it is answered."""
    results = evidence.answers[PRIMARY].results
    return None if results is None else png_bytes(draw(results, LIGHT), LIGHT)


def page(evidence: StoredResults) -> str:
    """The text of docs/claims.md."""
    rows = []
    counts: Counter[str] = Counter()
    for claim in listed_claims():
        kind, cell = verdict_of(claim, evidence)
        counts[kind] += 1
        source = claim.source + " (not read here)" * claim.unverified
        rows.append([claim.number, claim.claim, source, claim.measured or "-", cell])
    answered = [bool(each.verdicts) for each in evidence.answers.values()]
    sections = "\n".join(each.section.rstrip() + "\n" for each in evidence.answers.values())
    return "\n".join(
        [
            _HEAD,
            *lessons(evidence.tasks, answered, counts),
            "",
            _LIST,
            table("# | claim | source | measured | verdict, or what is missing", rows),
            _TEXT,
            sections,
        ]
    )


_HEAD = """\
# Claims

What users come with, and what was measured of it. `python -m lengthwise.experiments.claims` writes
this page from the list in `experiments/claims/claims.toml`, the results in `docs/reproductions/`
and the rows in `docs/claims/`; a test fails where it isn't what they give. What one learns:
"""
_LIST = """\
A is an article on how training duration, token counts and lengths affect generalization, B a
chapter on training with long contexts. A verdict is by the rule of
[reproductions](reproductions.md), over seeds, and about the statement of its experiment, which may
be narrower than the claim; **no verdict** is a table or a checkpoint that bears on it, without
seeds.
"""
_TEXT = """\
## Questions about text

One grid of runs serves them all: the same documents, targets and masks of the scores for every arm,
rates tried on the selection split by throw-away seeds, seeds by the deviation of four pilots,
margins committed before a run. Verdicts are those of [reproductions](reproductions.md), and
**equivalent**: the effect is surely smaller than the smallest that counts, either way (two
one-sided tests). **Not at this scale**: the baseline gains less than 0.03 nats/token from L/4 to L
in a seed. Arms about layouts start from the same checkpoints, one a seed, and are compared in pairs
of one start, in which use of L/4 tokens of context has formed; that of L forms in the arms
themselves, and the tables say in how many runs it did (**formed**). At the CPU scale L is 512
tokens of a BPE of 2,048, on pages of an API reference, half of which have fewer than 400;
`experiments/definitions/text/scales.py` has one GPU and a pod beside.
"""
