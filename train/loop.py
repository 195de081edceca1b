"""The training loop: dispatches step n, then looks at the metrics of step n - 1."""

import collections
import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from data.pipeline import HostBatch
from errors import UserError
from train.checkpoint import Checkpoints
from train.compiled import CompiledSteps
from train.domain_losses import losses_by_domain
from train.metrics import CompileCounter, MetricsWriter
from train.phases import Phase, Phases
from train.profile import Profiler
from train.signals import TerminationRequest
from train.step import StepInputs, TrainState
from train.stopping import EarlyStopping

BY_ROW = ("nats_B", "targets_B")  # what the step returns by row


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How often what happens, in optimizer steps."""

    log_every: int  # steps between rows of metrics.jsonl
    eval_every: int  # steps between scores on the selection split; 0: only at the end
    checkpoint_every: int  # steps between checkpoints; one is always written at the end
    checksums: bool  # a hash of (batch, loss, parameters) in every row, to compare runs


# (phase, length) -> compiled step; (state, batch, inputs) -> (state, metrics)
StepTable = CompiledSteps[tuple[int, int], Callable[..., tuple[TrainState, dict[str, jax.Array]]]]


@dataclasses.dataclass(frozen=True)
class Running:
    """What the loop works with; built once by `train.run`."""

    config: LoopConfig
    phases: Phases
    steps: StepTable
    step_inputs: Callable[[Phase, int], StepInputs]  # operands of a global step
    # From a step to the end; closing it ends the threads that read ahead.
    device_batches: Callable[[int], Generator[tuple[Phase, HostBatch, dict[str, jax.Array]]]]
    step_flops: Callable[[Phase, int], float]  # analytic FLOPs of one step of a bucket
    peak_flops: float  # FLOP/s of all devices together
    learning_rate: Callable[[int], float]
    evaluate: Callable[[object, int], dict[str, Any]]  # (params, step) -> row with "score"
    checkpoints: Checkpoints
    writer: MetricsWriter
    stopping: EarlyStopping
    host_state: Callable[[int], dict[str, Any]]
    termination: TerminationRequest
    profiler: Profiler


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the loop ended."""

    state: TrainState
    step: int  # optimizer steps done
    reason: str  # "finished", "early stopping" or "terminated"
    seconds: float  # wall time of the loop


@dataclasses.dataclass(frozen=True)
class _Dispatched:
    """A step on the device whose metrics nobody has looked at."""

    step: int  # optimizer steps done after it
    phase: Phase
    batch: HostBatch
    metrics: dict[str, jax.Array]
    data_wait_seconds: float


def run_loop(running: Running, state: TrainState, start_step: int) -> Outcome:
    """Trains from `start_step` (optimizer steps done) to the end of the last phase.

    Raises:
      UserError: non-finite loss, or a checkpoint that can't be written.
    """
    config, total = running.config, running.phases.total_steps
    pending: collections.deque[_Dispatched] = collections.deque()
    bar = tqdm(total=total, initial=start_step, desc="training", unit="step", smoothing=0.05)
    logger = _StepLogger(running, bar)
    started = time.perf_counter()
    saved_step = start_step
    step, reason = start_step, "finished"
    compiles = CompileCounter()
    # Closed here, however the run ends: the threads that read ahead must not outlive it.
    with bar, compiles, contextlib.closing(running.device_batches(start_step)) as source:
        waited, ready = _timed_next(source)
        while ready is not None:
            phase, batch, arrays = ready
            key = (phase.number, batch.length)
            running.profiler.start_before(step + 1)
            state, metrics = running.steps[key](state, arrays, running.step_inputs(phase, step))
            step += 1
            pending.append(_Dispatched(step, phase, batch, metrics, waited))
            waited, ready = _timed_next(source)
            while len(pending) > 1:
                logger.finish(pending.popleft())
            if step == start_step + 1:
                compiles.count = 0

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
                score, improved = _evaluate(running, state, step)
                saving = saving or improved
            stopping = running.stopping.should_stop
            if saving or stopping:
                running.writer.flush()
                running.checkpoints.save(step, state, running.host_state(step), score)
                saved_step = step
            logger.restart_clock()
            if terminated or stopping:
                reason = "terminated" if terminated else "early stopping"
                break
        running.checkpoints.wait()
    assert saved_step == step
    seconds = time.perf_counter() - started
    running.writer.write(
        {
            "kind": "end",
            "step": step,
            "reason": reason,
            "seconds": seconds,
            "compiles_after_first_step": compiles.count,
        }
    )
    return Outcome(state, step, reason, seconds)


