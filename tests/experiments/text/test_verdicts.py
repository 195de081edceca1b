"""Verdicts on planted rows; the gate; rows that can't be compared."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from lengthwise.common.errors import UserError
from lengthwise.experiments.statistics.verdict import (
    CONTRADICTED,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_AT_THIS_SCALE,
    REPRODUCED,
)
from lengthwise.experiments.text.design import TextClaim
from lengthwise.experiments.text.measures import FORMATION, nll, until_loss
from lengthwise.experiments.text.plan import Plan
from lengthwise.experiments.text.run import main_runs
from lengthwise.experiments.text.tables import plan_table, results_section
from lengthwise.experiments.text.verdicts import results_of
from tests.experiments.text.planted import GRID, WORTH, curve, noise, row_for

RATES = {"one": 1e-3, "two": 1e-3}
PLAN = Plan("worth", False, (), RATES, (0, 1, 2), 2.5, {})
SEEDS = 4


def results(plant, claims, shares=()):
    """Results of four seeds. plant: run -> (loss, changes of its row)."""
    question = replace(WORTH, claims=tuple(claims), seeds=SEEDS, shares=shares)
    grid = replace(GRID, questions=(question,))
    rows = {}
    for run in main_runs(grid, ["worth"], RATES):
        loss, changes = plant(run)
        rows[run.settings] = row_for(run, loss, **changes)
    return results_of(grid, question, PLAN, rows)


def verdict(plant, **changes):
    found = results(plant, [replace(TextClaim("good", "bad", nll(1), 0.1), **changes)])
    return found.verdicts()[0][2].verdict


def by_arm(good, bad, **changes):
    return lambda run: ((good if run.arm.name == "good" else bad) + noise(run), changes)


@pytest.mark.parametrize(
    ("good", "equal", "expected"),
    [
        (2.0, False, REPRODUCED),
        (2.5, False, EQUIVALENT),
        (3.0, False, CONTRADICTED),
        (2.41, False, INCONCLUSIVE),  # a margin, more or less
        (2.5, True, EQUIVALENT),
        (2.0, True, CONTRADICTED),
        (3.0, True, CONTRADICTED),
    ],
)
def test_planted_verdicts(good, equal, expected):
    assert verdict(by_arm(good, 2.5), equal=equal, margin=0.1) == expected


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        ((0.2, 0.1, 0.3), REPRODUCED),
        ((0.03, 0.01, 0.05), REPRODUCED),
        ((0.029, 0.01, 0.05), NOT_AT_THIS_SCALE),
        ((0.2, -0.01, 0.4), NOT_AT_THIS_SCALE),
    ],
)
def test_a_baseline_that_makes_no_use_of_context_in_one_seed_decides_nothing(gain, expected):
    def plant(run):
        mine = run.arm.name == "bad" and run.seed == 2
        loss, _ = by_arm(2.0, 2.5)(run)
        return loss, {"gain": gain} if mine else {}

    assert verdict(plant) == expected


def test_the_effect_is_paired_by_seed_and_on_the_report_split():
    found = results(by_arm(2.0, 2.5), [TextClaim("good", "bad", nll(1), 0.1)])
    sides = [[row.at_context(64) for row in found.rows[name]] for name in ("bad", "good")]
    reference = ttest_rel(*sides)
    effect = found.measurement(found.question.claims[0]).effect
    assert effect.value == pytest.approx(np.subtract(*sides).mean())
    assert effect.p_at_most(0.0) == pytest.approx(reference.pvalue / 2)


def test_one_run_by_two_methods_is_one_claim():
    def plant(run):
        methods = {"yarn": {"256": 2.0 + noise(run)}, "ntk": {"256": 2.5}}
        return 2.0, {"nll": {"plain": {"64": 2.0}, **methods}}

    assert verdict(plant, worse="good", measure=nll(4, "yarn"), against=nll(4, "ntk")) == REPRODUCED


def test_when_use_of_context_forms():
    """Early in one arm; in half of the runs of the other never. The gate plays no part."""

    def plant(run):
        forms = 0 if run.arm.name == "good" else 3 + (run.seed % 2) * 97
        points = curve([3.0 - 0.01 * k for k in range(16)], forms_at=forms)
        return 2.0, {"curve": points, "gain": (0.0, -0.1, 0.1)}

    found = results(plant, [TextClaim("good", "bad", FORMATION, 1.0)])
    ((_, measured, outcome),) = found.verdicts()
    assert outcome.verdict == REPRODUCED
    assert measured.effect.value == pytest.approx((2 + 4) / 2)  # 400 or 1,600 for 100 tokens
    assert "2 of 8 runs ended before" in measured.censored
    turned = results(plant, [TextClaim("bad", "good", FORMATION, 1.0)])
    assert turned.verdicts()[0][2].verdict == INCONCLUSIVE  # censored: nothing is contradicted


def test_equal_budgets_give_other_effects():
    """The good arm is better by token and as good by FLOP, of which it takes twice as many."""

    def plant(run):
        good = run.arm.name == "good"
        losses = (
            [4.0, 3.0, 2.0, 1.0] if good else [3.5 - 0.5 * np.log2(k / 2) for k in (2, 4, 6, 8)]
        )
        return losses[-1] + noise(run), {"curve": curve(losses, flops_a_token=1 + good)}

    found = results(plant, [TextClaim("good", "bad", nll(1), 0.1)])
    effects = found.by_budget(found.question.claims[0])
    # 400 FLOPs: 200 tokens of the good arm, 400 of the other.
    assert effects["flops"].value == pytest.approx(2.5 - 3.0)
    assert effects["seconds"].value == pytest.approx(2.5 - 1.0)
    assert effects["tokens"].value == pytest.approx(1.5, abs=0.05)
    assert verdict(plant, matched="flops") == CONTRADICTED
    assert verdict(plant) == REPRODUCED
    forming = results(plant, [TextClaim("good", "bad", until_loss("flops"), 1.0)])
    assert forming.by_budget(forming.question.claims[0]) == {}


def test_rows_of_other_targets_are_refused():
    def plant(run):
        other = run.arm.name == "bad" and run.seed == 1
        return 2.0, {"targets": "targets-2"} if other else {}

    with pytest.raises(UserError, match=r"bad, seed 1, was scored on other documents or targets"):
        verdict(plant)


def test_missing_runs_are_handed_back():
    question = replace(WORTH, seeds=SEEDS)
    grid = replace(GRID, questions=(question,))
    runs = main_runs(grid, ["worth"], RATES)
    rows = {run.settings: row_for(run, 2.0) for run in runs[:3]}
    left = results_of(grid, question, PLAN, rows)
    assert [(run.arm.name, run.seed) for run in left] == [
        (run.arm.name, run.seed) for run in runs[3:]
    ]


def test_pages_say_what_was_found():
    found = results(by_arm(2.0, 2.5), [TextClaim("good", "bad", nll(1), 0.1)])
    text = results_section(found)
    assert "| the good one better than the bad one: NLL at 1 L | +0.4" in text
    assert "**reproduced**" in text
    assert "at equal FLOPs" in text
    assert "| the bad one | 2.49" in text
    assert "4 of 4" in text  # formed
    assert "Exploratory: seeds by the hours" in plan_table(GRID, replace(PLAN, exploratory=True))
    assert "two 0.001 (the edge of those tried)" in plan_table(GRID, PLAN)
