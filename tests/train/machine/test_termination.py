"""SIGTERM that the loop can't heed: the process ends where it is, in time."""

import os
import signal
import sys
import threading

import pytest

from lengthwise.train.machine import termination
from lengthwise.train.machine.deadline import TerminationDeadline
from lengthwise.train.machine.termination import TerminationWatch


@pytest.fixture
def handler():
    """A handler as the loop's, which notes the signal alone."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def test_who_is_busy_for_too_long_ends(handler, capfd):
    statuses, ended = [], threading.Event()
    with TerminationDeadline(0.0, lambda status: (statuses.append(status), ended.set())):
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(30)
    assert statuses == [143]
    assert "terminated; the same command goes on" in capfd.readouterr().err


def test_who_heeds_the_signal_or_gets_another_has_the_time_it_takes(handler):
    with TerminationDeadline(0.0, pytest.fail) as deadline:
        os.kill(os.getpid(), signal.SIGWINCH)
        deadline.heeded.set()
        os.kill(os.getpid(), signal.SIGTERM)
    with TerminationDeadline(60.0, pytest.fail):
        os.kill(os.getpid(), signal.SIGTERM)  # the context ends before that


class Client:
    """Of a coordination service that has had notice of a preemption."""

    def __init__(self):
        self.keys = []

    def key_value_try_get(self, key):
        return ""

    def key_value_dir_get(self, key):
        return self.keys

    def key_value_set(self, key, value):
        self.keys.append(key)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("heeded", [False, True])
def test_of_several_processes_a_loop_that_is_busy_for_too_long_ends(heeded, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(termination, "_SECONDS_BETWEEN", 0.01)
    monkeypatch.setattr(termination, "SECONDS_TO_HEED", 0.0)

    def end(status):
        ended.set()
        sys.exit()  # of the thread

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(termination.time, "sleep", lambda seconds: None)
    flags = {"training": True, "heeded": heeded}
    for name, is_set in flags.items():
        event = threading.Event()
        monkeypatch.setattr(TerminationWatch, name, event)
        if is_set:
            event.set()
    with TerminationWatch(Client(), 0, 1):
        assert ended.wait(0.5 if heeded else 30) != heeded
