"""The training loop: dispatches step n, then looks at the metrics of step n - 1."""

import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from lengthwise.common.errors import UserError
from lengthwise.train.loop.state import Dispatched, Record, Running
from lengthwise.train.loop.step_logger import StepLogger
from lengthwise.train.machine.signals import STATUS
from lengthwise.train.metrics.writer import CompileCounter
from lengthwise.train.rules.anomaly import NONFINITE, Anomaly, AnomalyError
from lengthwise.train.step.update import TrainState


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the loop ended."""

    state: TrainState
    step: int  # optimizer steps done
    # "finished", "early stopping", or one of signals.STATUS, though training was at its end.
    reason: str
    seconds: float  # wall time of the loop


def run_loop(running: Running, state: TrainState, start_step: int) -> Outcome:
    """Trains from `start_step` (optimizer steps done) to the end of the last phase.

    Raises:
      UserError: an anomaly that the rules stop at, or a checkpoint that can't be written.
    """
    total = running.phases.total_steps
    bar = tqdm(total=total, initial=start_step, desc="training", unit="step", smoothing=0.05)
    logger = StepLogger(running, bar)
    started = time.perf_counter()
    compiles = CompileCounter()
    running.goodput.begin_steps()
    step = start_step
    with bar, compiles:
        while True:
            try:
                state, step, reason = _train(running, state, step, logger, compiles)
                break
            except AnomalyError as error:
                anomaly = error.anomaly
            # Only here, where no traceback holds the state of the failed attempt any more.
            if anomaly.action == "stop":
                raise stopped(running, anomaly)
            running.profiler.close()
            state, step = running.roll_back(anomaly)
            bar.n = step
            bar.refresh()
            logger.restart_clock()
    seconds = time.perf_counter() - started
    logger.write_account(step)
    running.writer.write(
        {
            "kind": "end",
            "step": step,
            "reason": reason,
            "seconds": seconds,
            "compiles_after_first_step": compiles.count,
        }
    )
    # Of a training that came to its end, too: scoring, which may take long, must not begin.
    if reason not in STATUS and running.termination.ends_here():
        reason = running.termination.reason
    return Outcome(state, step, reason, seconds)


def _train(
    running: Running,
    state: TrainState,
    start_step: int,
    logger: StepLogger,
    compiles: CompileCounter,
) -> tuple[TrainState, int, str]:
    """From `start_step` to the end, or to an anomaly; state, steps done, and why it ended.

    Raises:
      AnomalyError: the run can't go on from this state.
    """
    config, goodput = running.config, running.goodput
    pending: collections.deque[Dispatched] = collections.deque()
    saved_step = start_step
    step, reason = start_step, "finished"
    # Closed here, however the run ends: the threads that read ahead must not outlive it.
    batches = running.device_batches(start_step, running.rules.data_steps)
    with contextlib.closing(batches) as source:
        waited, ready = timed_next(source)
        goodput.found_idle(waited)
        while ready is not None:
            phase, batch, arrays = ready
            running.profiler.start_before(step + 1)
            with goodput.spent_on("compile"):  # where it is not there yet
                compiled = running.steps[phase.number, batch.length]
            limits = running.rules.limits(step + 1, phase.number, batch.length)
            inputs = dataclasses.replace(
                running.step_inputs(phase, step, batch.length),
                loss_limit=limits.loss,
                grad_norm_limit=limits.grad_norm,
            )
            state, metrics = compiled(state, arrays, inputs)
            step += 1
            pending.append(Dispatched(step, phase, batch, metrics, waited, limits))
            waited, ready = timed_next(source)
            if metrics["loss"].is_ready():  # type: ignore[attr-defined]  # jax.Array names it not
                goodput.found_idle(waited)
            while len(pending) > 1:
                logger.finish(pending.popleft())
            compiles.begin()

            last = ready is None
            terminated = running.termination.ends_here()
            profiled = running.profiler.ends_at(step)
            evaluating = last or (config.eval_every and step % config.eval_every == 0)
            saving = last or terminated or step % config.checkpoint_every == 0
            if not (evaluating or saving or profiled):
                continue
            # No checkpoint of a state whose loss nobody has seen.
            while pending:
                logger.finish(pending.popleft())
            if profiled:
                running.profiler.close()
            score = None
            if evaluating:  # though terminated: a resumed run would never make up for it
                with goodput.spent_on("evaluation"):
                    score, improved = evaluate(running, state, step)
                saving = saving or improved
            stopping = running.stopping.should_stop
            if saving or stopping:
                logger.write_account(step)
                with goodput.spent_on("saving"):
                    running.writer.flush()
                    running.checkpoints.save(step, state, running.host_state(step), score)
                saved_step = step
            logger.restart_clock()
            if terminated or stopping:
                reason = "early stopping" if stopping else running.termination.reason
                break
        with goodput.spent_on("saving"):
            running.checkpoints.wait()
    assert saved_step == step
    return state, step, reason


def timed_next(source: Iterator[Any]) -> tuple[float, Any]:
    """Seconds that the host waited for data, and the item; None at the end."""
    start = time.perf_counter()
    item = next(source, None)
    return time.perf_counter() - start, item


def evaluate(record: Record, state: TrainState, step: int) -> tuple[float, bool]:
    """Scores the selection split, writes the row; returns the score and whether it is the best."""
    change = record.stopping.training_loss_change()
    try:
        row = record.evaluate(state.params, step)
    except FloatingPointError as error:
        raise _non_finite(record, f"{error} in the scores at step {step}") from error
    judged = row["stopping_score"]
    if not math.isfinite(judged):
        raise _non_finite(record, f"score {judged} of the selection split at step {step}")
    improved = record.stopping.record_score(step, judged)
    record.writer.write(
        {
            "kind": "eval",
            "step": step,
            **row,
            "best_score": record.stopping.best_score,
            "training_loss_change": change,
            "bad_evaluations": record.stopping.bad_evaluations,
        }
    )
    return judged, improved


def _non_finite(record: Record, what: str) -> UserError:
    return _ended(record, f"non-finite {what}", "")


def stopped(record: Record, anomaly: Anomaly) -> UserError:
    """What the user is told of an anomaly that ends the run."""
    if anomaly.why_stopped:
        return _ended(record, f"{anomaly.what}; {anomaly.why_stopped}", "")
    rule = "on_nonfinite" if anomaly.cause == NONFINITE else "on_spike"
    return _ended(
        record, anomaly.what, f"go on with --config.anomaly.{rule}=rollback (or skip), or "
    )


def _ended(record: Record, what: str, way_on: str) -> UserError:
    """Ends the run: what was wrong, which checkpoint is left, what to do."""
    record.writer.flush()
    record.checkpoints.wait()
    good = record.checkpoints.latest_step()
    kept = "no checkpoint was written yet" if good is None else f"checkpoint {good} is kept"
    again = "" if good is None else " and train.init_from this one"
    return UserError(
        f"{what}; {kept}; {way_on}start another --workdir with a lower "
        f"optimizer.learning_rate or a longer optimizer.warmup_steps{again}"
    )
