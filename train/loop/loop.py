"""The training loop: dispatches step n, then reads the metrics of step n - 1."""

import collections
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lengthwise.common.interruption import Interruption
from lengthwise.common.progress import ProgressBar
from lengthwise.train.loop.endings import stop_error
from lengthwise.train.loop.evaluation import evaluate_and_save, make_up_for_evaluation
from lengthwise.train.loop.restore import roll_back
from lengthwise.train.loop.state import RunState, spent_on
from lengthwise.train.loop.step_logger import PendingStep, StepLogger
from lengthwise.train.machine.signals import STATUS, TerminationRequest
from lengthwise.train.metrics.profile import Profiler
from lengthwise.train.metrics.writer import CompileCounter
from lengthwise.train.programs.steps import StepPrograms
from lengthwise.train.rules.anomaly import AnomalyError
from lengthwise.train.step.update import TrainState

_PHASE_ENDED = "phase ended"  # by a rule: the run goes on with other batches


def run_loop(
    states: Sequence[RunState],
    train_state: TrainState,
    programs: StepPrograms,
    termination: TerminationRequest,
    profiler: Profiler,
) -> None:
    """Trains from where `states` are to the end of the last phase, or to what ends it before.

    Leaves in `states` the steps done and the reason of the end.

    Args:
      states: of one run, or of several in lockstep that differ in nothing but their seeds.
      train_state: their device state, as `programs` takes it.

    Raises:
      UserError: an anomaly that the rules stop at, or a checkpoint that can't be written.
    """
    runs, phases = len(states), states[0].run.setup.phases
    bar = ProgressBar(
        total=phases.total_steps * runs,
        initial=states[0].step * runs,
        desc="training" if runs == 1 else f"training {runs} runs",
        unit="step",
        smoothing=0.05,
    )
    logger = StepLogger(states, programs, bar)
    start_time = time.perf_counter()
    compiles = CompileCounter()
    for state in states:
        state.goodput.begin_steps()
    with bar, compiles:
        while True:
            try:
                reason, train_state = _train_steps(
                    states, train_state, programs, termination, profiler, logger, compiles
                )
                if reason != _PHASE_ENDED:
                    break
                bar.total = phases.total_steps * runs
                continue
            except AnomalyError as error:
                anomaly, state = error.anomaly, states[error.number]
            # Only here, where no traceback holds the state of the failed attempt any more.
            if anomaly.action == "stop" or runs > 1:
                raise stop_error(state, anomaly)
            profiler.close()
            train_state = roll_back(state, anomaly)
            bar.n = state.step
            bar.refresh()
            logger.restart_clock()
    end = {
        "kind": "end",
        "step": states[0].step,
        "reason": reason,
        "seconds": time.perf_counter() - start_time,
        "compiles_after_first_step": compiles.count,
    }
    # Of a training that came to its end, too: scoring, which may take long, must not begin.
    if reason not in STATUS and termination.ends_here():
        reason = termination.reason
    for number, state in enumerate(states):
        logger.write_account(number)
        state.writer.write(end)
        state.reason = reason


