"""What the training loop works with, and what it passes on from dispatching to logging."""

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax
import numpy as np

from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.config import LoopConfig
from lengthwise.train.machine.signals import TerminationRequest
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.profile import Profiler
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.phases import Phase, Phases
from lengthwise.train.programs.compiled import CompiledSteps
from lengthwise.train.rules.anomaly import Anomaly, AnomalyRules, Limits
from lengthwise.train.rules.data_steps import DataSteps
from lengthwise.train.rules.stopping import EarlyStopping
from lengthwise.train.step.update import StepInputs, TrainState

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
    """What the loop works with; built once by `train.loop.start`."""

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
