"""Trains in a work directory: from scratch, from other weights, or from where it stopped."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.checkpoint.damage import DamagedCheckpointError
from lengthwise.train.checkpoint.init_from import weights_of
from lengthwise.train.loop.loop import Outcome, run_loop
from lengthwise.train.loop.rollback import Kept, roll_back
from lengthwise.train.loop.state import Record, Running
from lengthwise.train.machine.preemption import PreemptionNotice, metadata_server
from lengthwise.train.machine.processes import gather
from lengthwise.train.machine.signals import TerminationRequest
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.profile import Profiler
from lengthwise.train.metrics.writer import MetricsWriter, metrics_writer
from lengthwise.train.programs.compiled import CompiledSteps, resolve_compile_mode
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.stopping import EarlyStopping
from lengthwise.train.step.checksum import named_checksums
from lengthwise.train.step.optimizer import learning_rate_schedule
from lengthwise.train.step.update import TrainState


def checked_host(setup: Setup, checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """The JSON part of a checkpoint of this very data.

    Raises:
      UserError: the checkpoint was trained on another store, layout, curriculum or seed.
    """
    host = checkpoints.host(step)
    if host["fingerprint"] != setup.fingerprint():
        raise UserError(
            f"checkpoint {step} was trained on other data: its fingerprint of (store, layout, "
            f"curriculum, seed) is {host['fingerprint']}, this run's is {setup.fingerprint()}; "
            "restore the token store or choose another --workdir"
        )
    return host


def restore_newest(
    setup: Setup, checkpoints: Checkpoints, newest: int | None = None
) -> tuple[TrainState, dict[str, Any]] | None:
    """The state and the JSON part of the newest checkpoint that is whole; None where none is there.

    Damaged ones are loudly set aside.

    Args:
      newest: the last step to look at.

    Raises:
      UserError: the checkpoint was trained on another order of data, or none is whole.
    """
    damaged: dict[int, DamagedCheckpointError] = {}
    for step in checkpoints.steps():
        if newest is not None and step > newest:
            continue
        try:
            host = checked_host(setup, checkpoints, step)
            if step > setup.phases.total_steps:
                raise UserError(
                    f"the checkpoint is at step {step}, beyond the {setup.phases.total_steps} "
                    "steps of this config; raise phase.steps or choose another --workdir"
                )
            state = checkpoints.restore(step, setup.abstract_state)
        except DamagedCheckpointError as error:
            damaged[step] = error
            continue
        for newer, why in damaged.items():
            checkpoints.set_aside(newer, why)
        return state, host
    if damaged:
        raise UserError(
            f"no checkpoint is whole: {'; '.join(map(str, damaged.values()))}; restore one from a "
            "copy or choose another --workdir"
        )
    return None


def first_state(setup: Setup) -> TrainState:
    """`init_from`'s weights, or random ones."""
    if setup.config.init_from:
        workdir = Path(setup.config.init_from)
        weights = weights_of(workdir, setup.abstract_params, setup.config.model)
        return setup.state_from(setup.completed(weights))
    return setup.initial_state()


