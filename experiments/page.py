"""Results in Markdown: a section of each experiment, docs/reproductions.md out of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.definition import BEYOND, IN_RANGE, Experiment
from experiments.results import Results, means, read
from experiments.variance import MOST_SEEDS, POWER, seeds_needed, shares, success
from experiments.verdict import ALPHA, GATE

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, STORED = "reproductions.md", "reproductions"

_HEAD = f"""\
# Reproductions

Findings of others, run again. This page is written by `python -m experiments.run NAME --publish`
from the results in `docs/reproductions/*.json`, and never by hand; a test fails where it isn't what
they give. What is run, the claims and the rule stand in `experiments/` before anything is run.

- **Effect**: the difference in exact match between two arms, mean over tested lengths, then over
  seeds. The seed is the unit: intervals are Student's t over the seeds' differences, and never
  narrower than the samples alone would have them.
- **reproduced**: the effect is at least the smallest that counts, and that it is none or the other
  way round is rejected. **contradicted**: that it is as large as that is rejected. Each test is
  one-sided at {ALPHA / 2}, with Holm's correction over the claims of an experiment.
- **not at this scale**: an arm that must know the trained lengths is right in less than {GATE:.0%}
  of their samples, mean over lengths and seeds. **inconclusive**: none of these.
- An experiment is what the first of contradicted, not at this scale, inconclusive, reproduced is
  that one of its claims is.
- Claims that aren't about exact match keep the rule with another value of each seed. **Gap**: exact
  match in range less that beyond, where above 0; the smaller is better. **Critical complexity**:
  the level of the largest gap over tasks ordered by complexity. **Samples**: until the selection
  samples are first {GATE:.0%} right, all of them where they never are; effects in doublings. What
  can be told in steps only has at least the variance of rounding.
- A seed is of initialization, order of the data and dropout together, and of the samples (`seed`,
  `data.task.seed`): these are told apart in seed_variance alone, where the error of an effect is
  that of crossed random effects. Only which bucket a step trains on is drawn alike under all seeds.
- Nothing was chosen by scores at tested lengths; what early_stopping chooses, it chooses by other
  lengths.
"""


def _number(value: float) -> str:
    return f"{value:.3f}"


def _sized(value: float) -> str:
    """1.2e+15 as 1.2e15, for budgets."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _table(head: str, rows: list[list[str]]) -> str:
    lines = [head, " | ".join(["---"] * len(head.split(" | ")))]
    return "".join(f"| {line} |\n" for line in [*lines, *(" | ".join(row) for row in rows)])


def _claims(experiment: Experiment, results: Results) -> str:
    rows = []
    for claim, measured, verdict in results.judged(experiment):
        low, high = measured.effect.interval
        interval = "none, one seed" if math.isinf(low) else f"{low:+.3f} to {high:+.3f}"
        rows.append(
            [
                claim.says(experiment.label),
                f"{measured.effect.value:+.3f}",
                interval,
                _number(claim.margin),
                f"{verdict.p_none:.2g}",
                f"{verdict.p_counts:.2g}",
                _number(min(measured.gated)),
                f"**{verdict.verdict}**",
            ]
        )
    head = (
        f"claim | effect | interval, {1 - ALPHA:.0%} | smallest that counts | p of none | "
        "p of counting | gate | verdict"
    )
    return _table(head, rows)


def _arms(experiment: Experiment, results: Results) -> str:
    rows = []
    for arm in experiment.arms_at(results.scale):
        runs = results.of(arm.name)
        cells = [arm.label]
        for where in (IN_RANGE, BEYOND):
            mean, least, most = means(runs, where)
            cells.append(f"{_number(mean)} ({_number(least)} to {_number(most)})")
        cells += [
            arm.published,
            _sized(sum(run.targets for run in runs) / len(runs)),
            _sized(sum(run.flops for run in runs) / len(runs)),
            f"{sum(run.seconds for run in runs) / len(runs):.0f} s",
        ]
        rows.append(cells)
    head = "arm | exact match in range | beyond | published | valid targets | FLOPs | wall time"
    return _table(head, rows)


