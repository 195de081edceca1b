"""Trains in a work directory: from scratch, from other weights, or from where it stopped."""

import contextlib
from collections.abc import Sequence
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.train.checkpoint.init_from import weights_of
from lengthwise.train.checkpoint.pretrained import named_folder, weights_of_folder
from lengthwise.train.loop.loop import run_loop
from lengthwise.train.loop.restore import restore_newest
from lengthwise.train.loop.state import RunState, TrainingRun, spent_on
from lengthwise.train.machine.preemption import PreemptionNotice, metadata_server
from lengthwise.train.machine.signals import TerminationRequest
from lengthwise.train.metrics.profile import Profiler
from lengthwise.train.metrics.writer import metrics_writer
from lengthwise.train.programs.compiled import CompiledSteps, resolve_compile_mode
from lengthwise.train.programs.setup import Setup
from lengthwise.train.programs.stacked import StackedSteps, check_stackable
from lengthwise.train.programs.steps import SingleSteps, StepPrograms
from lengthwise.train.step.checksum import named_checksums
from lengthwise.train.step.update import TrainState


def train(run: TrainingRun) -> RunState:
    """Trains a run, or goes on training it, to its end; its last checkpoint holds the parameters.

    Raises:
      UserError: see `run_loop` and `restore_newest`.
    """
    (state,) = train_together([run])
    return state


def train_together(runs: Sequence[TrainingRun]) -> list[RunState]:
    """Trains one run, or in lockstep several that differ in nothing but their seeds.

    Each of several keeps what it would keep by itself: rows, scores, checkpoints. So they go on
    from the newest checkpoint that all of them have, and each can be gone on with by itself. They
    have no early stopping, no rules on anomalies but to stop, and no profile.

    Raises:
      UserError: as `train`, of any of them; or see `check_stackable`.
    """
    setups = [run.setup for run in runs]
    if len(runs) > 1:
        check_stackable(setups)
    config = setups[0].config
    for run in runs:
        run.setup.config.check_ends(evaluates=run.evaluate is not None)
    ahead = resolve_compile_mode(config.train.compile, setups[0].blueprint.platform) == "ahead"
    states = [RunState.fresh(run, runs=len(runs)) for run in runs]

    # Device states: of the newest checkpoint, or first ones.
    with spent_on(states, "restore"):
        starts = _starts(states)
    for run in runs:
        run.claim()
    stopped_early = any(state.stopping.should_stop for state in states)
    total = setups[0].phases.total_steps
    evaluation_due = any(state.evaluation_due for state in states)
    if stopped_early or (states[0].step == total and not evaluation_due):
        for state in states:
            state.reason = "early stopping" if stopped_early else "finished"
        return states
    for state, (train_state, _) in zip(states, starts, strict=True):
        if config.train.init_from and state.run.checkpoints.latest_step() is None:
            # The other run may go on; what this one started from must not depend on when it is
            # killed.
            state.run.checkpoints.save(0, train_state, state.host_state(), None)

    with contextlib.ExitStack() as stack:
        # Programs: one a (phase, bucket).
        with spent_on(states, "compile"):
            programs, train_state = _programs(states, [s for s, _ in starts], ahead, stack)
        # Rows: those up to this step are kept.
        for state, (_, host) in zip(states, starts, strict=True):
            rollbacks = len(state.rules.rollbacks)
            writer = metrics_writer(
                state.run.workdir,
                config.tracking,
                resume_step=state.step,
                rollbacks=rollbacks,
                evaluation_due=state.evaluation_due,
            )
            state.writer = stack.enter_context(contextlib.closing(writer))
            if host is not None:
                state.goodput.resume(host.get("goodput"), writer.last_seen)
        del starts
        profiler = Profiler(config.profile, runs[0].workdir / "tensorboard")
        stack.enter_context(contextlib.closing(profiler))
        if ahead:
            with spent_on(states, "compile"):
                for run in runs:
                    run.prepare_evaluation()
        # Only now: until the first step a signal may end the process where it is.
        termination = stack.enter_context(TerminationRequest())
        stack.enter_context(PreemptionNotice(metadata_server()))
        run_loop(states, train_state, programs, termination, profiler)
    return states


def _starts(states: Sequence[RunState]) -> list[tuple[TrainState, dict[str, Any] | None]]:
    """For each run its device state and the JSON part of its checkpoint, if it has one.

    Raises:
      UserError: see `restore_newest`; or not all can go on from the same step.
    """
    shared = set.intersection(*(set(state.run.checkpoints.steps()) for state in states))
    starts = [_start(state, max(shared, default=0)) for state in states]
    if len({state.step for state in states}) > 1:
        raise UserError(
            "a checkpoint is damaged, so that not all can go on from the same step; go on with "
            "them one after the other"
        )
    for state, (train_state, _) in zip(states, starts, strict=True):
        if len(states) > 1:
            state.run.checkpoints.drop_after(state.step)  # those that others don't have
        named_checksums(train_state)  # compiles what saving needs, before the first step
    return starts


def _start(state: RunState, newest: int) -> tuple[TrainState, dict[str, Any] | None]:
    setup = state.run.setup
    restored = restore_newest(state.run, newest)
    if restored is None:
        return _first_state(setup), None
    train_state, host = restored
    state.restore(host)
    print(f"resuming at step {state.step} of {setup.phases.total_steps}", flush=True)
    return train_state, host


def _first_state(setup: Setup) -> TrainState:
    """Device state before the first step, over `init_from`'s weights or random ones."""
    if not setup.config.train.init_from:
        return setup.initial_state()
    return setup.state_from(initial_weights(setup))


def initial_weights(setup: Setup) -> dict[str, Any]:
    """The weights that train.init_from names: of a run, or of a Hugging Face folder.

    Raises:
      UserError: there are none, or those of another model.
    """
    blueprint, named = setup.blueprint, setup.config.train.init_from
    if folder := named_folder(named):
        weights = weights_of_folder(folder, blueprint.model, blueprint.abstract_params)
    else:
        workdir = user_path(named, "train.init_from")
        weights = weights_of(workdir, blueprint.abstract_params, setup.meaning(0))
    return setup.completed(weights)


def _programs(
    states: Sequence[RunState],
    train_states: Sequence[TrainState],
    ahead: bool,
    stack: contextlib.ExitStack,
) -> tuple[StepPrograms, TrainState]:
    """Compiled steps, closed with `stack`, and the device state of all runs as they take it.

    Of several runs a bucket's program is compiled when it is first drawn.
    """
    setups = [state.run.setup for state in states]
    if len(states) > 1:
        stacked = StackedSteps(setups)
        return stacked, stacked.stack(train_states)
    (setup,), (state,), (train_state,) = setups, states, train_states
    keys = setup.phases.keys(state.step, state.rules.data_steps)
    compiled = CompiledSteps(setup.blueprint.compile_step, keys, ahead=ahead)
    return SingleSteps(setup, stack.enter_context(compiled)), train_state
