"""`train` from end to end: stopping early, phases, and the weights of another run."""

import os
import signal

import jax
import numpy as np
import pytest

from lengthwise.benchmarks.app.lives import lasting_rows
from lengthwise.common.errors import UserError
from lengthwise.common.interruption import interruption_point
from lengthwise.configs.resolve import load
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.loop import run_loop
from lengthwise.train.programs.setup import Setup
from lengthwise.train.step.positions import training_positions
from tests.train.runs import config, last_state, rows, steps_on_disk

# A bucket each, since compiling is what takes time here.
TWO_PHASES = (
    {"steps": 6, "budget_steps": 6},
    {
        "steps": 6,
        "budget_steps": 6,
        "layout": {"name": "concat_and_chunk", "largest_bucket": 64, "document_mask": False},
        "rope_scaling": {"kind": "linear", "factor": 4.0},
    },
)


def test_it_stops_early_with_the_best_checkpoint_kept(tmp_path, start):
    scores = {2: 3.0, 4: 2.0, 6: 2.5, 8: 2.6, 10: 2.7}
    early = {"phase.steps": 40, "train.eval_every": 2, "train.checkpoint_every": 2}
    early |= {"stopping.patience": 3, "phase.budget_steps": 40}
    state = start(tmp_path, scores.get, **early)
    assert (state.reason, state.step) == ("early stopping", 10)
    assert all(row["training_loss_change"] < 0 for row in rows(tmp_path, "eval")[2:])
    assert [row["bad_evaluations"] for row in rows(tmp_path, "eval")] == [0, 0, 1, 2, 3]
    assert steps_on_disk(tmp_path) == [4, 8, 10]
    restarted = Checkpoints(tmp_path / "checkpoints")
    assert restarted.best_step() == 4
    restarted.close()
    # Started again, it stays stopped, and its log stays as it was.
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = start(tmp_path, pytest.fail, **early)
    assert (again.reason, again.step) == ("early stopping", 10)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_without_patience_it_goes_on_whatever_the_score(tmp_path, start):
    state = start(tmp_path, float)  # the score is the step: worse and worse
    assert (state.reason, state.step) == ("finished", 12)
    assert steps_on_disk(tmp_path) == [4, 8, 12]  # 4 is the best


def test_a_score_that_is_no_number_stops_the_run(tmp_path, start):
    with pytest.raises(UserError, match=r"non-finite score nan .* step 8; checkpoint 4 is kept"):
        start(tmp_path, {4: 1.0, 8: float("nan")}.get)


@pytest.mark.parametrize("at", [8, 12])
def test_an_evaluation_that_a_signal_cuts_short_is_made_up_for(at, tmp_path, start, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    scores = {4: 2.0, 8: 1.0, 12: 3.0}

    def terminated(step):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
            interruption_point()
        return scores[step]

    start(whole, scores.get)
    for _ in range(2):  # the second time while it is made up for
        state = start(cut, terminated)
        assert (state.reason, state.step, steps_on_disk(cut)[-1]) == ("terminated", at, at)
        assert [row["step"] for row in rows(cut, "eval")] == [*range(4, at, 4)]
    monkeypatch.setattr(Checkpoints, "drop_after", raise_interrupt)
    with pytest.raises(KeyboardInterrupt):  # killed between the scores and their checkpoint
        start(cut, scores.get)
    monkeypatch.undo()
    assert start(cut, scores.get).reason == "finished"
    assert steps_on_disk(cut) == steps_on_disk(whole)
    assert lasting_rows(cut) == lasting_rows(whole)
    best = [Checkpoints(each / "checkpoints", read_only=True).best_step() for each in (whole, cut)]
    assert best == [8, 8]


def raise_interrupt(*_):
    raise KeyboardInterrupt


def test_phases_follow_each_other_and_the_second_resumes(tmp_path, start):
    phases = {"phases": TWO_PHASES}
    assert start(tmp_path / "whole", **phases).step == 12
    whole = rows(tmp_path / "whole")
    assert [row["phase"] for row in whole] == [0] * 6 + [1] * 6
    assert [row["bucket"] for row in whole] == [32] * 6 + [64] * 6
    assert [row["tokens"] for row in whole] == [512 * step for step in range(1, 13)]

    def killed_at_10(step):
        if step == 10:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "killed", killed_at_10, **phases, **{"train.eval_every": 5})
    assert steps_on_disk(tmp_path / "killed")[-1] == 8
    assert start(tmp_path / "killed", **phases).step == 12
    assert [row["checksum"] for row in rows(tmp_path / "killed")] == [r["checksum"] for r in whole]


