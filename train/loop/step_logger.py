"""What becomes of a step's metrics: they are fetched, judged, written as a row and shown."""

import dataclasses
import hashlib
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.data.layouts.row_groups import Stratum
from lengthwise.train.loop.state import Dispatched, Record
from lengthwise.train.machine.processes import first
from lengthwise.train.rules.anomaly import FIGURES, Anomaly, AnomalyError, StepFigures


def straggler_figures(seconds_P: np.ndarray) -> dict[str, float]:
    """For a row: the median of the processes' own seconds a step, the slowest, and its ratio.

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
    held = [number for number in range(len(domains)) if targets[number]]
    return (
        {domains[number]: float(nats[number] / targets[number]) for number in held},
        {domains[number]: int(targets[number]) for number in held},
    )


BY_ROW = ("nats_B", "targets_B")  # what the step returns by row


class StepLogger:
    """Fetches a step's metrics, checks them, writes the row and moves the bar."""

    def __init__(self, record: Record, bar: tqdm):
        self._record = record
        self._bar = bar
        self._clock = time.perf_counter()
        # Since the last account: steps, and their seconds apart from waiting for the device.
        self._steps, self._host_seconds = 0, 0.0
        record.gather_seconds(0.0)  # compiles what gathers, before the first step

    def restart_clock(self) -> None:
        """Leaves what came between two steps (evaluation, saving) out of the step time."""
        self._clock = time.perf_counter()

    def finish(self, done: Dispatched) -> None:
        """Looks at a step that was dispatched; waits for the device.

        Raises:
          AnomalyError: the run stops or rolls back.
        """
        asked = time.perf_counter()
        metrics = {
            name: value if name in BY_ROW else np.asarray(value)
            for name, value in done.metrics.items()
        }
        now = time.perf_counter()
        seconds = now - self._clock
        self._steps += 1
        self._host_seconds += seconds - (now - asked)
        self._clock = now
        self.note(dataclasses.replace(done, metrics=metrics), seconds)

    def note(self, done: Dispatched, seconds: float) -> None:
        """Checks and writes a step whose metrics are on the host, but for those by row.

        seconds: that it took.

        Raises:
          AnomalyError: as `finish`.
        """
        record, batch = self._record, done.batch
        metrics = {name: value.item() for name, value in done.metrics.items() if name not in BY_ROW}
        self._bar.update()
        anomaly = record.rules.record(
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
                raise AnomalyError(anomaly)
            self._write_skipped(done, anomaly, metrics)
            return
        record.stopping.record_loss(batch.length, metrics["loss"])
        tokens = len(batch.rows) * batch.length
        flops_per_second = record.step_flops(done.phase, batch.length) / seconds
        self._bar.set_postfix_str(
            f"loss {metrics['loss']:.3f}, bucket {batch.length}, "
            f"{tokens / seconds:,.0f} tokens/s{self._trouble()}",
            refresh=False,
        )
        if done.step % record.config.log_every:
            return
        row: dict[str, Any] = {
            **self._place(done, "train"),
            "tokens": self._tokens_until(done),
            "targets": metrics["targets"],
            "loss": metrics["loss"],
            # The schedule counts updates, and so stands still where one was skipped.
            "learning_rate": record.learning_rate(done.step - 1 - len(record.rules.skipped)),
            "grad_norm": metrics["grad_norm"],
            "param_norm": metrics["param_norm"],
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "flops_per_second": flops_per_second,
            "peak_share": flops_per_second / record.peak_flops,
            "data_wait_seconds": done.data_wait_seconds,
        }
        if len({stratum.domain for stratum in done.phase.layout.strata}) > 1:
            nats_B, targets_B = (np.asarray(done.metrics[name]) for name in BY_ROW)
            row["losses"], row["domain_targets"] = losses_by_domain(
                nats_B, targets_B, batch.strata, done.phase.layout.strata
            )
        if record.config.checksums:
            row["checksum"] = _checksum(batch, metrics["loss"], metrics["checksum"])
        record.writer.write(row)

    def write_account(self, step: int) -> None:
        """A row of kind "goodput": where the time went, and which process is the slowest."""
        row = {"kind": "goodput", "step": step, "time": time.time()}
        row |= self._record.goodput.figures()
        if self._steps:
            own = self._host_seconds / self._steps
            row |= straggler_figures(self._record.gather_seconds(own))
            self._steps, self._host_seconds = 0, 0.0
        self._record.writer.write(row)

    def _place(self, done: Dispatched, kind: str) -> dict[str, Any]:
        return {
            "kind": kind,
            "step": done.step,
            # As `step` counts, so that the two are equal where no data were passed over.
            "data_step": done.phase.first_step + done.batch.step + 1,
            "time": time.time(),
            "phase": done.phase.number,
            "bucket": done.batch.length,
        }

    def _write_skipped(self, done: Dispatched, anomaly: Anomaly, metrics: dict[str, Any]) -> None:
        if first():
            tqdm.write(f"warning: {anomaly.what}: the update is skipped", file=sys.stderr)
        figures = {
            "loss": metrics["loss"],
            "grad_norm": metrics["grad_norm"],
            "loss_limit": float(done.limits.loss),
            "grad_norm_limit": float(done.limits.grad_norm),
        }
        finite = {name: x if math.isfinite(x) else None for name, x in figures.items()}
        row = {**self._place(done, "skip"), "cause": anomaly.cause, **finite}
        self._record.writer.write({**row, "skipped_steps": len(self._record.rules.skipped)})

    def _trouble(self) -> str:
        """For the bar: what was skipped and rolled back, if anything."""
        rules = self._record.rules
        skipped = f", {len(rules.skipped)} skipped" if rules.skipped else ""
        return skipped + (f", {len(rules.rollbacks)} rollbacks" if rules.rollbacks else "")

    def _tokens_until(self, done: Dispatched) -> int:
        """Tokens of all steps up to this one, padding included."""
        phases = self._record.phases.phases
        before = sum(p.config.steps * p.config.tokens_per_step for p in phases[: done.phase.number])
        return before + (done.step - done.phase.first_step) * done.phase.config.tokens_per_step


def _checksum(batch: HostBatch, loss: float, params: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(batch.arrays):
        digest.update(np.ascontiguousarray(batch.arrays[name]).tobytes())
    digest.update(np.float32(loss).tobytes())
    digest.update(np.uint32(params).tobytes())
    return digest.hexdigest()
