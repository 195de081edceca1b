"""The order of things in the loop: nothing waits for logging or data, nothing bad is saved."""

import contextlib
import os
import signal
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.interruption import interruption_point
from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.data.layouts.row_groups import Stratum
from lengthwise.train.config import LoopConfig, ProfileConfig
from lengthwise.train.loop.loop import run_loop
from lengthwise.train.loop.state import RunState, TrainingRun
from lengthwise.train.machine.signals import TerminationRequest
from lengthwise.train.metrics.goodput import CAUSES, Goodput
from lengthwise.train.metrics.profile import Profiler
from lengthwise.train.programs.steps import SingleSteps, StepBatch
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.phase_end import PhaseEndConfig, PhaseEnds
from lengthwise.train.rules.stopping import EarlyStopping, StoppingConfig
from lengthwise.train.step.settings import RateSchedule
from lengthwise.train.step.update import StepInputs
from tests.train.runs import anomaly_config, optimizer_config

STEPS, LENGTH = 8, 4
PHASE = types.SimpleNamespace(
    number=0,
    first_step=0,
    steps=STEPS,
    config=types.SimpleNamespace(steps=STEPS, tokens_per_step=LENGTH, end=PhaseEndConfig()),
    layout=types.SimpleNamespace(strata=(Stratum("prose", 0),)),
)


class Figure:
    """A metric on the device: that somebody reads it is an event."""

    def __init__(self, value, event, events):
        self.value, self.event, self.events = value, event, events

    def __array__(self, dtype=None, copy=None):
        if self.event not in self.events:
            self.events.append(self.event)
        return np.asarray(self.value)

    def is_ready(self):
        return False


class Fakes:
    """Everything around the loop, recording what is done and when."""

    def __init__(
        self, losses=None, scores=None, patience=0, strata=None, profile=(), rules=None, **config
    ):
        self.phase = PHASE
        if strata:
            layout = types.SimpleNamespace(strata=strata)
            self.phase = types.SimpleNamespace(**{**vars(PHASE), "layout": layout})
        self.events, self.rows, self.saved = [], [], []
        self.losses = losses or {}
        self.rules = AnomalyRules(anomaly_config(**(rules or {})))
        self.limits = {}
        self.scores = iter(scores or [1.0] * STEPS)
        settings = {"log_every": 1, "eval_every": 0, "checkpoint_every": 100, "checksums": False}
        self.config = types.SimpleNamespace(
            train=LoopConfig(**{**settings, **config}), optimizer=optimizer_config()
        )
        schedule = RateSchedule(0, STEPS, optimizer_config(warmup_steps=0), 0)
        self.config.rate_schedules = (schedule,)
        self.config.rate_schedule = lambda phase: schedule
        self.stopping = EarlyStopping(StoppingConfig(score="nll", patience=patience, min_delta=0.0))
        self.termination = TerminationRequest()
        self.profiler = Profiler(ProfileConfig(profile), Path("tensorboard"))

    def step(self, state, arrays, inputs):
        number = int(inputs.step) + 1
        self.limits[number] = float(inputs.loss_limit)
        self.events.append(("dispatch", number))
        loss = self.losses.get(number, 3.0 - 0.1 * number)
        figures = {"loss": loss, "grad_norm": 1.0, "param_norm": 1.0, "targets": LENGTH}
        figures |= {"nats_B": np.array([4.0, 9.0]), "targets_B": np.array([1, 3])}
        return state, {k: Figure(v, ("fetch", number), self.events) for k, v in figures.items()}

    def batches(self, start, data_steps=None):
        for step in range(start, STEPS):
            self.events.append(("data", step + 1))
            rows = np.zeros(2, np.int64)
            try:
                yield self.phase, HostBatch(step, LENGTH, rows, np.array([0, 1]), {}), {}
            except GeneratorExit:
                self.events.append(("data closed", step + 1))
                raise

    def evaluate(self, params, step):
        self.events.append(("evaluate", step))
        return {"stopping_score": next(self.scores)}

    def save(self, step, state, host, score):
        self.events.append(("save", step))
        self.saved.append(step)

    def state(self, start=0):
        run = TrainingRun(
            setup=types.SimpleNamespace(
                config=self.config,
                phases=types.SimpleNamespace(
                    phases=[self.phase], total_steps=STEPS, at=lambda step: self.phase
                ),
                blueprint=types.SimpleNamespace(step_flops=lambda phase, length: 1.0),
                inputs=lambda phase, step, length: StepInputs(np.int32(step), np.uint32(0), {}),
                device_batches=self.batches,
                fingerprint=lambda: "",
                meaning=lambda step: {},
            ),
            workdir=Path(),
            checkpoints=types.SimpleNamespace(
                save=self.save,
                wait=lambda: None,
                latest_step=lambda: self.saved[-1] if self.saved else None,
            ),
            claim=lambda: None,
            evaluate=self.evaluate,
            prepare_evaluation=lambda: None,
            peak_flops=1.0,
        )
        state = RunState(
            run, start, self.stopping, self.rules, Goodput(), PhaseEnds([PhaseEndConfig()])
        )
        state.writer = types.SimpleNamespace(write=self.rows.append, flush=lambda: None)
        return state

    def run(self, start=0, compiled=None):
        state = self.state(start)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lengthwise.train.loop.loop.roll_back", self.roll_back)
            patch.setattr(
                "lengthwise.train.loop.step_logger.gather",
                lambda seconds: np.array([seconds, 3 * seconds, seconds]),
            )
            run_loop(
                [state],
                types.SimpleNamespace(params=None),
                SingleSteps(state.run.setup, compiled or {(0, LENGTH): self.step}),
                self.termination,
                self.profiler,
            )
        return state

    def roll_back(self, state, anomaly):
        self.events.append(("roll back", anomaly.step))
        self.losses.pop(anomaly.step)
        state.step = self.saved[-1]
        return types.SimpleNamespace(params=None)

    def at(self, *event):
        return self.events.index(event)


