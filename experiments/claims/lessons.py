"""What one learns from all results, in ten lines at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lengthwise.configs import dd
from lengthwise.configs.resolve import load
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.page import settles
from lengthwise.experiments.results import ExperimentResults
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import train_step_flops
from lengthwise.model.spec import ModelSpec
from lengthwise.train.plan.shape import vocabulary

# Kinds of answer to a claim.
SETTLED, UNSETTLED = "settled", "not settled"
NOT_YET, UNTESTABLE, NO_VERDICT = "not yet", "can't be tested", "no verdict"
_FALL = 0.05  # of exact match on longer inputs, that counts as getting worse


def lessons(
    tasks: Mapping[str, ExperimentResults], answered: Sequence[bool], counts: Mapping[str, int]
) -> Sequence[str]:
    """The lines, with the numbers of stored results.

    Args:
      tasks: experiment of the task lab -> its results.
      answered: of each question about text, whether it has verdicts.
      counts: kind of answer -> number of listed claims.
    """

    def said(name: str, claim: int) -> str:
        (_, measured, verdict) = tasks[name].verdicts(EXPERIMENTS[name])[claim]
        low, high = measured.effect.interval
        return f"{measured.effect.value:+.2f} ({low:+.2f} to {high:+.2f}), {verdict.verdict}"

    blind = [name for name, results in tasks.items() if settles(EXPERIMENTS[name], results) == "no"]
    worse, ended = worse_beyond(tasks["early_stopping"])
    row, token = length_cost(1 << 13, 1 << 17)
    return (
        f"1. Of {sum(counts.values())} claims, with a verdict over seeds that settles something: "
        f"{counts[SETTLED]}; with verdicts that settle nothing: {counts[UNSETTLED]}; measured "
        f"without seeds: {counts[NO_VERDICT]}; not yet: {counts[NOT_YET]}; can't be tested: "
        f"{counts[UNTESTABLE]}.",
        f"2. Of {len(answered)} questions about text, answered: {sum(answered)} (below).",
        "3. No positions at all, in exact match beyond the trained lengths. Copying, against "
        f"ALiBi: {said('copy_positions', 2)}; against RoPE: {said('copy_positions', 0)}. "
        f"Reversing, against RoPE: {said('reverse_positions', 0)}; against ALiBi: "
        f"{said('reverse_positions', 1)}.",
        f"4. Random positions, of reversing: {said('randomized_positions', 0)}; of sorting: "
        f"{said('randomized_positions', 1)}.",
        f"5. A fall at half as long again, of sorting: {said('half_longer', 0)}; of parity: "
        f"{said('half_longer', 1)}.",
        f"6. A checkpoint chosen by longer inputs: {said('early_stopping', 0)}. Longer inputs got "
        f"{_FALL:.0%} worse while training loss fell in {worse} of {ended} runs.",
        f"7. Over many epochs, dropout: {said('regularization_many_epochs', 0)}; L2: "
        f"{said('regularization_many_epochs', 1)}.",
        f"8. Not to be settled by their designs, all arms right or all wrong: {', '.join(blind)}.",
        f"9. A row of 128k tokens costs our 1B model {row:.1f} times the FLOPs of one of 8k, not "
        f"16 or 256; a token {token:.1f} times "
        "([what a length costs](benchmarks.md#what-a-length-costs)).",
        "10. Numbers without a source stay without a verdict: what can be tested of them is the "
        "premise.",
    )


def worse_beyond(results: ExperimentResults) -> tuple[int, int]:
    """(runs in which longer inputs got worse while training loss fell, runs to the end)."""
    runs = results.of("last")
    worse = 0
    for run in runs:
        exact = [each.exact for each in run.curve]
        best = int(np.argmax(exact))
        fell = run.curve[-1].loss < run.curve[best].loss
        worse += fell and exact[best] - exact[-1] > _FALL
    return worse, len(runs)


def length_cost(short: int, long: int) -> tuple[float, float]:
    """FLOPs of training configs/dd.py:1b on `long` tokens by those on `short`: (a row, a token)."""
    config = load(dd.get_config("1b"), None)
    model = ModelSpec.of(config.model, vocabulary(config.data), "tpu")
    row = train_step_flops(model, long, 1, CAUSAL) / train_step_flops(model, short, 1, CAUSAL)
    return row, row * short / long
