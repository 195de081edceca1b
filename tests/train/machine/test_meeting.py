"""SIGTERM before the processes of a run have met: it waits for that, but not for ever."""

import os
import signal
import threading

import pytest

from lengthwise.train.machine.meeting import DeferredTermination


@pytest.fixture
def received():
    """Signals that come to the handler that was there before, or is there after."""
    found = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def terminate_self():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_comes_again_when_they_have_met(received):
    ended = []
    with DeferredTermination(end=ended.append):
        terminate_self()
        # As jax does, when they meet.
        signal.signal(signal.SIGTERM, lambda number, _: received.append(f"jax {number}"))
    assert received == [f"jax {signal.SIGTERM:d}"]
    assert ended == []


def test_no_signal_comes_where_there_was_none(received):
    with DeferredTermination():
        pass
    assert received == []
    # Whoever installs a handler where there is none, as preparing does, leaves jax's alone.
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


def test_who_waits_in_vain_ends(received):
    ended = threading.Event()
    status = []
    with DeferredTermination(0.01, lambda number: (status.append(number), ended.set())):
        terminate_self()
        assert ended.wait(10)
    assert status == [143]


def test_an_error_is_not_held_up_and_the_signal_not_lost(received):
    def meet():
        with DeferredTermination():
            terminate_self()
            raise ValueError("no address")

    with pytest.raises(ValueError, match="no address"):
        meet()
    assert received == [signal.SIGTERM]
