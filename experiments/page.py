"""docs/reproductions.md: an overview and a section of each experiment, from stored results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lengthwise.configs import task
from lengthwise.experiments.definition import Changes, ExperimentDefinition
from lengthwise.experiments.results import FLOOR, ExperimentResults, read
from lengthwise.experiments.statistics.verdict import ALPHA, GATE
from lengthwise.experiments.tables import (
    REACH_THRESHOLD,
    arm_table,
    claim_table,
    crossed_table,
    level_table,
    samples_table,
    table,
    training_table,
)
from lengthwise.train.config import CONFIG_VERSION

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, STORED = "reproductions.md", "reproductions"

_MODEL = task.get_config().model
_SETTLES = "can settle its question"  # first column of the overview
_HEAD = f"""\
# Reproductions

Published findings, run again. `python -m lengthwise.experiments.run NAME --publish` writes this
page from the results in `docs/reproductions/*.json`; a test fails where it isn't what they give.
Settings, claims and decision rule are stated in `experiments/` before anything runs.

- **Effect**: the difference in exact match between two arms, mean over tested lengths, then over
  seeds. The seed is the unit: intervals are Student's t over the seeds' differences, and never
  narrower than sampling alone gives, where equal problems count once.
- **reproduced**: the effect is at least the smallest that counts, and H0 "effect <= 0" is rejected
  (**p of none**). **contradicted**: H0 "effect >= the smallest that counts" is rejected (**p of
  counting**). Each test is one-sided at {ALPHA / 2}; the p are Holm-adjusted over the claims of an
  experiment.
- **Indistinguishable arms**: beyond the trained lengths two compared arms are both right in less
  than {FLOOR:.0%}, or both in more than {1 - FLOOR:.0%} (the smallest difference that counts in
  place of {FLOOR:.0%}, where it is less). That contradicts nothing, and the design doesn't settle
  its question: the overview says so in its first column, and of how many claims.
- **not at this scale**: an arm that must have learned the trained lengths is right in less than
  {GATE:.0%} of their samples, mean over lengths and seeds; **gate** is the smallest of these means.
  Such a claim has no p. **inconclusive**: none of these.
- The verdict of an experiment is the first of contradicted, not at this scale, inconclusive,
  reproduced among its claims. **Reproduced** is said of the claims as the tables state them, not of
  all that a source has: the published numbers are beside ours.
- **Right up to**: the longest tested length up to which, at every length, {REACH_THRESHOLD} or more
  are right, mean over seeds.
- Claims that aren't about exact match have the same rule with another value of each seed. **Gap**:
  exact match in range less that beyond, where above 0; smaller is better. **Critical complexity**:
  the level of the largest gap over tasks ordered by complexity, all of which up to there must pass
  the gate: a gap of what isn't learned in range says nothing of length. **Samples**: until
  {GATE:.0%} of the selection samples are first right, all of them where that never happens, which
  can't contradict a claim; effects in doublings. A quantity known in steps only has at least the
  variance of rounding.
- One seed sets initialization, data order and dropout (`seed`) and the samples
  (`data.task.seed`). Only seed_variance separates them: its standard errors are those of crossed
  random effects, and not below that of sampling, since its runs share their samples. The bucket
  order is equal under all seeds.
- No setting of an arm was chosen by its accuracy beyond the trained lengths: steps were chosen,
  and learning is judged, on samples of trained lengths, and early_stopping selects on other lengths
  than it tests. **Second design**: lengths, positions, steps or seeds of all arms were stated anew
  after the scores of a first design had been seen, those beyond the trained lengths included: its
  arms were indistinguishable, an arm failed the gate, neither arm generalized, or equal samples had
  counted as distinct. Such an experiment reports what its first design gave. The rules that
  indistinguishable arms contradict nothing, and that equal problems count once, were added after
  first runs; both only take verdicts back.
- Ranges in parentheses behind a mean are the smallest and the largest seed. Intervals are not
  corrected for the other claims: one whose interval lies above 0 may still be inconclusive.
- **Config version**: that of the code that trained, raised where a change of code alters results;
  this code has {CONFIG_VERSION}. Since 3 the first step of a warm-up trains, and what dropout and
  rows' positions draw goes by the number of the row: results before 3 would be other numbers now.
- Settings are differences from `configs/task.py`, whose model has {_MODEL.layers} layers of
  {_MODEL.embed_dim} channels.
- **Minutes**: wall time of all runs of an experiment in sequence, without the final scoring; each
  experiment says on how many cores.
"""


def _left_out(experiment: ExperimentDefinition, scale: str) -> list[str]:
    """A paragraph on omitted arms, or none."""
    names = experiment.left_out.get(scale, ())
    if not names:
        return []
    labels = "; ".join(experiment.label(name) for name in names)
    return [f"Left out at this scale, with the claims about them: {labels}.", ""]


def _indistinguishable(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Claims whose arms this scale doesn't distinguish, which it thus can't contradict."""
    return [
        f"{claim.text(experiment.label)}: {how}"
        for claim in results.claims
        if (how := results.indistinguishable(claim))
    ]