def test_each_phase_has_its_rope_scaling(tmp_path, start, corpus, store):
    start(tmp_path / "scaled", **{"phases": TWO_PHASES})
    plain = ({**TWO_PHASES[0]}, {**TWO_PHASES[1], "rope_scaling": {"kind": "none", "factor": 1.0}})
    start(tmp_path / "plain", **{"phases": plain})
    scaled, plain = rows(tmp_path / "scaled"), rows(tmp_path / "plain")
    assert [r["checksum"] for r in scaled[:6]] == [r["checksum"] for r in plain[:6]]
    assert scaled[6]["bucket"] == plain[6]["bucket"]
    assert scaled[6]["loss"] != plain[6]["loss"]
    experiment = load(config(corpus, phases=TWO_PHASES), None)
    assert [p.rope_scaling for p in experiment.phases] == [
        RopeScaling("none", 1.0),
        RopeScaling("linear", 4.0),
    ]


def test_a_phase_may_show_positions_of_longer_contexts(tmp_path, start):
    def first_loss(kind):
        """Of the same batch and the same weights."""
        changes = {"phase.positions.kind": kind, "phase.positions.target_length": 256}
        start(tmp_path / kind, **changes, **{"phase.steps": 5, "train.eval_every": 0})
        return rows(tmp_path / kind)[0]["loss"]

    assert len({first_loss(kind) for kind in ("none", "pose", "e2_llm")}) == 3


def test_a_padded_row_draws_positions_for_its_tokens_alone(tmp_path, start, monkeypatch):
    """Not for its padding too: they would be those of a shorter range the shorter it is."""
    found = []

    def watched(model, stretched, positions_BL, segment_ids_BL, *rest):
        positions = training_positions(model, stretched, positions_BL, segment_ids_BL, *rest)
        jax.debug.callback(lambda *arrays: found.append(arrays), positions, segment_ids_BL)
        return positions

    monkeypatch.setattr("lengthwise.train.programs.blueprint.training_positions", watched)
    padded = {"phase.layout.name": "pad", "phase.layout.largest_bucket": 128}
    drawn = {"model.positions.randomized": 4096, "model.positions.scheme": "sinusoidal"}
    start(tmp_path, **padded, **drawn, **{"phase.steps": 12, "train.eval_every": 0})
    jax.effects_barrier()
    ends = []
    for positions_BL, segment_ids_BL in found:
        for positions, segments in zip(positions_BL, segment_ids_BL, strict=True):
            own = positions[segments == 1]
            assert (np.diff(own) > 0).all()
            if 4 <= len(own) < 100:
                ends.append(own[-1] / 4096 * (len(own) + 1) / len(own))
    assert len(ends) >= 4
    # The largest of n of a range lies at n / (n + 1) of it; of a row filled up to 128, at n / 128.
    assert np.mean(ends) > 0.8


def test_learned_positions_may_be_shifted(tmp_path, start):
    """Rows of the table beyond the training length are trained then, and only then."""
    learned = {"model.positions.scheme": "learned", "model.positions.learned.positions": 256}

    def vectors(kind, steps):
        changes = {"phase.positions.kind": kind, "phase.positions.target_length": 256}
        every = {"phase.steps": steps, "train.eval_every": 0, "optimizer.l2": 0.0}
        start(tmp_path / f"{kind}{steps}", **learned, **changes, **every)
        params = last_state(tmp_path / f"{kind}{steps}")["params"]
        return np.asarray(params["positions"]["learned"]["table"])[128:]

    assert (vectors("shift", 5) != vectors("shift", 10)).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(vectors("none", 5), vectors("none", 10))


@pytest.mark.parametrize(
    ("scheme", "target", "word"),
    [("rope", 256, "learned or sinusoidal"), ("learned", 512, "more than the 256 positions")],
)
def test_shifts_without_meaning_are_refused(tmp_path, start, scheme, target, word):
    changes = {
        "model.positions.scheme": scheme,
        "model.positions.learned.positions": 256,
        "phase.positions.kind": "shift",
        "phase.positions.target_length": target,
    }
    with pytest.raises(UserError, match=word):
        start(tmp_path, **changes)


def test_clex_learns_its_frequencies_from_spread_positions(tmp_path, start):
    phase = {"phase.positions.kind": "clex", "phase.positions.target_length": 128}
    clex = {"model.positions.scheme": "clex", "model.positions.clex.original_length": 32}
    start(tmp_path, **phase, **clex, **{"phase.steps": 5, "train.eval_every": 0})
    assert np.abs(last_state(tmp_path)["params"]["positions"]["clex"]["down"]).max() > 0
    assert all(np.isfinite(row["loss"]) for row in rows(tmp_path))


