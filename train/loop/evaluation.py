"""Evaluation and saving between two steps; an evaluation that a signal cut short is made up for."""

import math
from collections.abc import Sequence
from typing import Any

from lengthwise.common.interruption import Interruption, interruptible
from lengthwise.train.loop.endings import non_finite
from lengthwise.train.loop.state import RunState, spent_on
from lengthwise.train.loop.step_logger import StepLogger
from lengthwise.train.machine.signals import TerminationRequest
from lengthwise.train.step.update import TrainState


def evaluate_and_save(
    states: Sequence[RunState],
    number: int,
    train_state: TrainState,
    logger: StepLogger,
    termination: TerminationRequest,
    *,
    evaluating: bool,
    saving: bool,
) -> bool:
    """Evaluates and saves one of the runs where it is time; returns whether a rule ends the phase
    here.

    An evaluation that a signal interrupts is due: the checkpoint says so, and who goes on from it
    evaluates first.
    """
    state, score, improved, ended = states[number], None, False, False
    if evaluating:
        with spent_on(states, "evaluation"):
            try:
                with interruptible(termination.check):
                    row, improved = evaluate(state, train_state)
                score, ended = row["stopping_score"], state.judge_phase(row)
            except Interruption:
                state.evaluation_due = saving = True
    if saving or improved or ended or state.stopping.should_stop:
        logger.write_account(number)
        with spent_on(states, "saving"):
            state.writer.flush()
            state.run.checkpoints.save(state.step, train_state, state.host_state(), score)
    return ended


def make_up_for_evaluation(
    states: Sequence[RunState],
    number: int,
    train_state: TrainState,
    logger: StepLogger,
    termination: TerminationRequest,
) -> bool:
    """Evaluates a run where that is due, and saves its newest checkpoint anew with the score;
    returns whether a rule ends the phase here."""
    state = states[number]
    if not state.evaluation_due:
        return False
    with spent_on(states, "evaluation"):
        try:
            with interruptible(termination.check):
                row, _ = evaluate(state, train_state)
        except Interruption:
            return False  # it stays due
        ended = state.judge_phase(row)
    state.evaluation_due = False
    logger.write_account(number)
    with spent_on(states, "saving"):
        state.writer.flush()
        state.run.checkpoints.drop_after(state.step - 1)
        score = row["stopping_score"]
        state.run.checkpoints.save(state.step, train_state, state.host_state(), score)
        state.run.checkpoints.wait()
    return ended


def evaluate(state: RunState, train_state: TrainState) -> tuple[dict[str, Any], bool]:
    """Scores the selection split, writes the row; returns it and whether its score is the best."""
    assert state.run.evaluate
    change = state.stopping.training_loss_change()
    try:
        row = state.run.evaluate(train_state.params, state.step)
    except FloatingPointError as error:
        raise non_finite(state, f"{error} in the scores at step {state.step}") from error
    score = row["stopping_score"]
    if not math.isfinite(score):
        raise non_finite(state, f"score {score} of the selection split at step {state.step}")
    improved = state.stopping.record_score(state.step, score)
    state.writer.write(
        {
            "kind": "eval",
            "step": state.step,
            **row,
            "best_score": state.stopping.best_score,
            "training_loss_change": change,
            "bad_evaluations": state.stopping.bad_evaluations,
        }
    )
    return row, improved
