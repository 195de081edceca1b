"""Methods whose scores are not finite: left out by name, all others scored as they are."""

import numpy as np
import pytest

from lengthwise.eval.inference.scorer import Method, NonFiniteScores, Setting
from lengthwise.eval.losses.evaluate import evaluate
from lengthwise.eval.losses.results import POSITION_NLL, RunIdentity
from lengthwise.eval.scoring.factory import finite_scores
from lengthwise.eval.statistics.curves import ScorerResult
from tests.eval.planted import CountingScorer, eval_config, skewed_documents

L_TRAIN = 32
SOURCE = skewed_documents(64, 300)
COUNTING = CountingScorer(64)


class BreaksFrom:
    """The planted model, with NaN in one row from `length` inputs on."""

    def __init__(self, length):
        self.length = length

    def __call__(self, tokens):
        nats = COUNTING(tokens)
        if tokens.shape[1] > self.length:
            nats[0, -1] = np.nan
        return nats


def scored(breaks, **changes):
    """breaks: what the settings of inference is broken by -> from how many inputs on."""
    scorers = {}

    def make_scorer(setting):
        name = "shuffled" if setting.shuffled else "plain"
        if setting.scaling.kind != "none":
            name = f"{setting.scaling.kind} x{setting.scaling.factor:g}"
        broken = next((breaks[key] for key in breaks if name.startswith(key)), 10_000)
        return scorers.setdefault(setting, BreaksFrom(broken))

    config = eval_config(**({"methods": ("ntk", "linear"), "documents": 16} | changes))
    identity = RunIdentity("corpus", 1, L_TRAIN, "rope")
    return evaluate(SOURCE, make_scorer, identity, config, ("all",), None, reads_positions=True)


def values(results):
    return {
        (r.metric, r.role, r.method, r.context_from, r.context): (r.value, r.low, r.high)
        for r in results.rows
        if r.role != "selection"
    }


def test_a_method_is_left_out_and_the_others_are_what_they_are():
    whole, holed = scored({}), scored({"ntk": 128})
    assert {row.method for row in holed.rows if row.role == "result"} == {"plain", "linear"}
    assert {curve.method for curve in holed.curves} == {"plain", "linear"}
    (reason,) = holed.left_out
    assert reason == "ntk at 128 tokens: non-finite scores in 1 of 32 rows of 128 tokens"
    assert {k: v for k, v in values(whole).items() if k[2] != "ntk"} == values(holed)


def test_lengths_at_which_the_plain_model_breaks_are_left_out():
    holed, shorter = scored({"plain": 128}), scored({}, ratios=(0.5, 1, 2))
    assert values(holed) == values(shorter)
    assert max(row.context for row in holed.select(metric=POSITION_NLL)) == 64
    (reason,) = holed.left_out
    assert reason.startswith("plain at 128 tokens: non-finite")


def test_a_control_is_left_out():
    holed = scored({"shuffled": 1})
    assert holed.select(role="control") == []
    (reason,) = holed.left_out
    assert reason.startswith("the control with shuffled positions: shuffled positions at 32 tokens")
    assert {k: v for k, v in values(scored({})).items() if k[1] != "control"} == values(holed)


def test_a_scaling_that_breaks_on_the_selection_split_is_left_out():
    holed = scored({"linear x4": 64})
    assert "linear" not in {row.method for row in holed.rows if row.role == "result"}
    assert holed.left_out[0].startswith("linear x2 at 64 tokens")
    assert "linear" not in holed.multipliers


@pytest.mark.parametrize(("length", "first"), [(16, 32), (32, 32), (64, 64)])
def test_without_the_plain_model_there_is_nothing(length, first):
    """The selection split comes first, at L_train and twice that."""
    with pytest.raises(NonFiniteScores, match=rf"plain.* at {first} tokens"):
        scored({"plain": length})


class Scorer:
    name = "planted"

    def __init__(self, broken):
        self.broken = broken

    def __call__(self, methods):
        for method in methods:
            if method in self.broken:
                raise FloatingPointError(f"{method.name} broke")
        return ScorerResult((), sentences=tuple(method.name for method in methods))


def test_a_scorer_falls_back_to_the_plain_model():
    plain, ntk = (
        Method(name, lambda c: Setting(), lambda s: COUNTING) for name in ("plain", "ntk")
    )
    assert finite_scores(Scorer([]), [plain, ntk]).sentences == ("plain", "ntk")
    fallen = finite_scores(Scorer([ntk]), [plain, ntk])
    assert (fallen.sentences, fallen.left_out) == (("plain",), ("planted (ntk): ntk broke",))
    nothing = finite_scores(Scorer([plain]), [plain, ntk])
    assert nothing.sentences == ()
    assert nothing.left_out == ("planted (plain): plain broke", "planted (ntk): plain broke")
