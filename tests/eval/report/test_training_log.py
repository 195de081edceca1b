import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.eval.report.run.run_page import ELSEWHERE, account_sentences
from lengthwise.eval.report.training_log import TrainingLog, evaluation_rows
from lengthwise.train.metrics.goodput import CAUSES


def train_row(step, bucket, tokens, **values):
    row = {
        "kind": "train",
        "step": step,
        "phase": 0,
        "bucket": bucket,
        "tokens": tokens,
        "loss": 2.0,
        "grad_norm": 1.0,
        "seconds": 0.1,
        "tokens_per_second": 100.0,
        "flops_per_second": 1e9,
        "peak_share": 0.5,
        "data_wait_seconds": 0.001,
    }
    return {**row, **values}


def test_tokens_go_to_the_bucket_of_their_step():
    """A change of tokens_per_step between phases included."""
    rows = [
        train_row(1, 32, 100),
        {"kind": "eval", "step": 1, "score": 1.0},
        train_row(2, 64, 200),
        train_row(3, 32, 300),
        train_row(4, 64, 1300),
    ]
    log = TrainingLog(rows)
    assert log.tokens_by_bucket() == {32: 200, 64: 1100}
    edges, shares = log.bucket_shares(2)
    np.testing.assert_array_equal(edges, [0, 2, 4])
    # A stretch holds its last step: (0, 2] and (2, 4].
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    np.testing.assert_allclose(shares[0], [100 / 200, 100 / 1100])
    assert evaluation_rows(rows) == [rows[1]]


def test_curves_average_their_own_bucket():
    rows = [train_row(i, 32 if i % 2 else 64, 10 * i, loss=float(i % 2)) for i in range(1, 101)]
    log = TrainingLog(rows)
    for length, expected in ((32, 1.0), (64, 0.0)):
        tokens, loss = log.curve(log.loss, length, 10)
        assert len(tokens) <= 10
        assert (np.diff(tokens) > 0).all()
        np.testing.assert_array_equal(loss, expected)
    tokens, loss = log.curve(log.step.astype(float), 64, 10)
    np.testing.assert_allclose(tokens, 10 * loss)


def test_speed_is_the_median_and_leaves_out_a_first_step_that_compiles():
    rows = [train_row(1, 32, 10, seconds=60.0, data_wait_seconds=0.0)]
    rows += [
        train_row(i, 32, 10 * i, seconds=s, data_wait_seconds=0.02)
        for i, s in ((2, 0.1), (3, 0.2), (4, 0.9))
    ]
    rows.append(train_row(5, 64, 50, seconds=7.0))
    short, long = TrainingLog(rows).speed()
    assert (short.length, short.logged_steps, short.milliseconds) == (32, 3, 200.0)
    assert short.data_wait_share == pytest.approx(0.06 / 1.2)
    assert (long.logged_steps, long.milliseconds) == (1, 7000.0)


def test_a_log_without_training_is_a_user_error():
    with pytest.raises(UserError, match="no training step"):
        TrainingLog([{"kind": "eval", "step": 1}])


def test_the_curve_of_a_domain_weighs_steps_by_its_targets():
    rows = [
        train_row(1, 32, 100, losses={"code": 1.0}, domain_targets={"code": 9}),
        train_row(2, 32, 200, losses={"prose": 5.0}, domain_targets={"prose": 9}),
        train_row(3, 32, 300, losses={"code": 3.0}, domain_targets={"code": 3}),
    ]
    log = TrainingLog(rows)
    assert log.domains == ["code", "prose"]
    tokens, mean = log.domain_curve("code", 1)
    assert (tokens.tolist(), mean.tolist()) == ([200.0], [1.5])
    assert TrainingLog([train_row(1, 32, 100)]).domains == []


def test_an_account_says_where_the_time_went_and_what_went_wrong():
    spent = {f"{cause}_seconds": 0.0 for cause in CAUSES} | {"steps_seconds": 5400.0}
    spent |= {"lost_seconds": 1440.0, "compile_seconds": 360.0}
    account = {"kind": "goodput", "step": 90, "wall_seconds": 7200.0, "goodput": 0.75, **spent}
    skip = {"kind": "skip", "step": 41, "cause": "spike"}
    rollback = {"kind": "rollback", "step": 77, "to_step": 60, "cause": "non-finite"}
    rows = [
        {**account, "goodput": 0.1},
        *[{**skip, "step": step} for step in range(41, 48)],
        {**rollback, "passed_over": [60, 80]},
        account,
    ]
    time, skipped, back = account_sentences(rows)
    assert time == (
        "Of 2 hours since the first start, 75 % went into steps that count; "
        "steps thrown away by kills and rollbacks 20 %, compiling 5 %."
    )
    assert skipped.startswith("Updates that were skipped: 7, at step 41 (spike), 42 (spike)")
    assert skipped.endswith("45 (spike) and 2 more.")
    assert back == (
        "Rolled back from step 77 (non-finite) to checkpoint 60; 20 batches were skipped."
    )
    assert account_sentences([train_row(1, 32, 10)]) == []
    assert {"steps", *ELSEWHERE} == set(CAUSES)


def test_an_account_has_the_share_of_each_phase_and_where_conditions_ended_it():
    rows = [
        train_row(2, 32, 200, seconds=0.1),
        train_row(4, 32, 400, seconds=0.1),
        {"kind": "phase_end", "step": 4, "phase": 0, "conditions": ["a >= 1", "score <= 2"]},
        train_row(5, 64, 1000, seconds=0.6, flops_per_second=3e9, phase=1),
    ]
    # Two steps a row: 0.4 s of 1 s, 0.4e9 of 2.2e9 FLOPs, 400 of 1,000 tokens.
    shares = TrainingLog(rows).phase_shares()
    assert shares[0] == pytest.approx({"tokens": 0.4, "FLOPs": 0.4 / 2.2, "time": 0.4})
    assert sum(shares[1].values()) == pytest.approx(3 - sum(shares[0].values()))
    first, second = account_sentences(rows)
    assert first == (
        "Phase 1 took 40 % of the tokens, 18.2 % of the FLOPs, 40 % of the time; it ended at step "
        "4: a >= 1 and score <= 2."
    )
    assert second == "Phase 2 took 60 % of the tokens, 81.8 % of the FLOPs, 60 % of the time."
