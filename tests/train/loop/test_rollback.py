"""Planted batches that go wrong: skipped, rolled back or stopped at, exact whatever kills it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.model import transformer
from lengthwise.train import phases
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop import restore
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.data_steps import DataSteps
from tests.train.runs import last_state, rows, steps_on_disk

NAN, SPIKE = -1, -2  # token ids of planted batches
ROLLBACK = {"anomaly.on_nonfinite": "rollback", "train.eval_every": 0}
SKIP = {"anomaly.on_nonfinite": "skip", "train.eval_every": 0}
TWO_PHASES = (
    {"steps": 6, "budget_steps": 6},
    {"steps": 6, "budget_steps": 6, "layout": {"cut": "shuffled"}},
)
# A bucket's loss falls by less than this from step to step.
SPIKES = {"anomaly.warmup": 2, "anomaly.deviations": 20.0, "train.eval_every": 0}


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch, made):
    """Programs and first states of these runs, whose programs differ by the rules alone."""

    def once(owner, method):
        original = getattr(owner, method)

        def cached(self, *key):
            name = (method, self.config.anomaly.skips)
            if name not in made:
                made[name] = original(self, *key)
            return made[name]

        return cached

    compile_step, first = once(Blueprint, "compile_step"), once(Setup, "initial_state")
    monkeypatch.setattr(Blueprint, "compile_step", compile_step)
    # A copy: the step overwrites what it is given.
    monkeypatch.setattr(Setup, "initial_state", lambda self: jax.tree.map(jnp.copy, first(self)))


@pytest.fixture
def plant(monkeypatch):
    """plant(bad): batches by (phase, data step) whose loss is no number, or 1,000 times too high.

    The batches themselves are changed, so that the loss goes wrong on the device.
    """
    losses, read = transformer.target_losses, phases.store_batches
    bad = {}

    def planted(model, params, inputs, targets, **rest):
        nats, log_partition = losses(model, params, inputs, targets, **rest)
        kind = jnp.min(inputs, axis=1, keepdims=True)
        factor = jnp.where(kind == NAN, jnp.nan, jnp.where(kind == SPIKE, 1000.0, 1.0))
        return nats * factor, log_partition

    def poisoned(store, layout, schedule, *rest):
        phase = 1 if layout.config.cut == "shuffled" else 0  # as TWO_PHASES has it
        for batch in read(store, layout, schedule, *rest):
            kind = bad.get((phase, batch.step))
            if kind is not None:
                inputs = batch.arrays["inputs"].copy()
                inputs[:, 0] = kind
                batch.arrays["inputs"] = inputs
            yield batch

    monkeypatch.setattr(transformer, "target_losses", planted)
    monkeypatch.setattr(phases, "store_batches", poisoned)
    return bad.update


@pytest.fixture
def spared(start, monkeypatch):
    """A run of the same config that passes the given data over from its beginning."""

    def run(workdir, *passed, **changes):
        """Checksums by step."""
        with monkeypatch.context() as patch:
            patch.setattr(
                AnomalyRules,
                "data_steps",
                property(lambda _: DataSteps(passed), lambda *_: None),
                raising=False,
            )
            start(workdir, **changes)
        return checksums(workdir)

    return run


def checksums(workdir):
    return {row["step"]: row["checksum"] for row in rows(workdir)}


def test_a_rollback_goes_on_past_the_data(tmp_path, start, plant, spared, capsys):
    plant({(0, 5): NAN})
    state = start(tmp_path / "run", **ROLLBACK, **{"train.compile": "ahead"})
    assert (state.reason, state.step) == ("finished", 12)
    # Checkpoint 4 is the one before step 6: data steps 5 and 6 (from 1) are passed over.
    assert [row["data_step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, *range(7, 15)]
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(1, 13))
    (told,) = rows(tmp_path / "run", "rollback")
    assert (told["step"], told["to_step"], told["passed_over"]) == (6, 4, [4, 6])
    assert (told["cause"], told["number"]) == ("non-finite", 1)
    assert "rolled back to checkpoint 4; on past data steps 5 to 6" in capsys.readouterr().err
    assert checksums(tmp_path / "run") == spared(tmp_path / "spared", (0, 4, 6), **ROLLBACK)
    assert rows(tmp_path / "run", "end")[0]["compiles_after_first_step"] == 0
    assert rows(tmp_path / "run", "goodput")[-1]["lost_seconds"] > 0


class KilledError(BaseException):
    """As a kill, at a chosen place."""


@pytest.mark.parametrize(
    ("where", "method"),
    [
        (restore.Checkpoints, "drop_after"),
        (MetricsWriter, "cut_back"),
        (restore.ProgressBar, "write"),  # the row is written, nothing of it is in a checkpoint
        (Checkpoints, "save"),  # the first save after it
    ],
)
def test_killed_in_or_after_a_rollback_it_ends_the_same(
    tmp_path, start, plant, spared, monkeypatch, where, method
):
    plant({(0, 5): NAN, (0, 8): NAN})  # the second one right after the first, to one checkpoint
    with monkeypatch.context() as patch:
        original = getattr(where, method)

        def killed(*arguments, **rest):
            if method != "save" or arguments[1] > 4:
                raise KilledError
            return original(*arguments, **rest)

        patch.setattr(where, method, killed)
        with pytest.raises(KilledError):
            start(tmp_path / "run", **ROLLBACK)
    assert steps_on_disk(tmp_path / "run") == [4]
    assert start(tmp_path / "run", **ROLLBACK).step == 12
    assert checksums(tmp_path / "run") == spared(tmp_path / "spared", (0, 4, 9), **ROLLBACK)
    assert [row["number"] for row in rows(tmp_path / "run", "rollback")] == [1, 2]
    assert [row["passed_over"] for row in rows(tmp_path / "run", "rollback")] == [[4, 6], [6, 9]]


def test_a_resumed_run_remembers_what_it_passed_over(tmp_path, start, plant, spared):
    plant({(0, 5): NAN})
    start(tmp_path / "run", **ROLLBACK, **{"phase.steps": 8})
    assert start(tmp_path / "run", **ROLLBACK).step == 12
    assert checksums(tmp_path / "run") == spared(tmp_path / "spared", (0, 4, 6), **ROLLBACK)
    assert len(rows(tmp_path / "run", "rollback")) == 1


def test_it_goes_back_as_far_and_passes_over_as_much_as_it_is_told(tmp_path, start, plant, spared):
    plant({(0, 9): NAN})
    wide = {**ROLLBACK, "anomaly.rollback_steps": 3, "anomaly.pass_over": 2}
    assert start(tmp_path / "run", **wide).step == 12
    assert rows(tmp_path / "run", "rollback")[0]["passed_over"] == [4, 12]  # 8 is too near
    assert checksums(tmp_path / "run") == spared(tmp_path / "spared", (0, 4, 12), **wide)
    assert steps_on_disk(tmp_path / "run") == [8, 12]


def test_a_phase_begins_with_its_own_data_whatever_the_one_before_passed_over(
    tmp_path, start, plant, spared
):
    plant({(0, 4): NAN, (1, 1): NAN})
    changes = {**ROLLBACK, "phases": TWO_PHASES}
    assert start(tmp_path / "run", **changes).step == 12
    data_steps = [row["data_step"] for row in rows(tmp_path / "run")]
    assert data_steps == [1, 2, 3, 4, 6, 7, *range(9, 15)]
    passed = ((0, 4, 5), (1, 0, 2))
    assert checksums(tmp_path / "run") == spared(tmp_path / "spared", *passed, **changes)


def test_a_run_that_rolls_back_in_vain_stops(tmp_path, start, plant):
    plant({(0, step): NAN for step in range(4, 40)})
    with pytest.raises(UserError, match=r"rolled back to checkpoint 4 3 times .*max_rollbacks"):
        start(tmp_path, **ROLLBACK)
    assert steps_on_disk(tmp_path) == [4]


def test_without_a_checkpoint_there_is_nothing_to_roll_back_to(tmp_path, start, plant):
    plant({(0, 1): NAN})
    with pytest.raises(UserError, match="no checkpoint of step 1 or before"):
        start(tmp_path, **ROLLBACK)


def test_a_skip_leaves_the_step_out_and_the_schedule_standing(tmp_path, start, plant):
    start(tmp_path / "plain", **SKIP)
    plant({(0, 2): NAN})
    start(tmp_path / "run", **SKIP, **{"train.compile": "ahead"})
    found = {row["step"]: row for row in rows(tmp_path / "run")}
    expected = {row["step"]: row for row in rows(tmp_path / "plain")}
    assert sorted(found) == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    (skip,) = rows(tmp_path / "run", "skip")
    assert (skip["step"], skip["cause"], skip["loss"]) == (3, "non-finite", None)
    assert [found[n]["checksum"] for n in (1, 2)] == [expected[n]["checksum"] for n in (1, 2)]
    # In the warm-up: the third update came at step 4.
    assert found[4]["learning_rate"] == expected[3]["learning_rate"] > found[2]["learning_rate"]
    assert rows(tmp_path / "run", "end")[0]["compiles_after_first_step"] == 0
    leaves = map(np.asarray, jax.tree.leaves(last_state(tmp_path / "run")["opt_state"]))
    assert {int(leaf) for leaf in leaves if leaf.dtype == np.int32} == {11}


@pytest.mark.parametrize("rule", ["skip", "rollback", "stop", "off"])
def test_a_spike_is_told_by_its_bucket(tmp_path, start, plant, rule):
    plant({(0, 9): SPIKE})
    changes = {**SPIKES, "anomaly.on_spike": rule}
    if rule == "stop":
        with pytest.raises(UserError, match=r"spike at step 10 in bucket 32 .*checkpoint 8 is kep"):
            start(tmp_path, **changes)
        return
    start(tmp_path, **changes)
    kinds = [len(rows(tmp_path, kind)) for kind in ("train", "skip", "rollback")]
    assert kinds == {"skip": [11, 1, 0], "rollback": [12, 0, 1], "off": [12, 0, 0]}[rule]
    if rule == "skip":
        (skip,) = rows(tmp_path, "skip")
        assert skip["step"] == 10
        assert skip["loss"] > 100 * skip["loss_limit"] / 20


def test_resumed_between_its_steps_a_spike_is_told_by_the_same_limits(tmp_path, start, plant):
    plant({(0, 9): SPIKE})
    changes = {**SPIKES, "anomaly.on_spike": "skip"}
    start(tmp_path / "whole", **changes)
    start(tmp_path / "run", **changes, **{"phase.steps": 7})
    start(tmp_path / "run", **changes)
    assert rows_of(tmp_path / "run", "skip") == rows_of(tmp_path / "whole", "skip") != []
    assert checksums(tmp_path / "run") == checksums(tmp_path / "whole")


def rows_of(workdir, kind):
    return [{k: v for k, v in row.items() if k != "time"} for row in rows(workdir, kind)]


def test_too_many_skips_stop_the_run(tmp_path, start, plant):
    plant({(0, step): NAN for step in (5, 6, 7)})
    with pytest.raises(UserError, match=r"3 of the last 128 steps .*max_skips=2"):
        start(tmp_path, **SKIP, **{"anomaly.max_skips": 2})