def test_metrics_are_fetched_while_the_next_step_runs_and_its_data_is_ready():
    fakes = Fakes()
    fakes.run()
    for step in range(1, STEPS):
        assert fakes.at("dispatch", step + 1) < fakes.at("fetch", step)
    for step in range(2, STEPS):
        # The batch of step + 1 is on the device before anybody waits for step - 1.
        assert fakes.at("data", step + 1) < fakes.at("fetch", step - 1)


def test_at_most_two_steps_are_queued():
    fakes = Fakes()
    fakes.run()
    running = 0
    for kind, _ in fakes.events:
        running += (kind == "dispatch") - (kind == "fetch")
        assert running <= 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_bad_loss_names_step_and_bucket_and_is_never_saved(bad, step):
    fakes = Fakes(losses={step: bad}, checkpoint_every=2)
    with pytest.raises(UserError, match=rf"step {step} in bucket {LENGTH}"):
        fakes.run()
    assert all(saved < step for saved in fakes.saved)
    assert all(row["step"] < step for row in fakes.rows)


class Lockstep:
    """Steps of several fake runs, one after the other."""

    def __init__(self, all_fakes):
        self.all_fakes = all_fakes

    def batches(self, step, data_steps):
        for drawn in zip(*(fakes.batches(step) for fakes in self.all_fakes), strict=True):
            yield StepBatch([(phase, batch) for phase, batch, _ in drawn], [{}])

    def prepare(self, batch):
        pass

    def step(self, train_state, step, batch, limits):
        inputs = StepInputs(np.int32(step), np.uint32(0), {})
        return train_state, [fakes.step(None, {}, inputs)[1] for fakes in self.all_fakes]

    def by_run(self, metrics):
        return [{name: np.asarray(value) for name, value in one.items()} for one in metrics]

    def state_of(self, train_state, number):
        return types.SimpleNamespace(params=number)


def run_lockstep(*all_fakes):
    states = [fakes.state() for fakes in all_fakes]
    run_loop(states, None, Lockstep(all_fakes), all_fakes[0].termination, all_fakes[0].profiler)
    return states


