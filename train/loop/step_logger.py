"""Metrics of steps: fetches them, checks for anomalies, writes the row, updates the bar."""

import dataclasses
import hashlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lengthwise.common.progress import ProgressBar
from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.data.layouts.row_groups import Stratum
from lengthwise.train.loop.state import RunState, TrainingRun
from lengthwise.train.machine.processes import gather, is_first_process
from lengthwise.train.phases import Phase
from lengthwise.train.programs.steps import Arrays, RunBatch, StepPrograms
from lengthwise.train.rules.anomaly import (
    FIGURES,
    Anomaly,
    AnomalyError,
    AnomalyRules,
    Limits,
    StepFigures,
)
from lengthwise.train.step.optimizer import learning_rate_schedule
from lengthwise.train.step.update import BY_ROW


@dataclasses.dataclass(frozen=True)
class PendingStep:
    """A step on the devices whose metrics are not read yet; lists have an item a run."""

    step: int  # optimizer steps done after it
    of_runs: list[RunBatch]
    limits: list[Limits]
    metrics: list[Arrays]  # of each program that was called
    data_wait_seconds: float


@dataclasses.dataclass(frozen=True)
class RunStep:
    """One run's part of a step whose metrics were read; those by row may be on the devices."""

    step: int
    phase: Phase
    batch: HostBatch
    limits: Limits
    metrics: Mapping[str, jax.Array | np.ndarray]
    seconds: float
    data_wait_seconds: float


def straggler_figures(seconds_P: np.ndarray) -> dict[str, float]:
    """Fields of a row: median seconds a step of the processes, the slowest one, and its ratio.

    Args:
      seconds_P: own seconds a step of each process, above zero.
    """
    median = float(np.median(seconds_P))
    slowest = int(np.argmax(seconds_P))
    return {
        "host_seconds": median,
        "slowest_process": slowest,
        "slowest_over_median": float(seconds_P[slowest]) / median,
    }


def losses_by_domain(
    nats_B: np.ndarray, targets_B: np.ndarray, strata_B: np.ndarray, strata: Sequence[Stratum]
) -> tuple[dict[str, float], dict[str, int]]:
    """Loss (nats/token) and number of targets of each domain that the batch holds.

    The losses, weighed by their targets, average to the loss of the step: every row is of one
    domain.

    Args:
      nats_B, targets_B: of each row, as the train step returns them.
      strata_B: integers [B], the row's index into `strata`.
    """
    domains = list(dict.fromkeys(stratum.domain for stratum in strata))
    domain_B = np.array([domains.index(stratum.domain) for stratum in strata])[strata_B]
    nats = np.bincount(domain_B, nats_B.astype(np.float64), minlength=len(domains))
    targets = np.zeros(len(domains), np.int64)
    np.add.at(targets, domain_B, targets_B)
    present = [number for number in range(len(domains)) if targets[number]]
    return (
        {domains[number]: float(nats[number] / targets[number]) for number in present},
        {domains[number]: int(targets[number]) for number in present},
    )