def test_init_from_takes_the_weights_alone(tmp_path, start, monkeypatch, caplog):
    start(tmp_path / "first")
    caplog.clear()
    begun = {}

    def watched(states, train_state, *rest):
        begun["state"] = jax.tree.map(np.asarray, train_state)
        begun["step"] = states[0].step
        run_loop(states, train_state, *rest)

    monkeypatch.setattr("lengthwise.train.loop.start.run_loop", watched)
    start(tmp_path / "second", **{"train.init_from": str(tmp_path / "first"), "phase.steps": 5})
    assert not [each for each in caplog.records if each.name == "absl"]  # Orbax warns by it
    assert begun["step"] == 0
    assert all(not leaf.any() for leaf in jax.tree.leaves(begun["state"].opt_state))
    source = Checkpoints(tmp_path / "first" / "checkpoints")
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), begun["state"].params
    )
    weights = source.restore_params(12, wanted)
    source.close()
    for a, b in zip(jax.tree.leaves(begun["state"].params), jax.tree.leaves(weights), strict=True):
        np.testing.assert_array_equal(a, b)
    log, first = rows(tmp_path / "second"), rows(tmp_path / "first")
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5]
    assert log[0]["loss"] < first[0]["loss"] - 0.1
    assert log[0]["learning_rate"] == pytest.approx(0.02 / 4)  # the warm-up, too, starts anew


def test_init_from_takes_the_weights_under_another_position_scheme(tmp_path, start, monkeypatch):
    """What a scheme learns is born anew, or left behind; the rest is taken."""
    start(tmp_path / "rope")
    there = Checkpoints(tmp_path / "rope" / "checkpoints", read_only=True)
    taken = {}

    def first_state(self, params):
        taken.update(jax.tree.map(np.asarray, params))
        raise InterruptedError

    monkeypatch.setattr(Setup, "state_from", first_state)
    other = {"model.positions.scheme": "kerple", "train.init_from": str(tmp_path / "rope")}
    with pytest.raises(InterruptedError):
        start(tmp_path / "kerple", **other)
    assert taken["positions"]["kerple"]["log_p"].shape == (1, 2)
    saved = there.parameter_shapes(there.latest_step())
    assert {f"{k}" for k in taken} == {name.split(".")[0] for name in saved} | {"positions"}
    there.close()


def test_init_from_leaves_a_save_of_the_other_run_alone(tmp_path, start):
    start(tmp_path / "first")
    unfinished = tmp_path / "first" / "checkpoints" / "13.orbax-checkpoint-tmp-1"
    unfinished.mkdir()
    start(tmp_path / "second", **{"train.init_from": str(tmp_path / "first"), "phase.steps": 5})
    assert unfinished.is_dir()


def test_init_from_is_settled_before_the_first_step(tmp_path, start, monkeypatch):
    start(tmp_path / "first")

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lengthwise.train.loop.start.run_loop", killed)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "second", **{"train.init_from": str(tmp_path / "first")})
    assert steps_on_disk(tmp_path / "second") == [0]


def test_init_from_is_for_the_first_start_alone(tmp_path, start):
    start(tmp_path / "first")
    start(tmp_path / "second", **{"train.init_from": str(tmp_path / "first"), "phase.steps": 8})
    (tmp_path / "first").rename(tmp_path / "gone")
    gone = {"train.init_from": str(tmp_path / "first")}
    assert start(tmp_path / "second", **gone).step == 12
    with pytest.raises(UserError, match=r"init_from=.* has no checkpoints"):
        start(tmp_path / "third", **gone)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("model.embed_dim", 32, "model.embed_dim: 16 -> 32"),
        ("model.qk_norm", "none", "model.qk_norm: "),
    ],
)
def test_init_from_another_model_is_named(tmp_path, start, field, value, named):
    start(tmp_path / "first", **{"phase.steps": 5})
    with pytest.raises(UserError, match=f"init_from=.* holds another model: {named}") as caught:
        start(tmp_path / "second", **{"train.init_from": str(tmp_path / "first"), field: value})
    assert "\n" not in str(caught.value)
    assert not steps_on_disk(tmp_path / "second")


def test_a_run_shorter_than_its_checkpoint_is_refused(tmp_path, start):
    start(tmp_path)
    with pytest.raises(UserError, match="at step 12, beyond the 10 steps"):
        start(tmp_path, **{"phase.steps": 10})
    assert steps_on_disk(tmp_path)[-1] == 12


def test_other_data_under_a_checkpoint_is_refused(tmp_path, start):
    start(tmp_path)
    with pytest.raises(UserError, match="checkpoint 12 was trained on other data"):
        start(tmp_path, **{"phase.curriculum.cycles": 1})


def test_a_loss_that_is_no_number_names_step_and_bucket_and_keeps_a_good_checkpoint(
    tmp_path, start
):
    explode = {"optimizer.learning_rate": 1e18, "optimizer.warmup_steps": 8}
    explode |= {"optimizer.z_loss": 0.0, "train.checkpoint_every": 1}
    with pytest.raises(UserError, match=r"non-finite .* at step \d+ in bucket 32 ") as e:
        start(tmp_path / "bad", **explode)
    log = rows(tmp_path / "bad")
    assert f"at step {len(log) + 1} in bucket" in str(e.value)
    assert log
    last = steps_on_disk(tmp_path / "bad")[-1]
    assert f"checkpoint {last} is kept" in str(e.value)
    assert last <= len(log)
    assert all(np.isfinite(row["loss"]) for row in log)