def test_runs_in_lockstep_keep_their_own_rows_scores_and_checkpoints():
    worsens = Fakes(eval_every=2, scores=[1.0, 2.0, 3.0, 4.0])
    improves = Fakes(losses={2: 7.0}, scores=[4.0, 3.0, 2.0, 1.0])
    states = run_lockstep(worsens, improves)
    assert [(state.step, state.reason) for state in states] == [(STEPS, "finished")] * 2
    assert (worsens.saved, improves.saved) == ([2, 8], [2, 4, 6, 8])
    rows = {
        kind: [rows_of(fakes, kind) for fakes in (worsens, improves)] for kind in ("train", "eval")
    }
    assert [[row["step"] for row in own] for own in rows["train"]] == [[*range(1, 9)]] * 2
    pairs = zip(*rows["train"], strict=True)
    assert [one["step"] for one, other in pairs if one["loss"] != other["loss"]] == [2]
    assert [[row["best_score"] for row in own] for own in rows["eval"]] == [[1.0] * 4, [4, 3, 2, 1]]


def rows_of(fakes, kind):
    return [row for row in fakes.rows if row["kind"] == kind]


def test_a_bad_loss_in_lockstep_names_the_checkpoint_of_its_run():
    worsens = Fakes(eval_every=2, scores=[1.0, 2.0])
    improves = Fakes(losses={6: float("nan")}, scores=[2.0, 1.0])
    with pytest.raises(UserError, match=r"step 6 in bucket .*checkpoint 4 is kept"):
        run_lockstep(worsens, improves)
    assert (worsens.saved, improves.saved) == ([2], [2, 4])
    assert [row["step"] for row in rows_of(improves, "train")] == [1, 2, 3, 4, 5]


def test_a_skipped_step_is_told_and_the_run_goes_on_without_waiting(capsys):
    fakes = Fakes(losses={3: float("nan")}, rules={"on_nonfinite": "skip"}, checkpoint_every=3)
    fakes.run()
    (skip,) = (row for row in fakes.rows if row["kind"] == "skip")
    assert (skip["step"], skip["cause"], skip["loss"]) == (3, "non-finite", None)
    assert "step 3 in bucket 4" in capsys.readouterr().err
    assert [row["step"] for row in fakes.rows if row["kind"] == "train"] == [1, 2, 4, 5, 6, 7, 8]
    assert fakes.saved == [3, 6, 8]
    for step in (1, 2, 4, 5, 7):  # 3 and 6 are fetched before they are saved
        assert fakes.at("dispatch", step + 1) < fakes.at("fetch", step)


def test_a_rollback_closes_the_data_before_it_opens_them_again():
    fakes = Fakes(losses={5: float("inf")}, rules={"on_nonfinite": "rollback"}, checkpoint_every=2)
    fakes.run()
    assert fakes.saved == [2, 4, 6, 8]
    # The batch after the one that is on the device already.
    assert fakes.at("data closed", 7) < fakes.at("roll back", 5)
    assert [e for e in fakes.events if e[0] == "dispatch"][4:] == [
        ("dispatch", step) for step in (5, 6, 5, 6, 7, 8)
    ]


def test_limits_know_the_same_steps_whether_the_loop_waited_or_not():
    """A checkpoint, as after SIGTERM, makes the loop look at a step sooner than else."""
    rules = {"on_spike": "skip", "warmup": 2, "deviations": 1.0}
    plain = Fakes(rules=rules)
    plain.losses = {n: 3.0 + 0.1 * (n % 2) for n in range(1, STEPS + 1)}
    often = Fakes(rules=rules, checkpoint_every=1)
    often.losses = plain.losses
    plain.run()
    often.run()
    assert plain.limits == often.limits
    assert plain.limits[3] == float("inf") > plain.limits[4]


