"""Stopping scores: what an evaluation measured as one number, lower is better."""

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.trees import build
from lengthwise.train.rules.score import stopping_score
from lengthwise.train.rules.stopping import StoppingConfig

EVALUATION = {
    "score": 3.0,
    "in_range_score": 2.5,
    "scores": {
        "passkey@256": {"value": 0.75, "higher_is_better": True},
        "forgetting@256": {"value": 40.0, "higher_is_better": False},
    },
}


def score(name):
    return stopping_score(build(StoppingConfig, {"score": name}, "stopping"))


@pytest.mark.parametrize(
    ("name", "number"), [("nll", 3.0), ("passkey@256", -0.75), ("forgetting@256", 40.0)]
)
def test_lower_is_better(name, number):
    chosen = score(name)
    chosen.check(tuple(EVALUATION["scores"]))
    assert chosen.of(EVALUATION) == number


def test_a_figure_that_there_is_none_of_is_named():
    chosen = score("passkey@512")
    with pytest.raises(UserError, match=r"score='passkey@512' is no .* one of nll, passkey@256"):
        chosen.check(tuple(EVALUATION["scores"]))
    with pytest.raises(UserError, match=r"score='passkey@512' was not scored; choose one of nll, "):
        chosen.of(EVALUATION)