class StepLogger:
    """Reads the metrics of steps, checks them, writes a row for each run and moves the bar."""

    def __init__(self, states: Sequence[RunState], programs: StepPrograms, bar: ProgressBar):
        self._states, self._programs, self._bar = states, programs, bar
        self._clock = time.perf_counter()
        # Of each run since its last account: seconds of its steps apart from waiting for devices.
        self._host_seconds: list[list[float]] = [[] for _ in states]
        # Compiled before the first step, as what gathers is. Equal for all: only seeds differ.
        setup = states[0].run.setup
        steps = np.arange(setup.phases.total_steps)
        self._learning_rates = {
            each.first_phase: np.asarray(
                jax.jit(jax.vmap(learning_rate_schedule(each.optimizer, each.steps)))(steps)
            )
            for each in setup.config.rate_schedules
        }
        gather(0.0)

    def restart_clock(self) -> None:
        """Leaves what came between two steps (evaluation, saving) out of the step time."""
        self._clock = time.perf_counter()

    def finish(self, pending: PendingStep) -> None:
        """Logs a step that was dispatched; waits for the devices.

        Raises:
          AnomalyError: a run stops or rolls back.
        """
        start, runs = time.perf_counter(), len(self._states)
        metrics = self._programs.by_run(pending.metrics)
        now = time.perf_counter()
        seconds = (now - self._clock) / runs
        self._clock = now
        for number, (phase, batch) in enumerate(pending.of_runs):
            self._host_seconds[number].append(seconds - (now - start) / runs)
            self._log(
                number,
                RunStep(
                    pending.step,
                    phase,
                    batch,
                    pending.limits[number],
                    metrics[number],
                    seconds,
                    pending.data_wait_seconds / runs,
                ),
            )

    def _log(self, number: int, done: RunStep) -> None:
        state, batch, seconds = self._states[number], done.batch, done.seconds
        run, loop = state.run, state.run.setup.config.train
        metrics = {name: value.item() for name, value in done.metrics.items() if name not in BY_ROW}
        anomaly = state.rules.record(
            StepFigures(
                done.step,
                done.phase.number,
                batch.length,
                batch.step,
                {name: metrics[name] for name in FIGURES},
                done.limits,
            )
        )
        if anomaly is not None:
            if anomaly.action != "skip":
                raise AnomalyError(anomaly, number)
            self._bar.update()
            _write_skipped(state, done, anomaly, metrics)
            return
        state.stopping.record_loss(batch.length, metrics["loss"])
        tokens = len(batch.rows) * batch.length
        flops_per_second = run.setup.blueprint.step_flops(done.phase, batch.length) / seconds
        self._bar.set_postfix_str(
            f"loss {metrics['loss']:.3f}, bucket {batch.length}, "
            f"{tokens / seconds:,.0f} tokens/s{_interventions(state.rules)}",
            refresh=False,
        )
        self._bar.update()
        if done.step % loop.log_every:
            return
        row: dict[str, Any] = {
            **_place(done, "train"),
            "tokens": _tokens_until(run, done),
            "targets": metrics["targets"],
            "loss": metrics["loss"],
            "learning_rate": self._learning_rate(state, done),
            "grad_norm": metrics["grad_norm"],
            "param_norm": metrics["param_norm"],
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "flops_per_second": flops_per_second,
            "peak_share": flops_per_second / run.peak_flops,
            "data_wait_seconds": done.data_wait_seconds,
        }
        if len({stratum.domain for stratum in done.phase.layout.strata}) > 1:
            nats_B, targets_B = (np.asarray(done.metrics[name]) for name in BY_ROW)
            row["losses"], row["domain_targets"] = losses_by_domain(
                nats_B, targets_B, batch.strata, done.phase.layout.strata
            )
        if loop.checksums:
            row["checksum"] = _checksum(batch, metrics["loss"], metrics["checksum"])
        state.writer.write(row)

    def _learning_rate(self, state: RunState, done: RunStep) -> float:
        """The schedule counts its own updates, and so stands still where one was skipped."""
        setup = state.run.setup
        first = setup.config.rate_schedule(done.phase.number).first_phase
        start = setup.phases.phases[first].first_step
        skipped = sum(step > start for step, *_ in state.rules.skipped)
        return float(self._learning_rates[first][done.step - 1 - start - skipped])

    def write_account(self, number: int) -> None:
        """A row of kind "goodput": where a run's time went, and which process is the slowest."""
        state, host_seconds = self._states[number], self._host_seconds[number]
        row = {"kind": "goodput", "step": state.step, "time": time.time()}
        row |= state.goodput.figures()
        if host_seconds:
            row |= straggler_figures(gather(sum(host_seconds) / len(host_seconds)))
            host_seconds.clear()
        state.writer.write(row)


def _place(done: RunStep, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "step": done.step,
        # As `step` counts, so that the two are equal where no data were passed over.
        "data_step": done.phase.first_step + done.batch.step + 1,
        "time": time.time(),
        "phase": done.phase.number,
        "bucket": done.batch.length,
    }


def _write_skipped(
    state: RunState, done: RunStep, anomaly: Anomaly, metrics: dict[str, Any]
) -> None:
    if is_first_process():
        ProgressBar.write(f"warning: {anomaly.what}: the update is skipped", file=sys.stderr)
    figures = {
        "loss": metrics["loss"],
        "grad_norm": metrics["grad_norm"],
        "loss_limit": float(done.limits.loss),
        "grad_norm_limit": float(done.limits.grad_norm),
    }
    finite = {name: x if math.isfinite(x) else None for name, x in figures.items()}
    row = {**_place(done, "skip"), "cause": anomaly.cause, **finite}
    state.writer.write({**row, "skipped_steps": len(state.rules.skipped)})


def _interventions(rules: AnomalyRules) -> str:
    """For the bar: numbers of skipped steps and rollbacks, if any."""
    skipped = f", {len(rules.skipped)} skipped" if rules.skipped else ""
    return skipped + (f", {len(rules.rollbacks)} rollbacks" if rules.rollbacks else "")


def _tokens_until(run: TrainingRun, done: RunStep) -> int:
    """Tokens of all steps up to this one, padding included."""
    phases = run.setup.phases.phases[: done.phase.number]
    before = sum(phase.steps * phase.config.tokens_per_step for phase in phases)
    return before + (done.step - done.phase.first_step) * done.phase.config.tokens_per_step


def _checksum(batch: HostBatch, loss: float, params: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(batch.arrays):
        digest.update(np.ascontiguousarray(batch.arrays[name]).tobytes())
    digest.update(np.float32(loss).tobytes())
    digest.update(np.uint32(params).tobytes())
    return digest.hexdigest()