def _reasons(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Earlier designs, indistinguishable arms and known reasons of failure, a paragraph each."""
    lines = []
    if results.scale in experiment.earlier:
        lines = [f"Second design; the first: {experiment.earlier[results.scale]}.", ""]
    if claims := _indistinguishable(experiment, results):
        lines += [f"Indistinguishable arms at this scale: {'; '.join(claims)} there.", ""]
    if results.scale in experiment.reasons:
        lines += [f"Why, as far as known: {experiment.reasons[results.scale]}.", ""]
    return lines


def _settings(experiment: ExperimentDefinition, scale: str) -> list[str]:
    """Settings of all arms, then those of single arms."""
    lines = [f"Differences from `configs/task.py`: {_fields(experiment.scales[scale])}."]
    for arm in experiment.arms_at(scale):
        if own := {**arm.changes, **arm.at_scale.get(scale, {})}:
            lines.append(f"- {arm.label}: {_fields(own)}")
    return ["\n".join([lines[0], "", *lines[1:]]).rstrip(), ""]


def _fields(changes: Changes) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in changes.items())


def _shared(results: ExperimentResults) -> str:
    """A note on runs that were trained together; "" where none were."""
    largest = max(run.together for run in results.runs)
    if largest == 1:
        return ""
    return (
        f" Up to {largest} seeds of an arm were trained together: the wall time of a run is its "
        "share of theirs."
    )


def section(experiment: ExperimentDefinition, results: ExperimentResults, picture: str) -> str:
    """One experiment at one scale. picture: address of its figure."""
    first = results.runs[0]
    numbers = [run.seed for run in results.of(first.arm)]
    seeds = f"Seeds {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"Seed {numbers[0]}"
    beyond = [n for n in first.lengths if n > first.trained[1]]
    return "\n".join(
        [
            f"### {results.scale}: {results.verdict(experiment)}",
            "",
            f"`python -m lengthwise.experiments.run {experiment.name} --scale={results.scale} "
            f"--seeds={results.seeds} --publish`, on {results.machine}, config version "
            f"{results.config_version or 'before 3'}. Trained on lengths "
            f"{first.trained[0]} to {first.trained[1]}, tested beyond at "
            f"{', '.join(map(str, beyond))}. {seeds}. Budgets are means of a run."
            f"{_shared(results)}",
            "",
            claim_table(experiment, results),
            arm_table(experiment, results),
            *samples_table(experiment, results),
            *level_table(experiment, results),
            *training_table(experiment, results),
            *crossed_table(experiment, results),
            *_reasons(experiment, results),
            *_left_out(experiment, results.scale),
            f"![Exact match against length: {experiment.question}]({picture})",
            "",
            *_settings(experiment, results.scale),
        ]
    )


def _notes(experiment: ExperimentDefinition, results: ExperimentResults) -> list[str]:
    """Notes beside the verdict in the overview."""
    return ["second design"] if results.scale in experiment.earlier else []


def settles(experiment: ExperimentDefinition, results: ExperimentResults) -> str:
    """Whether the design can settle its question: not where arms are all right, or all wrong."""
    blind, claims = len(_indistinguishable(experiment, results)), len(results.claims)
    if not blind:
        return "yes"
    return "no" if blind == claims else f"no: {blind} of {claims} claims"


def page(experiments: Mapping[str, ExperimentDefinition], folder: Path) -> str:
    """The text of docs/reproductions.md.

    Args:
      folder: of the stored results.

    Raises:
      UserError: as `read`.
    """
    stored = [read(path, dict(experiments)) for path in sorted(folder.glob("*.json"))]
    by_scale = {(results.experiment, results.scale): results for _, results in stored}
    rows, sections = [], []
    for experiment in experiments.values():
        parts = [
            f"## {experiment.name}",
            f"{experiment.question} {experiment.source}.",
            f"Published: {experiment.published}.",
            f"Tuning: {experiment.tuning}.",
        ]
        for scale in experiment.scales:
            results = by_scale.get((experiment.name, scale))
            if results is None:
                first, cells = "", ["not run", "", "", ""]
            else:
                first = settles(experiment, results)
                minutes = sum(run.seconds for run in results.runs) / 60
                cells = [
                    results.verdict(experiment),
                    str(results.seeds),
                    f"{minutes:.0f}",
                    "; ".join(_notes(experiment, results)),
                ]
                picture = f"{folder.name}/{experiment.name}-{scale}.png"
                parts.append(section(experiment, results, picture))
            rows.append([first, f"[{experiment.name}](#{experiment.name})", scale, *cells])
        missing = [s for s in experiment.scales if (experiment.name, s) not in by_scale]
        if missing:
            parts.append(f"Not run: {', '.join(missing)}.")
        sections.append("\n\n".join(part.rstrip() for part in parts) + "\n")
    summary = table(f"{_SETTLES} | experiment | scale | verdict | seeds | minutes | note", rows)
    return "\n".join([_HEAD, summary, *sections])
