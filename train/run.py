"""Trains in a work directory: from scratch, from other weights, or from where it stopped."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from errors import UserError
from train.anomaly import AnomalyRules
from train.checkpoint import Checkpoints
from train.checksum import named_checksums
from train.compiled import CompiledSteps, resolve_compile_mode
from train.damage import DamagedCheckpointError
from train.goodput import Goodput
from train.init_from import weights_of
from train.loop import Outcome, run_loop
from train.metrics import metrics_writer
from train.optimizer import learning_rate_schedule
from train.preemption import PreemptionNotice, metadata_server
from train.processes import gather
from train.profile import Profiler
from train.rollback import Kept, roll_back
from train.running import Running
from train.setup import Setup
from train.signals import TerminationRequest
from train.step import TrainState
from train.stopping import EarlyStopping


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


def train(
    setup: Setup,
    workdir: Path,
    checkpoints: Checkpoints,
    *,
    claim: Callable[[], None],
    evaluate: Callable[[object, int], dict[str, Any]],
    prepare_evaluation: Callable[[], None],
    peak_flops: float,
) -> Outcome:
    """Trains or goes on training in `workdir`.

    Args:
      claim: makes the directory this run's; called when nothing can refuse the run any more.
      evaluate: (parameters, step) -> figures of the selection split; by the one called
        "stopping_score", lower is better, the run stops early and keeps its best checkpoint.
      prepare_evaluation: compiles what evaluation needs; called before step 0 where all
        executables are compiled ahead.
      peak_flops: FLOP/s of all devices together, for the share of peak.

    Raises:
      UserError: see `run_loop` and `restore_newest`.
    """
    config = setup.config
    stopping, rules = EarlyStopping(config.stopping), AnomalyRules(config.anomaly)
    kept = Kept(stopping, rules, Goodput())
    goodput = kept.goodput
    ahead = resolve_compile_mode(config.compile, setup.platform) == "ahead"
    host = None
    with goodput.spent_on("restore"):
        restored = restore_newest(setup, checkpoints)
        if restored is None:
            state, step = first_state(setup), 0
        else:
            state, host = restored
            step = host["optimizer_step"]
            stopping.restore(host["stopping"])
            rules.restore(host.get("anomalies"))
            print(f"resuming at step {step} of {setup.phases.total_steps}", flush=True)
        named_checksums(state)  # compiles what saving needs, before the first step
    claim()
    if stopping.should_stop or step == setup.phases.total_steps:
        reason = "early stopping" if stopping.should_stop else "finished"
        return Outcome(state, step, reason, seconds=0.0)
    schedule = learning_rate_schedule(config.optimizer, setup.phases.total_steps)
    rates = np.asarray(jax.jit(jax.vmap(schedule))(np.arange(setup.phases.total_steps)))

    def host_state(step: int) -> dict[str, Any]:
        return {"optimizer_step": step, "fingerprint": setup.fingerprint(), **kept.state()}

    if config.init_from and checkpoints.latest_step() is None:
        # The other run may go on; what this one started from must not depend on when it is killed.
        checkpoints.save(0, state, host_state(0), None)

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
                prepare_evaluation()
        running = Running(
            config=config.loop,
            phases=setup.phases,
            steps=compiled,
            step_inputs=setup.inputs,
            device_batches=setup.device_batches,
            step_flops=setup.step_flops,
            peak_flops=peak_flops,
            learning_rate=lambda step: float(rates[step]),
            evaluate=evaluate,
            checkpoints=checkpoints,
            writer=writer,
            stopping=stopping,
            rules=rules,
            roll_back=lambda anomaly: roll_back(
                anomaly, kept, checkpoints, writer, restore, starts
            ),
            host_state=host_state,
            termination=termination,
            profiler=profiler,
            goodput=goodput,
            gather_seconds=gather,
        )
        return run_loop(running, state, step)
