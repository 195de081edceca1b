"""What the rules call an anomaly, and what they do about it, figure by figure."""

import json

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.rules.anomaly import AnomalyRules, Limits, StepFigures
from lengthwise.train.rules.data_steps import DataSteps
from tests.train.runs import anomaly_config


def rules(**changes):
    return AnomalyRules(anomaly_config(**changes))


def feed(followed, step, loss, grad_norm=1.0, bucket=32, param_norm=1.0, phase=0):
    """As the loop does: asks for the limits of a step, then tells its figures."""
    limits = followed.limits(step, phase, bucket)
    values = {"loss": loss, "grad_norm": grad_norm, "param_norm": param_norm}
    return followed.record(StepFigures(step, phase, bucket, step - 1, values, limits)), limits


def test_a_spike_stands_above_mean_and_deviations_of_its_own_bucket():
    followed = rules(on_spike="skip", warmup=4, window=6, deviations=9.0)
    rng = np.random.default_rng(0)
    seen = {32: [], 64: []}
    for step in range(1, 41):
        bucket = 32 if step % 3 else 64
        level = {32: 2.0, 64: 9.0}[bucket]  # a loss that would be a spike in the other bucket
        loss, norm = level + 0.1 * rng.random(), 1 + 0.1 * rng.random()
        found, limits = feed(followed, step, loss, norm, bucket)
        assert found is None
        known = np.array([f for at, *f in seen[bucket] if at <= step - 2][-6:])
        seen[bucket].append((step, loss, norm))
        if len(known) < 4:
            assert limits.loss == limits.grad_norm == np.inf
            continue
        expected = known.mean(axis=0) + 9.0 * np.sqrt(
            ((known - known.mean(axis=0)) ** 2).sum(axis=0) / (len(known) - 1)
        )
        np.testing.assert_allclose([limits.loss, limits.grad_norm], expected, rtol=1e-6)
    found, limits = feed(followed, 41, 5.0)
    assert (found.cause, found.action) == ("spike", "skip")
    assert "loss 5 above 2." in found.what
    found, after = feed(followed, 42, 2.05, grad_norm=4.0)
    assert "grad_norm 4 above" in found.what
    assert followed.limits(44, 0, 32) == after  # neither of them is measured by


def test_what_is_kept_goes_through_json_and_on_the_same(tmp_path):
    settings = {"on_spike": "skip", "warmup": 2, "window": 4}
    whole, first = rules(**settings), rules(**settings)
    losses = [2.0, 2.1, 2.0, 2.2, 9.0, 2.1, 2.0, 2.3, 2.2, 2.1]
    for step in range(1, 7):
        feed(whole, step, losses[step - 1])
        feed(first, step, losses[step - 1])
    second = rules(**settings)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    for step in range(7, 11):
        assert feed(second, step, losses[step - 1]) == feed(whole, step, losses[step - 1])
    assert second.state() == whole.state()
    assert second.skipped == [(5, 0, 4)]


def test_non_finite_goes_before_spike_and_by_its_own_rule():
    followed = rules(on_nonfinite="rollback", on_spike="skip", warmup=2)
    for step in range(1, 6):
        feed(followed, step, 2.0 + 0.1 * step)
    assert feed(followed, 6, float("inf"))[0].action == "rollback"
    assert feed(followed, 7, float("nan"))[0].cause == "non-finite"
    assert feed(followed, 8, 100.0)[0].action == "skip"


def test_a_finite_update_that_breaks_the_weights_can_not_be_skipped():
    found, _ = feed(rules(on_nonfinite="skip"), 1, 2.0, param_norm=float("inf"))
    assert found.action == "stop"
    assert "too late to be skipped" in found.why_stopped


def test_skips_are_bounded_within_the_window():
    followed = rules(on_nonfinite="skip", max_skips=2, window=10, warmup=2)
    bad = {2, 8, 14, 20, 25, 26}  # the last is the third of 17 to 26
    found = {step: feed(followed, step, np.nan if step in bad else 2.0)[0] for step in range(1, 27)}
    assert {step for step, anomaly in found.items() if anomaly} == bad
    assert [found[step].action for step in sorted(bad)] == ["skip"] * 5 + ["stop"]
    assert "3 of the last 10 steps" in found[26].why_stopped


def test_a_checkpoint_from_before_there_were_rules_has_nothing_to_remember():
    followed = rules()
    followed.restore(None)
    assert followed.state() == rules().state()
    assert followed.limits(1, 0, 32) == Limits(np.float32(np.inf), np.float32(np.inf))


def test_what_was_trained_leaves_out_what_was_skipped_and_passed_over():
    followed = rules()
    followed.data_steps = DataSteps(((0, 2, 4),))
    followed.skipped = [(5, 0, 6), (3, 1, 3)]
    assert [list(part) for part in followed.trained(0, 7)] == [[0, 1], [4, 5], [7, 8]]
    assert [list(part) for part in followed.trained(1, 5)] == [[0, 1, 2], [4]]


@pytest.mark.parametrize(
    ("field", "value"), [("on_spike", "ignore"), ("on_nonfinite", "off"), ("warmup", 999)]
)
def test_rules_that_make_no_sense_are_refused(field, value):
    with pytest.raises(UserError, match=rf"anomaly\.{field}="):
        anomaly_config(**{field: value}).check()