def test_accounts_stand_with_the_checkpoints_and_name_the_slowest_process():
    fakes = Fakes(checkpoint_every=4)
    fakes.run()
    accounts = [row for row in fakes.rows if row["kind"] == "goodput"]
    assert [row["step"] for row in accounts] == [4, 8, 8]
    assert accounts[0]["slowest_process"] == 1
    assert accounts[0]["slowest_over_median"] == pytest.approx(3.0)
    by_cause = sum(accounts[-1][f"{cause}_seconds"] for cause in CAUSES)
    assert by_cause == pytest.approx(accounts[-1]["wall_seconds"])


@pytest.mark.parametrize("bad", [float("nan"), FloatingPointError("non-finite scores in 1 row")])
def test_a_bad_score_is_one_line_and_saves_nothing(bad):
    fakes = Fakes(eval_every=3, checkpoint_every=2)

    def evaluate(params, step):
        if isinstance(bad, Exception):
            raise bad
        return {"stopping_score": bad}

    fakes.evaluate = evaluate
    with pytest.raises(UserError, match="at step 3; checkpoint 2 is kept"):
        fakes.run()
    assert fakes.saved == [2]


def test_a_checkpoint_follows_its_rows_and_its_evaluation():
    fakes = Fakes(checkpoint_every=3, eval_every=3)
    fakes.run()
    assert fakes.saved == [3, 6, 8]
    assert fakes.at("fetch", 3) < fakes.at("evaluate", 3) < fakes.at("save", 3)
    assert fakes.at("save", 3) < fakes.at("dispatch", 4)


def test_a_best_score_is_saved_between_checkpoints():
    fakes = Fakes(checkpoint_every=100, eval_every=2, scores=[2.0, 1.0, 3.0, 4.0])
    fakes.run()
    assert fakes.saved == [2, 4, 8]


def test_it_stops_when_the_score_worsens_and_the_last_state_is_saved():
    fakes = Fakes(eval_every=2, scores=[1.0, 2.0, 3.0, 4.0], patience=2)
    state = fakes.run()
    assert (state.reason, state.step) == ("early stopping", 6)
    assert fakes.saved[-1] == 6


def test_a_run_that_nothing_can_be_scored_of_saves_and_ends():
    fakes = Fakes(eval_every=2)
    fakes.evaluate = None
    state = fakes.run()
    assert (state.reason, fakes.saved[-1]) == ("finished", state.step)
    assert not any(kind == "evaluate" for kind, _ in fakes.events)


def test_termination_saves_at_the_next_step_and_evaluates_only_what_is_due():
    fakes = Fakes(eval_every=2)
    fakes.termination.requested = True
    state = fakes.run(start=2)
    assert (state.reason, state.step, fakes.saved) == ("terminated", 3, [3])
    assert not any(kind == "evaluate" for kind, _ in fakes.events)
    due = Fakes(eval_every=2)
    due.termination.requested = True
    assert due.run(start=3).step == 4
    assert ("evaluate", 4) in due.events


def test_termination_during_the_last_evaluation_is_heard():
    """Scoring, which may take longer than the machine is left, must not begin."""
    fakes = Fakes(eval_every=4)

    def evaluate(params, step):
        fakes.termination.requested = step == STEPS
        return {"stopping_score": 1.0}

    fakes.evaluate = evaluate
    state = fakes.run()
    assert (state.reason, state.step, fakes.saved[-1]) == ("terminated", STEPS, STEPS)
    assert [row["reason"] for row in fakes.rows if row["kind"] == "end"] == ["finished"]


@pytest.mark.parametrize("during", ["step", "evaluate"])
def test_termination_where_it_stops_early_is_heard_and_training_is_at_its_end(during):
    """Else the run would go on to its scores, or never be taken for finished."""
    fakes = Fakes(eval_every=2, scores=[1.0, 2.0, 3.0, 4.0], patience=2)
    original = getattr(fakes, during)

    def signalled(*given):
        fakes.termination.requested = ("dispatch", 5) in fakes.events
        return original(*given)

    setattr(fakes, during, signalled)
    state = fakes.run()
    assert (state.reason, state.step) == ("terminated", 6)
    assert [row["reason"] for row in fakes.rows if row["kind"] == "end"] == ["early stopping"]


