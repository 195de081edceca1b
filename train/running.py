"""What the training loop works with, and what it passes on from dispatching to logging."""

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax
import numpy as np

from data.pipeline import HostBatch
from train.anomaly import Anomaly, AnomalyRules, Limits
from train.checkpoint import Checkpoints
from train.compiled import CompiledSteps
from train.data_steps import DataSteps
from train.goodput import Goodput
from train.metrics import MetricsWriter
from train.phases import Phase, Phases
from train.profile import Profiler
from train.signals import TerminationRequest
from train.step import StepInputs, TrainState
from train.stopping import EarlyStopping


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
class Record:
    """What is known and kept of a run while it is trained, however its steps are computed."""

    config: LoopConfig
    phases: Phases
    step_flops: Callable[[Phase, int], float]  # analytic FLOPs of one step of a bucket
    peak_flops: float  # FLOP/s of all devices together
    learning_rate: Callable[[int], float]  # of an update, from 0
    evaluate: Callable[[object, int], dict[str, Any]]  # (params, step) -> row with "stopping_score"
    checkpoints: Checkpoints
    writer: MetricsWriter
    stopping: EarlyStopping
    rules: AnomalyRules
    host_state: Callable[[int], dict[str, Any]]
    goodput: Goodput
    # Seconds of this process -> those of all, [processes]; to be called by all at once.
    gather_seconds: Callable[[float], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Running(Record):
    """What the loop works with; built once by `train.run`."""

    steps: StepTable
    step_inputs: Callable[[Phase, int, int], StepInputs]  # of (phase, global step, length)
    # From a step to the end; closing it ends the threads that read ahead.
    device_batches: Callable[
        [int, DataSteps], Generator[tuple[Phase, HostBatch, dict[str, jax.Array]]]
    ]
    # To a checkpoint before it: state and steps done there; all that is kept above is put back.
    roll_back: Callable[[Anomaly], tuple[TrainState, int]]
    termination: TerminationRequest
    profiler: Profiler


@dataclasses.dataclass(frozen=True)
class Dispatched:
    """A step on the device whose metrics nobody has looked at."""

    step: int  # optimizer steps done after it
    phase: Phase
    batch: HostBatch
    metrics: Mapping[str, jax.Array | np.ndarray]
    data_wait_seconds: float
    limits: Limits
