"""Seeds that are trained together: each is what it would have been by itself."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.app import modes, session
from lengthwise.common.errors import UserError
from lengthwise.eval.answers.hits_file import load_hits
from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition
from lengthwise.experiments.results import collect
from lengthwise.experiments.trials import (
    LOG,
    checkpoint_steps,
    group_by_arm,
    is_finished,
    run_trials,
    why_alone,
)
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.machine.peak import Peak
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.programs.stacked import DifferentBucketsError, StackedSteps, mapped
from lengthwise.train.step.update import TrainState
from tests.experiments.test_experiments import TINY

_STEPS, _HALF = 16, 8
PAIR = ExperimentDefinition(
    name="pair",
    question="none",
    source="none",
    published="nothing",
    tuning="none",
    arms=(Arm("only", "only", {}, "nothing"),),
    claims=(Claim("only", "only", margin=0.1),),
    scales={
        "cpu": {
            **TINY.scales["cpu"],
            "data.task.lengths": (1, 12),  # of buckets 8 and 16
            "data.task.samples": 400,
            "model.dropout": 0.1,
            "optimizer.learning_rate": 1e-2,
            "phase.steps": _STEPS,
            "phase.layout.largest_bucket": 16,
            "train.eval_every": _HALF,
            "train.checkpoint_every": _HALF,
        }
    },
)
CELLS = PAIR.trials("cpu", 2)
_SHIFTED = {
    "model.positions.scheme": "learned",
    "phase.positions.kind": "shift",
    "phase.positions.target_length": 64,
}


@pytest.fixture(scope="module", autouse=True)
def one_device():
    devices = jax.devices()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "device_peak", lambda *_: Peak(1e11, "not measured"))
        patch.setattr(jax, "devices", lambda: devices[:1])
        patch.setattr(jax, "device_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The trials, one run after the other."""
    directory = tmp_path_factory.mktemp("alone")
    assert run_trials(CELLS, directory) == 0
    return directory


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The trials as a group that Ctrl-C ended in its second half, then run to its end."""
    directory = tmp_path_factory.mktemp("together")
    original = StackedSteps.step

    def interrupted(self, train_state, step, *rest):
        if step == _HALF + 2:
            raise KeyboardInterrupt
        return original(self, train_state, step, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes, "run", None)  # no run by itself
        patch.setattr(StackedSteps, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_trials(CELLS, directory, together=2)
        assert not any(is_finished(trial, directory / trial.name) for trial in CELLS)
        patch.setattr(StackedSteps, "step", original)
        assert run_trials(CELLS, directory, together=2) == 0
        assert run_trials(CELLS, directory, together=2) == 0  # nothing is left to do
    return directory


def rows_of(workdir, kind):
    return [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == kind]


def parameters(workdir):
    with Checkpoints(workdir / "checkpoints", read_only=True)._manager as manager:
        return manager.restore(_STEPS)["state"]["params"]


@pytest.mark.parametrize("trial", CELLS, ids=lambda trial: trial.name)
def test_a_seed_of_a_group_is_the_run_by_itself(trial, alone, together):
    mine, its = (directory / trial.name for directory in (together, alone))
    for kind, figures in (("train", ("loss", "grad_norm", "param_norm")), ("eval", ("score",))):
        found, wanted = rows_of(mine, kind), rows_of(its, kind)
        assert [row["step"] for row in found] == [row["step"] for row in wanted]
        for name in figures:
            np.testing.assert_allclose(
                [row[name] for row in found], [row[name] for row in wanted], rtol=1e-4
            )
    same = ("step", "data_step", "bucket", "tokens", "targets", "learning_rate")
    assert [[row[n] for n in same] for row in rows_of(mine, "train")] == [
        [row[n] for n in same] for row in rows_of(its, "train")
    ]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5),
        parameters(mine),
        parameters(its),
    )
    right = [[int(hits.hits_N.sum()) for hits in load_hits(each)] for each in (mine, its)]
    # Rounding may turn a token whose first two choices are as likely as each other.
    np.testing.assert_allclose(*right, atol=1)


def test_seeds_differ_and_draw_mostly_the_same_buckets(together):
    first, second = (rows_of(together / trial.name, "train") for trial in CELLS)
    assert first[0]["loss"] != second[0]["loss"]
    same = [a["bucket"] == b["bucket"] for a, b in zip(first, second, strict=True)]
    assert len({row["bucket"] for row in first}) == 2
    assert sum(same) > _STEPS / 2
    assert not all(same)  # or the step of one by itself was not tested


def test_a_killed_group_goes_on_from_its_checkpoint(together):
    for trial in CELLS:
        workdir = together / trial.name
        assert is_finished(trial, workdir)
        assert [row["step"] for row in rows_of(workdir, "train")] == list(range(1, _STEPS + 1))
    said = (together / CELLS[0].name / LOG).read_text()
    assert said.count(f"resuming at step {_HALF} of {_STEPS}") == len(CELLS)


def test_results_say_that_the_time_was_shared(alone, together):
    by_itself, shared = (
        collect(PAIR, "cpu", 2, directory, "a device").runs for directory in (alone, together)
    )
    assert [run.together for run in by_itself] == [1, 1]
    assert [run.together for run in shared] == [2, 2]
    for one, other in zip(by_itself, shared, strict=True):
        assert (one.targets, one.samples) == (other.targets, other.samples)
        assert other.flops == pytest.approx(one.flops)
    account = rows_of(together / CELLS[0].name, "goodput")[-1]
    causes = sum(value for name, value in account.items() if name.endswith("_seconds"))
    assert causes == pytest.approx(2 * account["wall_seconds"])  # by cause, and their sum


def test_all_at_once_is_one_after_the_other():
    """The two ways to map a step, on a step that mixes all of its operands."""

    def step(state, batch, inputs):
        drawn = jax.random.uniform(jax.random.key(inputs.seed), batch["inputs"].shape)
        new = state.params["w"] @ (batch["inputs"] * drawn) + inputs.step
        return TrainState({"w": new}, state.opt_state), {"loss": jnp.sum(new)}

    @dataclasses.dataclass
    class Inputs:
        seed: jax.Array
        step: int

    rng = np.random.default_rng(0)
    states = TrainState({"w": rng.normal(size=(3, 4, 4))}, ())
    batch = {"inputs": rng.normal(size=(3, 4, 4))}
    seeds = np.arange(3, dtype=np.uint32)
    found = {
        platform: mapped(step, platform)(states, batch, seeds, Inputs(0, 5))
        for platform in ("cpu", "tpu")
    }
    for number in range(3):
        wanted, metrics = step(
            TrainState({"w": states.params["w"][number]}, ()),
            {"inputs": batch["inputs"][number]},
            Inputs(seeds[number], 5),
        )
        for new, figures in found.values():
            np.testing.assert_allclose(new.params["w"][number], wanted.params["w"], rtol=1e-5)
            np.testing.assert_allclose(figures["loss"][number], metrics["loss"], rtol=1e-5)


def test_seeds_that_fill_different_buckets_are_run_one_after_the_other(tmp_path, monkeypatch):
    begun = []

    def refuse(configs, workdirs, log):
        raise DifferentBucketsError("no program is that of all of them")

    def alone(mode, config, workdir):
        begun.append((mode, workdir))
        return 143 if workdir.endswith("seed1") else 0

    monkeypatch.setattr("lengthwise.experiments.trials.run_group", refuse)
    monkeypatch.setattr(modes, "run", alone)
    assert run_trials(PAIR.trials("cpu", 3), tmp_path, together=3) == 143
    # The third is not begun: SIGTERM ended the second.
    assert begun == [("train", str(tmp_path / "only" / f"seed{n}")) for n in (0, 1)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"seed": 3, "seeds.order": 4, "phase.steps": 7}, None),
        (_SHIFTED, None),
        (
            {"phase.positions.kind": "e2_llm", "phase.positions.target_length": 64},
            "positions of 'e2_llm' are drawn outside of the step",
        ),
        ({"stopping.patience": 2}, "stopping.patience=2 is for a run by itself"),
        ({"eval.checkpoint": "best"}, "eval.checkpoint='best' is for a run by itself"),
        ({"anomaly.on_spike": "skip"}, "anomaly.on_spike='skip' is for a run by itself"),
    ],
    ids=str,
)
def test_what_needs_a_run_by_itself_is_named(change, why, monkeypatch):
    config = CELLS[0].config()
    config.update_from_flattened_dict(change)
    assert why_alone(config) == why
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert why_alone(config) == "8 devices, and runs are trained together on one"


def test_cells_are_with_those_that_can_go_on_from_the_same_step(tmp_path):
    trials = PAIR.trials("cpu", 8)
    for seed, steps in {1: (8, 16), 2: (16, 24), 3: (4,), 6: (24,)}.items():
        for step in steps:
            (tmp_path / trials[seed].name / "checkpoints" / str(step)).mkdir(parents=True)
    assert checkpoint_steps(tmp_path / trials[1].name) == {8, 16}
    groups = group_by_arm(trials, 3, tmp_path)
    assert [[trial.seed for trial in group] for group in groups] == [
        [0, 4, 5],
        [1, 2],
        [3],
        [6],
        [7],
    ]
    two_arms = TINY.trials("cpu", 2)
    groups = group_by_arm(two_arms, 2, tmp_path)
    assert [[trial.name for trial in group] for group in groups] == [
        ["few/seed0", "few/seed1"],
        ["many/seed0", "many/seed1"],
    ]


def test_a_damaged_checkpoint_of_one_is_not_passed_over(together, tmp_path):
    directory = tmp_path / "copy"
    shutil.copytree(together, directory)
    first, second = (directory / trial.name for trial in CELLS)
    for workdir in (first, second):
        (workdir / "eval" / "answers.json").unlink()
    for file in (second / "checkpoints" / str(_STEPS) / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(UserError, match=r"only/seed0, only/seed1: a checkpoint is damaged"):
        run_trials(CELLS, directory, together=2)
    saved = json.loads((first / "checkpoints" / str(_STEPS) / "metrics" / "metrics").read_text())
    assert saved  # what was whole is still there
