"""Results in Markdown: a section of each experiment, docs/reproductions.md out of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lengthwise.configs import task
from lengthwise.experiments.definition import Changes, Experiment
from lengthwise.experiments.results import FLOOR, Results, read
from lengthwise.experiments.tables import (
    FALLEN,
    along,
    arms,
    chance,
    claims,
    levels,
    samples_needed,
    table,
)
from lengthwise.experiments.verdict import ALPHA, GATE

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, STORED = "reproductions.md", "reproductions"

_MODEL = task.get_config().model
_HEAD = f"""\
# Reproductions

Findings of others, run again. This page is written by
`python -m lengthwise.experiments.run NAME --publish`
from the results in `docs/reproductions/*.json`, and never by hand; a test fails where it isn't what
they give. What is run, the claims and the rule stand in `experiments/` before it is run.

- **Effect**: the difference in exact match between two arms, mean over tested lengths, then over
  seeds. The seed is the unit: intervals are Student's t over the seeds' differences, and never
  narrower than the samples alone would have them, of which equal problems count once.
- **reproduced**: the effect is at least the smallest that counts, and that it is none or the other
  way round is rejected (**p of none**). **contradicted**: that it is as large as that is rejected
  (**p of counting**). Each test is one-sided at {ALPHA / 2}, with Holm's correction over the claims
  of an experiment, which the p have in them.
- **Arms hardly told apart**: two that a claim compares beyond the trained lengths are both right in
  less than {FLOOR:.0%} there, or both in more than {1 - FLOOR:.0%} (the smallest difference that
  counts in place of {FLOOR:.0%}, where it is less). That contradicts nothing.
- **not at this scale**: an arm that must know the trained lengths is right in less than {GATE:.0%}
  of their samples, mean over lengths and seeds; **gate** has the least of these means, and such a
  claim has no p. **inconclusive**: none of these.
- An experiment is what the first of contradicted, not at this scale, inconclusive, reproduced is
  that one of its claims is. **Reproduced** is said of the claims as they stand in the tables, not
  of all that a source has: the published numbers are beside ours.
- **Right up to**: the longest tested length such that at it and at all shorter ones {FALLEN} or
  more are right, mean over seeds.
- Claims that aren't about exact match keep the rule with another value of each seed. **Gap**: exact
  match in range less that beyond, where above 0; the smaller is better. **Critical complexity**:
  the level of the largest gap over tasks ordered by complexity. **Samples**: until the selection
  samples are first {GATE:.0%} right, all of them where they never are, which can't contradict a
  claim; effects in doublings. What can be told in steps only has at least the variance of rounding.
- A seed is of initialization, order of the data and dropout together, and of the samples (`seed`,
  `data.task.seed`): these are told apart in seed_variance alone, where the error of an effect is
  that of crossed random effects, and not below that of the samples, all of them, which such runs
  share. Only which bucket a step trains on is drawn alike under all seeds.
- How well an arm does beyond the trained lengths chose no setting of it: steps and learning go by
  samples of trained lengths, and what early_stopping chooses, it chooses by other lengths.
  **Second design**: lengths, positions, steps or seeds of all arms were stated anew, after a first
  design whose scores had been seen, those beyond the trained lengths too: it told arms hardly
  apart, an arm didn't pass the gate, neither arm generalized, or equal samples had counted as
  different ones. Such an experiment says what its first one gave. That arms which are hardly told
  apart contradict nothing, and that equal problems count once, was added after first runs; both
  only take verdicts back.
- Ranges in brackets behind a mean are the least and the largest seed. Intervals are of each claim
  alone, so that a claim whose interval lies above 0 may still be inconclusive.
- Settings are differences from `configs/task.py`, whose model has {_MODEL.layers} layers of
  {_MODEL.embed_dim} channels.
- **Minutes** are the wall time of all runs of an experiment one after the other, without the scores
  at their ends; each experiment says on how many cores.
"""


def _left_out(experiment: Experiment, scale: str) -> list[str]:
    """A paragraph, or none where all arms are run."""
    names = experiment.left_out.get(scale, ())
    if not names:
        return []
    labels = "; ".join(experiment.label(name) for name in names)
    return [f"Left out at this scale, with the claims about them: {labels}.", ""]


def _alike(experiment: Experiment, results: Results) -> list[str]:
    """Claims that can't be contradicted, since nothing is told apart."""
    return [
        f"{claim.says(experiment.label)}: {how}"
        for claim in results.claims
        if (how := results.alike(claim))
    ]