def _along(experiment: Experiment, results: Results) -> list[str]:
    """Scores in training, where they are of lengths beyond the trained ones; or nothing."""
    rows = []
    for arm in experiment.arms_at(results.scale):
        runs = [run for run in results.of(arm.name) if run.curve and run.selection is not None]
        if not runs or any(run.selection[0] <= run.trained[1] for run in runs if run.selection):
            return []
        ends = [(min(run.curve, key=lambda each: each.wrong), run.curve[-1]) for run in runs]
        rows.append(
            [
                arm.label,
                *(
                    text
                    for place in (0, 1)
                    for text in (
                        f"{np.mean([end[place].step for end in ends]):.0f}",
                        _number(float(np.mean([end[place].exact for end in ends]))),
                        f"{np.mean([end[place].loss for end in ends]):.2g}",
                    )
                ),
                f"{sum(last.loss < best.loss for best, last in ends)} of {len(ends)}",
            ]
        )
    head = (
        "arm | best step | exact match there | training loss there | last step | exact match there "
        "| training loss there | loss fell on"
    )
    low, high = results.runs[0].selection or (0, 0)
    said = (
        f"Selection samples of lengths {low} to {high}, beyond the trained ones, along training; "
        "means over seeds; the best step has the fewest wrong tokens. The best of many scores is "
        "so by chance too: what choosing it brings is the claim, on other lengths."
    )
    return [said, "", _table(head, rows)]


def _chance(experiment: Experiment, results: Results) -> list[str]:
    """What crossed seeds tell of chance; or nothing."""
    if (crossed := experiment.crossed) is None:
        return []
    rows = []
    for arm in experiment.arms_at(results.scale):
        values = [run.accuracy(BEYOND) for run in results.of(arm.name)]
        count, share = success(values, crossed.success)
        parts = shares(np.reshape(values, (-1, crossed.orders)))
        rows.append(
            [
                arm.label,
                f"{count} of {len(values)}",
                f"{_number(share.low)} to {_number(share.high)}",
                _number(float(np.std(values, ddof=1))),
                *(f"{part:.0%}" for part in (parts.initialization, parts.order, parts.both)),
            ]
        )
    head = (
        "arm | successes | share of them, 95% | standard deviation | of its square: "
        "initialization | order of the data | both together"
    )
    lines = [
        f"{results.seeds // crossed.orders} initializations, each with the same {crossed.orders} "
        f"orders of the data. A success is an exact match of {crossed.success} or more, mean over "
        "tested lengths beyond the trained ones.",
        "",
        _table(head, rows),
    ]
    for claim in results.claims:
        better, worse = results.of(claim.better), results.of(claim.worse)
        pairs = list(zip(better, worse, strict=True))
        apart = np.array([b.accuracy(BEYOND) - w.accuracy(BEYOND) for b, w in pairs])
        floor = float(np.mean([b.variance(BEYOND) + w.variance(BEYOND) for b, w in pairs]))
        needed = seeds_needed(apart, claim.margin, floor)
        lines += [
            f"Seeds that the claim ({claim.says(experiment.label)}) needs to be reproduced in "
            f"{POWER:.0%} of repetitions, drawn from these runs: "
            f"{f'more than {MOST_SEEDS}' if needed is None else needed}.",
            "",
        ]
    return lines


def _left_out(experiment: Experiment, scale: str) -> list[str]:
    """A paragraph, or none where all arms are run."""
    names = experiment.left_out.get(scale, ())
    if not names:
        return []
    labels = "; ".join(experiment.label(name) for name in names)
    return [f"Left out at this scale, with the claims about them: {labels}.", ""]


def _settings(experiment: Experiment, scale: str) -> str:
    fields = experiment.scales[scale]
    return ", ".join(f"`{name}={value}`" for name, value in fields.items())


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
    seeds = ", ".join(str(run.seed) for run in results.of(first.arm))
    beyond = [n for n in first.lengths if n > first.trained[1]]
    return "\n".join(
        [
            f"### {results.scale}: {results.verdict(experiment)}",
            "",
            f"`python -m experiments.run {experiment.name} --scale={results.scale} "
            f"--seeds={results.seeds} --publish`, on {results.machine}. Trained on lengths "
            f"{first.trained[0]} to {first.trained[1]}, tested beyond at {beyond[0]} to "
            f"{beyond[-1]}. Seeds {seeds}. Budgets are means of a run.{_shared(results)}",
            "",
            _claims(experiment, results),
            _arms(experiment, results),
            *_along(experiment, results),
            *_chance(experiment, results),
            *_left_out(experiment, results.scale),
            f"![Exact match against length: {experiment.question}]({picture})",
            "",
            f"Differences from `configs/task.py`: {_settings(experiment, results.scale)}.",
            "",
        ]
    )


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
                said, seeds = "not run", ""
            else:
                said, seeds = results.verdict(experiment), str(results.seeds)
                picture = f"{folder.name}/{experiment.name}-{scale}.png"
                parts.append(section(experiment, results, picture))
            rows.append([f"[{experiment.name}](#{experiment.name})", scale, said, seeds])
        missing = [s for s in experiment.scales if (experiment.name, s) not in found]
        if missing:
            parts.append(f"Not run: {', '.join(missing)}.")
        sections.append("\n\n".join(part.rstrip() for part in parts) + "\n")
    summary = _table("experiment | scale | verdict | seeds", rows)
    return "\n".join([_HEAD, summary, *sections])