def _timed_next(source: Iterator[Any]) -> tuple[float, Any]:
    """Seconds that the host waited for data, and the item; None at the end."""
    start = time.perf_counter()
    item = next(source, None)
    return time.perf_counter() - start, item


def _evaluate(running: Running, state: TrainState, step: int) -> tuple[float, bool]:
    """Scores the selection split, writes the row; returns the score and whether it is the best."""
    change = running.stopping.training_loss_change()
    try:
        row = running.evaluate(state.params, step)
    except FloatingPointError as error:
        raise _non_finite(running, f"{error} in the scores at step {step}") from error
    if not math.isfinite(row["score"]):
        raise _non_finite(running, f"score {row['score']} of the selection split at step {step}")
    improved = running.stopping.record_score(step, row["score"])
    running.writer.write(
        {
            "kind": "eval",
            "step": step,
            **row,
            "best_score": running.stopping.best_score,
            "training_loss_change": change,
            "bad_evaluations": running.stopping.bad_evaluations,
        }
    )
    return row["score"], improved


class _StepLogger:
    """Fetches a step's metrics, checks them, writes the row and moves the bar."""

    def __init__(self, running: Running, bar: tqdm):
        self._running = running
        self._bar = bar
        self._clock = time.perf_counter()

    def restart_clock(self) -> None:
        """Leaves what came between two steps (evaluation, saving) out of the step time."""
        self._clock = time.perf_counter()

    def finish(self, done: _Dispatched) -> None:
        running, batch = self._running, done.batch
        metrics = {
            name: np.asarray(value).item()
            for name, value in done.metrics.items()
            if name not in BY_ROW
        }
        now = time.perf_counter()
        seconds = now - self._clock
        self._clock = now
        loss = metrics["loss"]
        if not all(map(math.isfinite, metrics.values())):
            figures = ", ".join(f"{n} {metrics[n]}" for n in ("loss", "grad_norm", "param_norm"))
            where = f"step {done.step} in bucket {batch.length} ({figures})"
            raise _non_finite(running, f"loss, gradient or parameter at {where}")
        running.stopping.record_loss(batch.length, loss)
        tokens = len(batch.rows) * batch.length
        flops_per_second = running.step_flops(done.phase, batch.length) / seconds
        self._bar.update()
        self._bar.set_postfix_str(
            f"loss {loss:.3f}, bucket {batch.length}, {tokens / seconds:,.0f} tokens/s",
            refresh=False,
        )
        if done.step % running.config.log_every:
            return
        row: dict[str, Any] = {
            "kind": "train",
            "step": done.step,
            "phase": done.phase.number,
            "bucket": batch.length,
            "tokens": self._tokens_until(done),
            "targets": metrics["targets"],
            "loss": loss,
            "learning_rate": running.learning_rate(done.step - 1),
            "grad_norm": metrics["grad_norm"],
            "param_norm": metrics["param_norm"],
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "flops_per_second": flops_per_second,
            "peak_share": flops_per_second / running.peak_flops,
            "data_wait_seconds": done.data_wait_seconds,
        }
        if len({stratum.domain for stratum in done.phase.layout.strata}) > 1:
            nats_B, targets_B = (np.asarray(done.metrics[name]) for name in BY_ROW)
            row["losses"], row["domain_targets"] = losses_by_domain(
                nats_B, targets_B, batch.strata, done.phase.layout.strata
            )
        if running.config.checksums:
            row["checksum"] = self._checksum(batch, loss, metrics["checksum"])
        running.writer.write(row)

    def _tokens_until(self, done: _Dispatched) -> int:
        """Tokens of all steps up to this one, padding included."""
        phases = self._running.phases.phases
        before = sum(p.config.steps * p.config.tokens_per_step for p in phases[: done.phase.number])
        return before + (done.step - done.phase.first_step) * done.phase.config.tokens_per_step

    @staticmethod
    def _checksum(batch: HostBatch, loss: float, params: int) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(batch.arrays):
            digest.update(np.ascontiguousarray(batch.arrays[name]).tobytes())
        digest.update(np.float32(loss).tobytes())
        digest.update(np.uint32(params).tobytes())
        return digest.hexdigest()


def _non_finite(running: Running, what: str) -> UserError:
    """Ends the run: what was not finite, which checkpoint is left, what to do."""
    running.writer.flush()
    running.checkpoints.wait()
    good = running.checkpoints.latest_step()
    kept = "no checkpoint was written yet" if good is None else f"checkpoint {good} is kept"
    again = "" if good is None else " and train.init_from this one"
    return UserError(
        f"non-finite {what}; {kept}; start another --workdir with a lower "
        f"optimizer.learning_rate or a longer optimizer.warmup_steps{again}"
    )
