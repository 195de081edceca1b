"""Every second of a run has one cause, over rollbacks and restarts too."""

import numpy as np
import pytest

from lengthwise.train.loop.step_logger import straggler_figures
from lengthwise.train.machine.processes import gather
from lengthwise.train.metrics.goodput import CAUSES, Goodput


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def seconds(account):
    figures = account.figures()
    assert figures["wall_seconds"] == pytest.approx(sum(figures[f"{c}_seconds"] for c in CAUSES))
    return {c: figures[f"{c}_seconds"] for c in CAUSES if figures[f"{c}_seconds"]}


def until_a_checkpoint(clock):
    """2 s of starting, 3 of restoring, 10 of steps with 4 of compiling and 1 of idling in them."""
    account = Goodput(clock)
    clock.now += 2
    with account.spent_on("restore"):
        clock.now += 3
    account.begin_steps()
    clock.now += 6
    with account.spent_on("compile"):
        clock.now += 4
    clock.now += 4
    account.count_data_wait(1.0)
    return account


def test_each_second_has_one_cause_inside_others_too():
    clock = Clock()
    account = until_a_checkpoint(clock)
    with account.spent_on("evaluation"):
        clock.now += 5
        with account.spent_on("saving"):
            clock.now += 7
        clock.now += 1
    found = {"start": 2, "restore": 3, "steps": 9, "compile": 4, "data_wait": 1}
    assert seconds(account) == {**found, "evaluation": 6, "saving": 7}
    assert account.figures()["goodput"] == pytest.approx(9 / 32)


def test_a_rollback_loses_the_steps_since_the_checkpoint_and_nothing_else():
    clock = Clock()
    account = until_a_checkpoint(clock)
    saved = account.state()
    for _ in range(2):  # a second one to the same checkpoint loses no step twice
        clock.now += 20
        with account.spent_on("evaluation"):
            clock.now += 1
        account.roll_back(saved)
    assert seconds(account)["lost"] == 40
    assert seconds(account)["steps"] == 9
    assert seconds(account)["evaluation"] == 2


def test_a_restart_tells_lost_steps_from_the_time_with_no_process():
    clock = Clock()
    first = until_a_checkpoint(clock)
    saved = first.state()
    last_seen = clock.now + 30  # steps that no checkpoint has, then a kill
    clock.now += 100
    second = Goodput(clock)
    clock.now += 2
    second.resume(saved, last_seen)
    second.begin_steps()
    clock.now += 8
    found = {"restore": 3, "compile": 4, "data_wait": 1, "lost": 30, "down": 70}
    assert seconds(second) == {**found, "start": 4, "steps": 17}
    assert second.figures()["wall_seconds"] == clock.now - 1000


def test_a_clock_that_is_set_back_makes_no_negative_time():
    clock = Clock()
    saved = until_a_checkpoint(clock).state()
    clock.now -= 500
    second = Goodput(clock)
    second.resume(saved, None)
    second.begin_steps()
    clock.now -= 500
    assert min(seconds(second).values()) >= 0


def test_the_slowest_process_stands_against_the_median():
    figures = straggler_figures(np.array([0.2, 0.1, 0.9, 0.3, 0.2]))
    assert figures["slowest_process"] == 2
    assert figures["slowest_over_median"] == pytest.approx(4.5)
    alone = straggler_figures(gather(0.4))
    assert alone == {"host_seconds": 0.4, "slowest_process": 0, "slowest_over_median": 1.0}