def test_reading_ahead_ends_with_the_loop():
    stopped = Fakes(eval_every=2)
    stopped.termination.requested = True
    held = stopped.batches(2)  # as a traceback or a debugger may hold it
    stopped.batches = lambda start, data_steps: held
    stopped.run(start=2)
    assert ("data closed", 4) in stopped.events
    failed = Fakes(losses={3: float("nan")})
    with pytest.raises(UserError) as caught:
        failed.run()
    assert caught.tb is not None, "its frames hold what the loop held"
    assert ("data closed", 5) in failed.events


def test_rows_are_logged_every_so_often_with_tokens_of_all_steps():
    fakes = Fakes(log_every=4)
    fakes.run()
    train = [row for row in fakes.rows if row["kind"] == "train"]
    assert [(row["step"], row["tokens"]) for row in train] == [(4, 16), (8, 32)]


@pytest.mark.parametrize(("start", "first"), [(0, 3), (3, 4)])
def test_the_trace_holds_the_chosen_steps_and_no_other(monkeypatch, start, first):
    fakes = Fakes(profile=(3, 5))

    @contextlib.contextmanager
    def trace(directory):
        fakes.events.append("trace begins")
        yield
        fakes.events.append("trace ends")

    monkeypatch.setattr(jax.profiler, "trace", trace)
    fakes.run(start)
    assert fakes.events.count("trace begins") == fakes.events.count("trace ends") == 1
    begins, ends = fakes.events.index("trace begins"), fakes.events.index("trace ends")
    assert begins + 1 == fakes.at("dispatch", first)
    # The last step is over when the trace ends, and the next one has not begun.
    assert fakes.at("fetch", 5) < ends < fakes.at("dispatch", 6)


def test_losses_by_domain_stand_in_the_rows_of_a_store_of_several():
    fakes = Fakes(strata=(Stratum("prose", 0), Stratum("code", 0)))
    fakes.run()
    train = [row for row in fakes.rows if row["kind"] == "train"]
    assert len(train) == STEPS
    for row in train:
        assert row["losses"] == {"prose": 4.0, "code": 3.0}
        assert row["domain_targets"] == {"prose": 1, "code": 3}
    one = Fakes(strata=(Stratum("code", 0), Stratum("code", 512)))
    one.run()
    assert not any("losses" in row for row in one.rows)


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")]
)
def test_a_signal_sets_the_request_and_the_old_handler_comes_back(number, reason):
    before = signal.signal(number, signal.default_int_handler)
    try:
        with TerminationRequest() as termination:
            assert not termination.requested
            os.kill(os.getpid(), number)
            assert termination.requested
            assert termination.reason == reason
        assert signal.getsignal(number) is signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with TerminationRequest() as termination:
            os.kill(os.getpid(), number)
            assert not termination.requested  # as whoever started us wants it
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("checkpoint_every", [100, 5])
def test_a_signal_while_a_program_is_awaited_saves_where_the_run_is(checkpoint_every):
    fakes = Fakes(checkpoint_every=checkpoint_every)

    class Compiled:
        def __getitem__(self, key):
            if ("dispatch", 5) in fakes.events:
                fakes.termination.requested = True
                interruption_point()
            return fakes.step

    state = fakes.run(compiled=Compiled())
    assert (state.reason, state.step) == ("terminated", 5)
    assert fakes.saved == [5]
    assert [row["step"] for row in rows_of(fakes, "train")] == [1, 2, 3, 4, 5]


def test_a_second_interrupt_does_not_wait(capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with TerminationRequest():
            os.kill(os.getpid(), signal.SIGINT)
            assert "saves after this step; once more ends at once" in capsys.readouterr().err
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_that_ctrl_c_ended_says_so():
    fakes = Fakes()
    fakes.termination.requested, fakes.termination.reason = True, "interrupted"
    assert fakes.run().reason == "interrupted"
