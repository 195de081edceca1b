"""Phases as stages: a rate of their own, moments that begin anew, and exact resuming."""

import json
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import base
from lengthwise.configs.resolve import load
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from tests.train.runs import config, last_state, rows

FIRST = {"steps": 6, "budget_steps": 6}
OPTIMIZER = {"warmup_steps": 2, "schedule": "cosine", "learning_rate": 0.02}


def phases(*second, **first):
    return {
        "phases": ({**FIRST, **first}, *second),
        **{f"optimizer.{name}": value for name, value in OPTIMIZER.items()},
        "train.checkpoint_every": 6,
        "train.eval_every": 0,
    }


def cosine(peak, final, step, steps):
    return peak * (final + (1 - final) * 0.5 * (1 + np.cos(np.pi * step / steps)))


def counters(workdir):
    """Counters of the optimizer's state by their place in it."""
    found = {}

    def visit(tree, name=""):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            if isinstance(value, dict | list | tuple):
                visit(value, f"{name}.{key}")
            elif key == "count":
                found[name] = int(value)

    visit(last_state(workdir)["opt_state"])
    return list(found.values())


RATE = {"restart": True, "learning_rate": 0.01, "warmup_steps": 0, "final_share": 0.0}


def checksums(workdir):
    return [row["checksum"] for row in rows(workdir)]


def test_a_phase_restarts_the_rate(start, tmp_path):
    start(tmp_path, **phases({**FIRST, "rate": RATE}))
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    warm = [0.01, 0.02]
    first = [cosine(0.02, 0.1, step, 4) for step in range(4)]
    second = [cosine(0.01, 0.0, step, 6) for step in range(6)]
    np.testing.assert_allclose(rates, [*warm, *first, *second], rtol=1e-5)
    assert counters(tmp_path) == [12, 6]  # of Adam, of the schedule


def test_moments_begin_anew_and_a_run_killed_there_goes_on_as_it_would_have(start, tmp_path):
    changes = phases({**FIRST, "moments": "new"})
    start(tmp_path, **changes)
    rest = [cosine(0.02, 0.1, step, 10) for step in range(10)]  # of one schedule over both
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    np.testing.assert_allclose(rates, [0.01, 0.02, *rest], rtol=1e-5)
    assert counters(tmp_path) == [6, 12]
    whole = checksums(tmp_path)
    assert len(whole) == 12
    shutil.rmtree(tmp_path / "checkpoints" / "12")
    start(tmp_path, **changes)
    assert checksums(tmp_path) == whole


def test_planned_shares_follow_tokens_and_flops(corpus, store):
    long = {"layout": {"smallest_bucket": 64, "largest_bucket": 64}}
    experiment = load(config(corpus, **phases({**FIRST, "tokens_per_step": 1024}, long)), None)
    run_phases = Phases(experiment.phases, store, experiment.resolved_seeds)
    setup = Setup(experiment, run_phases, jax.devices()[:1])
    shares = setup.planned_shares()
    tokens = [6 * 512, 6 * 1024, 12 * 512]
    assert [each["tokens"] for each in shares] == pytest.approx(
        [each / sum(tokens) for each in tokens]
    )
    # A token of a longer row costs more; of equal rows all cost the same.
    cost = [each["FLOPs"] / each["tokens"] for each in shares]
    assert cost[0] == pytest.approx(cost[1])
    assert cost[2] > 1.01 * cost[0]


def test_a_rule_ends_a_phase_and_a_run_killed_behind_it_goes_on_as_it_would_have(start, tmp_path):
    def scores(step):
        return 1.0 - step / 10

    end = {"conditions": ("stopping_score <= 0.65",)}
    changes = phases({"steps": 3, "rate": RATE}, steps=12, budget_steps=12, end=end)
    changes |= {"train.checkpoint_every": 100, "train.eval_every": 2}
    assert start(tmp_path / "ended", scores, **changes).step == 7
    assert [row["phase"] for row in rows(tmp_path / "ended")] == [0] * 4 + [1] * 3
    (row,) = rows(tmp_path / "ended", "phase_end")
    assert (row["step"], row["phase"]) == (4, 0)
    # As if it had been planned so, with the schedules of the most steps.
    planned = phases({"steps": 3, "rate": RATE}, steps=4, budget_steps=12)
    start(tmp_path / "planned", scores, **{**changes, "phases": planned["phases"]})
    whole = checksums(tmp_path / "planned")
    assert len(whole) == 7
    assert checksums(tmp_path / "ended") == whole
    tokens = [[row["tokens"] for row in rows(tmp_path / name)] for name in ("ended", "planned")]
    assert tokens[0] == tokens[1]
    shutil.rmtree(tmp_path / "ended" / "checkpoints" / "7")
    start(tmp_path / "ended", scores, **changes)
    assert checksums(tmp_path / "ended") == whole
    assert len(rows(tmp_path / "ended", "phase_end")) == 1


def settings(*second, **optimizer):
    config = base.get_config()
    config.optimizer.update(ConfigDict(optimizer))
    config.phases = ({"steps": 100}, *second)
    return load(config, None)


def test_schedules_are_planned_from_restart_to_restart():
    run = settings({"steps": 10}, {"steps": 20, "rate": {"restart": True, "schedule": "wsd"}})
    planned = [(each.first_phase, each.steps, each.optimizer.schedule)
               for each in run.rate_schedules]  # fmt: skip
    assert planned == [(0, 110, "cosine"), (2, 20, "wsd")]
    assert [run.rate_schedule(number).first_phase for number in range(3)] == [0, 0, 2]
    assert run.schedule_notes() == [
        "optimizer.warmup_steps=100 does not fit into 20 steps; the warm-up has 5"
    ]


def test_a_rate_that_nothing_would_read_is_refused():
    with pytest.raises(UserError, match=r"phases\[1\]\.rate=.*needs rate.restart=True"):
        _ = settings({"steps": 10, "rate": {"learning_rate": 0.1}}).rate_schedules
    with pytest.raises(UserError, match=r"schedule_steps=7 is for one schedule, and phases\[1\]"):
        _ = settings({"rate": {"restart": True}}, schedule_steps=7).rate_schedules


@pytest.mark.parametrize(
    ("phase", "evaluates", "message"),
    [
        ({"end": {"conditions": ("score <= 1",)}}, False, "has no text for"),
        ({"end": {"conditions": ("score <= 1",)}, "steps": 20}, True, "train.eval_every=250"),
        ({"end": {"conditions": ("score <= before",)}}, True, "holds 'score <= before'"),
        ({"end": {"conditions": ("score = 1",)}}, True, "write FIGURE >= NUMBER"),
    ],
)
def test_a_rule_that_nothing_would_decide_is_refused(phase, evaluates, message):
    with pytest.raises(UserError, match=message):
        settings({"steps": 1000, **phase}).check_ends(evaluates=evaluates)


def test_nothing_is_before_the_first_phase():
    config = base.get_config()
    config.phase.end.conditions = ("score <= before + 0.1",)
    with pytest.raises(UserError, match="nothing is before the first phase"):
        load(config, None).check_ends(evaluates=True)


def test_the_settings_of_a_stage_are_saved_and_read():
    run = settings({"rate": RATE, "moments": "new"})
    saved = json.loads(json.dumps(run.resolved))
    assert saved["phases"][1]["rate"] == {**RATE, "schedule": ""}
    assert saved["phases"][1]["moments"] == "new"