def _reasons(experiment: Experiment, results: Results) -> list[str]:
    """What came before, and what is known of why claims failed; a paragraph each, or none."""
    said = []
    if results.scale in experiment.earlier:
        said = [f"Second design; the first: {experiment.earlier[results.scale]}.", ""]
    if found := _alike(experiment, results):
        said += [f"Arms that this scale hardly tells apart: {'; '.join(found)} there.", ""]
    if results.scale in experiment.reasons:
        said += [f"Why, as far as known: {experiment.reasons[results.scale]}.", ""]
    return said


def _settings(experiment: Experiment, scale: str) -> list[str]:
    """Of all arms, then of each one that has its own."""
    lines = [f"Differences from `configs/task.py`: {_fields(experiment.scales[scale])}."]
    for arm in experiment.arms_at(scale):
        if own := {**arm.changes, **arm.at_scale.get(scale, {})}:
            lines.append(f"- {arm.label}: {_fields(own)}")
    return ["\n".join([lines[0], "", *lines[1:]]).rstrip(), ""]


def _fields(changes: Changes) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in changes.items())


def _shared(results: Results) -> str:
    """That runs shared their time, where they did."""
    most = max(run.together for run in results.runs)
    if most == 1:
        return ""
    return (
        f" Up to {most} seeds of an arm were trained together: the wall time of a run is its part "
        "of theirs."
    )


def section(experiment: Experiment, results: Results, picture: str) -> str:
    """One experiment at one scale. picture: address of its picture."""
    first = results.runs[0]
    numbers = [run.seed for run in results.of(first.arm)]
    seeds = f"Seeds {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"Seed {numbers[0]}"
    beyond = [n for n in first.lengths if n > first.trained[1]]
    return "\n".join(
        [
            f"### {results.scale}: {results.verdict(experiment)}",
            "",
            f"`python -m lengthwise.experiments.run {experiment.name} --scale={results.scale} "
            f"--seeds={results.seeds} --publish`, on {results.machine}. Trained on lengths "
            f"{first.trained[0]} to {first.trained[1]}, tested beyond at "
            f"{', '.join(map(str, beyond))}. {seeds}. Budgets are means of a run."
            f"{_shared(results)}",
            "",
            claims(experiment, results),
            arms(experiment, results),
            *samples_needed(experiment, results),
            *levels(experiment, results),
            *along(experiment, results),
            *chance(experiment, results),
            *_reasons(experiment, results),
            *_left_out(experiment, results.scale),
            f"![Exact match against length: {experiment.question}]({picture})",
            "",
            *_settings(experiment, results.scale),
        ]
    )


def _notes(experiment: Experiment, results: Results) -> list[str]:
    """What the overview says beside a verdict."""
    said = {
        "second design": results.scale in experiment.earlier,
        "arms hardly told apart": bool(_alike(experiment, results)),
    }
    return [words for words, holds in said.items() if holds]


def page(experiments: Mapping[str, Experiment], folder: Path) -> str:
    """docs/reproductions.md. folder: of the stored results. Raises UserError as `read`."""
    stored = [read(path, dict(experiments)) for path in sorted(folder.glob("*.json"))]
    found = {(results.experiment, results.scale): results for _, results in stored}
    rows, sections = [], []
    for experiment in experiments.values():
        parts = [
            f"## {experiment.name}",
            f"{experiment.question} {experiment.source}.",
            f"Published: {experiment.published}.",
            f"Tuning: {experiment.tuning}.",
        ]
        for scale in experiment.scales:
            results = found.get((experiment.name, scale))
            if results is None:
                cells = ["not run", "", "", ""]
            else:
                minutes = sum(run.seconds for run in results.runs) / 60
                cells = [
                    results.verdict(experiment),
                    str(results.seeds),
                    f"{minutes:.0f}",
                    "; ".join(_notes(experiment, results)),
                ]
                picture = f"{folder.name}/{experiment.name}-{scale}.png"
                parts.append(section(experiment, results, picture))
            rows.append([f"[{experiment.name}](#{experiment.name})", scale, *cells])
        missing = [s for s in experiment.scales if (experiment.name, s) not in found]
        if missing:
            parts.append(f"Not run: {', '.join(missing)}.")
        sections.append("\n\n".join(part.rstrip() for part in parts) + "\n")
    summary = table("experiment | scale | verdict | seeds | minutes | note", rows)
    return "\n".join([_HEAD, summary, *sections])
