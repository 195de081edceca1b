"""Conditions that end a phase, against comparisons written out."""

import json

import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.rules.phase_end import PhaseEndConfig, PhaseEnds

NEEDLE = {"value": 0.99, "low": 0.9, "high": 1.0}


def row(**figures):
    return {"step": 3, "score": 2.0, "in_range_score": 1.5, **figures}


def scored(**figures):
    return row(scores={name.replace("_at_", "@"): {"value": x} for name, x in figures.items()})


@pytest.mark.parametrize(
    ("condition", "evaluation", "holds"),
    [
        ("score <= 2.0", row(), True),
        ("score <= 1.99", row(), False),
        ("score >= 2", row(), True),
        ("passkey@1024 >= 0.99", row(scores={"passkey@1024": NEEDLE}), True),
        ("passkey@1024 >= 0.991", row(scores={"passkey@1024": NEEDLE}), False),
        ("nll@64 - nll@256 >= 0.05", scored(nll_at_64=2.0, nll_at_256=1.9), True),
        ("nll@64-nll@256>=5e-2", scored(nll_at_64=2.0, nll_at_256=1.96), False),
        ("gain >= -0.1", row(gain=-0.05), True),
    ],
)
def test_a_condition_compares_figures(condition, evaluation, holds):
    assert PhaseEnds([PhaseEndConfig((condition,))]).reached(0, evaluation) is holds


def test_all_conditions_must_hold_and_none_is_no_rule():
    both = PhaseEndConfig(("score <= 2.5", "in_range_score <= 1"))
    ends = PhaseEnds([both, PhaseEndConfig()])
    assert not ends.reached(0, row())
    assert ends.reached(0, row(in_range_score=0.5))
    assert not ends.reached(1, row())


def test_a_margin_is_taken_from_the_evaluation_before_the_phase():
    margin = PhaseEndConfig(("in_range_score <= before + 0.25",))
    ends = PhaseEnds([PhaseEndConfig(), margin])
    assert not ends.reached(1, row())  # nothing was before
    ends.end(0, 40)
    ends.begin(1, row(in_range_score=1.25))
    again = PhaseEnds([PhaseEndConfig(), margin])
    again.restore(json.loads(json.dumps(ends.state())))
    assert again.ends == {0: 40}
    for each in (ends, again):
        assert each.reached(1, row(in_range_score=1.5))
        assert not each.reached(1, row(in_range_score=1.51))
    again.restore(None)
    assert again.ends == {}
    assert not again.reached(1, row(in_range_score=0.0))


def test_a_figure_that_was_not_scored_is_named_with_those_that_were():
    ends = PhaseEnds([PhaseEndConfig(("passkey@64 >= 1",))])
    with pytest.raises(UserError, match="'passkey@64' was not scored; name one of score, in_r"):
        ends.reached(0, row())


@pytest.mark.parametrize("text", ["", "score", "score < 1", "1 >= score", "score >= before"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UserError, match="write FIGURE >= NUMBER"):
        PhaseEndConfig((text,))