@dataclasses.dataclass(frozen=True)
class Trainee:
    """A run that is to be trained in its work directory.

    Args:
      claim: makes the directory this run's; called when nothing can refuse the run any more.
      evaluate: (parameters, step) -> figures of the selection split; by the one called
        "stopping_score", lower is better, the run stops early and keeps its best checkpoint.
      prepare_evaluation: compiles what evaluation needs; called before step 0 where all
        executables are compiled ahead.
      peak_flops: FLOP/s of all devices together, for the share of peak.
    """

    setup: Setup
    workdir: Path
    checkpoints: Checkpoints
    claim: Callable[[], None]
    evaluate: Callable[[object, int], dict[str, Any]]
    prepare_evaluation: Callable[[], None]
    peak_flops: float

    def kept(self, goodput: Goodput) -> Kept:
        """What the host keeps, as before the first step."""
        config = self.setup.config
        return Kept(EarlyStopping(config.stopping), AnomalyRules(config.anomaly), goodput)

    def begin(
        self, kept: Kept, newest: int | None = None
    ) -> tuple[TrainState, int, dict[str, Any] | None]:
        """The state to go on from, steps done there, and the JSON part of its checkpoint, if any.

        Puts back into `kept` all but the account of the time.

        Args:
          newest: the last checkpoint to look at.

        Raises:
          UserError: see `restore_newest`.
        """
        restored = restore_newest(self.setup, self.checkpoints, newest)
        if restored is None:
            return first_state(self.setup), 0, None
        state, host = restored
        kept.stopping.restore(host["stopping"])
        kept.rules.restore(host.get("anomalies"))
        step = host["optimizer_step"]
        print(f"resuming at step {step} of {self.setup.phases.total_steps}", flush=True)
        return state, step, host

    def host_state(self, kept: Kept, step: int) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        return {"optimizer_step": step, "fingerprint": self.setup.fingerprint(), **kept.state()}

    def record(self, kept: Kept, writer: MetricsWriter) -> Record:
        """What is kept of the run while it is trained."""
        setup = self.setup
        schedule = learning_rate_schedule(setup.config.optimizer, setup.phases.total_steps)
        rates = np.asarray(jax.jit(jax.vmap(schedule))(np.arange(setup.phases.total_steps)))
        return Record(
            config=setup.config.loop,
            phases=setup.phases,
            step_flops=setup.step_flops,
            peak_flops=self.peak_flops,
            learning_rate=lambda step: float(rates[step]),
            evaluate=self.evaluate,
            checkpoints=self.checkpoints,
            writer=writer,
            stopping=kept.stopping,
            rules=kept.rules,
            host_state=lambda step: self.host_state(kept, step),
            goodput=kept.goodput,
            gather_seconds=gather,
        )


def train(trainee: Trainee) -> Outcome:
    """Trains or goes on training.

    Raises:
      UserError: see `run_loop` and `restore_newest`.
    """
    setup, checkpoints, workdir = trainee.setup, trainee.checkpoints, trainee.workdir
    config = setup.config
    kept = trainee.kept(Goodput())
    goodput, rules = kept.goodput, kept.rules
    ahead = resolve_compile_mode(config.compile, setup.platform) == "ahead"
    with goodput.spent_on("restore"):
        state, step, host = trainee.begin(kept)
        named_checksums(state)  # compiles what saving needs, before the first step
    trainee.claim()
    if kept.stopping.should_stop or step == setup.phases.total_steps:
        reason = "early stopping" if kept.stopping.should_stop else "finished"
        return Outcome(state, step, reason, seconds=0.0)
    if config.init_from and checkpoints.latest_step() is None:
        # The other run may go on; what this one started from must not depend on when it is killed.
        checkpoints.save(0, state, trainee.host_state(kept, 0), None)

    def restore(newest: int) -> tuple[TrainState, dict[str, Any]] | None:
        return restore_newest(setup, checkpoints, newest)

    starts = [phase.first_step for phase in setup.phases.phases]
    keys = setup.phases.keys(step, rules.data_steps)
    with goodput.spent_on("compile"):
        steps = CompiledSteps(setup.compile_step, keys, ahead=ahead)
    rollbacks = len(rules.rollbacks)
    with (
        steps as compiled,
        contextlib.closing(
            metrics_writer(workdir, resume_step=step, rollbacks=rollbacks)
        ) as writer,
        TerminationRequest() as termination,
        PreemptionNotice(metadata_server()),
        contextlib.closing(Profiler(config.profile, workdir / "tensorboard")) as profiler,
    ):
        if host is not None:
            goodput.resume(host.get("goodput"), writer.last_seen)
        if ahead:
            with goodput.spent_on("compile"):
                trainee.prepare_evaluation()
        running = Running(
            **vars(trainee.record(kept, writer)),
            steps=compiled,
            step_inputs=setup.inputs,
            device_batches=setup.device_batches,
            roll_back=lambda anomaly: roll_back(
                anomaly, kept, checkpoints, writer, restore, starts
            ),
            termination=termination,
            profiler=profiler,
        )
        return run_loop(running, state, step)