def _train_steps(
    states: Sequence[RunState],
    train_state: TrainState,
    programs: StepPrograms,
    termination: TerminationRequest,
    profiler: Profiler,
    logger: StepLogger,
    compiles: CompileCounter,
) -> tuple[str, TrainState]:
    """Trains to the end, to an anomaly or to where a rule ends a phase, after which other batches
    follow; returns the reason of the end and the device state.

    Raises:
      AnomalyError: a run can't go on from this device state.
    """
    setup, step = states[0].run.setup, states[0].step
    config = setup.config.train
    # Where phases begin whose conditions look back to an evaluation there.
    looked_at = {p.first_step for p in setup.phases.phases if p.config.end.looks_back}
    pending: collections.deque[PendingStep] = collections.deque()
    reason = "finished"
    if any(state.evaluation_due for state in states):
        phase_ended = False
        for number in range(len(states)):
            own_state = programs.state_of(train_state, number)
            phase_ended |= make_up_for_evaluation(states, number, own_state, logger, termination)
            del own_state
        logger.restart_clock()
        if any(state.evaluation_due for state in states):
            return termination.reason, train_state
        if any(state.stopping.should_stop for state in states):
            return "early stopping", train_state
        if phase_ended:
            return _PHASE_ENDED, train_state
    # Closed here, however the run ends: the threads that read ahead must not outlive it.
    batches = programs.batches(step, [state.rules.data_steps for state in states])
    with contextlib.closing(batches) as source:
        wait_seconds, batch = timed_next(source)
        _count_data_wait(states, wait_seconds)
        while batch is not None:
            # Dispatch a step, then put the next batch on the devices.
            profiler.start_before(step + 1)
            try:
                with spent_on(states, "compile"), termination.interrupting():
                    programs.prepare(batch)  # waits where it is not there yet
            except Interruption:
                reason = termination.reason
                _save_here(states, train_state, programs, logger, pending)
                break
            limits = [
                state.rules.limits(step + 1, phase.number, host.length)
                for state, (phase, host) in zip(states, batch.of_runs, strict=True)
            ]
            train_state, metrics = programs.step(train_state, step, batch, limits)
            step += 1
            for state in states:
                state.step = step
            pending.append(PendingStep(step, batch.of_runs, limits, metrics, wait_seconds))
            wait_seconds, batch = timed_next(source)
            if metrics[-1]["loss"].is_ready():  # type: ignore[attr-defined]  # of jax.Array
                _count_data_wait(states, wait_seconds)

            # Log the step before.
            while len(pending) > 1:
                logger.finish(pending.popleft())
            compiles.begin()

            # Evaluate and save where it is time.
            last = batch is None
            terminated = termination.ends_here()
            profiled = profiler.ends_at(step)
            due = last or (config.eval_every > 0 and step % config.eval_every == 0)
            due = due or step in looked_at
            evaluating = due and states[0].run.evaluate is not None
            saving = last or terminated or step % config.checkpoint_every == 0
            if not (evaluating or saving or profiled):
                continue
            while pending:  # no checkpoint of a state whose loss nobody has seen
                logger.finish(pending.popleft())
            if profiled:
                profiler.close()
            phase_ended = False
            for number in range(len(states)):
                own_state = programs.state_of(train_state, number)
                phase_ended |= evaluate_and_save(
                    states,
                    number,
                    own_state,
                    logger,
                    termination,
                    evaluating=evaluating,
                    saving=saving,
                )
                del own_state  # of several runs it is a copy
            logger.restart_clock()
            terminated = terminated or any(state.evaluation_due for state in states)
            stopping = any(state.stopping.should_stop for state in states)
            if terminated or stopping:
                reason = "early stopping" if stopping else termination.reason
                break
            if phase_ended:
                reason = _PHASE_ENDED
                break
        with spent_on(states, "saving"):
            for state in states:
                state.run.checkpoints.wait()
    return reason, train_state


def _save_here(
    states: Sequence[RunState],
    train_state: TrainState,
    programs: StepPrograms,
    logger: StepLogger,
    pending: collections.deque[PendingStep],
) -> None:
    """Saves behind the last step that was dispatched, unless that has a checkpoint."""
    while pending:
        logger.finish(pending.popleft())
    for number, state in enumerate(states):
        if state.run.checkpoints.latest_step() != state.step:
            own_state = programs.state_of(train_state, number)
            logger.write_account(number)
            with spent_on(states, "saving"):
                state.writer.flush()
                state.run.checkpoints.save(state.step, own_state, state.host_state(), None)


def _count_data_wait(states: Sequence[RunState], seconds: float) -> None:
    for state in states:
        state.goodput.count_data_wait(seconds)


def timed_next(source: Iterator[Any]) -> tuple[float, Any]:
    """Seconds of waiting for the next item, and the item; None at the end."""
    start = time.perf_counter()
    item = next(source, None)
    return time.perf_counter() - start, item
