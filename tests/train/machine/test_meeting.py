"""Before the processes of a run have met: SIGTERM waits for that, and none waits for one that is
gone."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lengthwise.train.machine.meeting import Meeting, early_meeting


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
    with Meeting(end=ended.append) as meeting:
        terminate_self()
        # As jax does, when they meet.
        signal.signal(signal.SIGTERM, lambda number, _: received.append(f"jax {number}"))
        meeting.all_have_met()
    assert received == [f"jax {signal.SIGTERM:d}"]
    assert ended == []


def test_no_signal_comes_where_there_was_none(received):
    with Meeting() as meeting:
        meeting.all_have_met()
    assert received == []
    # Whoever installs a handler where there is none, as preparing does, leaves jax's alone.
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


def test_who_waits_in_vain_ends(received):
    ended = threading.Event()
    status = []
    with Meeting(None, 0.01, end=lambda number: (status.append(number), ended.set())):
        terminate_self()
        assert ended.wait(10)
    assert status == [143]


def test_an_error_is_not_held_up_and_the_signal_not_lost(received):
    def meet():
        with Meeting():
            terminate_self()
            raise ValueError("no address")

    with pytest.raises(ValueError, match="no address"):
        meet()
    assert received == [signal.SIGTERM]


OTHER = """
import sys, time
from pathlib import Path
from lengthwise.train.machine.meeting import Meeting
with Meeting(Path(sys.argv[1]), 0.2, 0.2) as meeting:
    word = sys.stdin.readline()
    if word == "met":
        meeting.all_have_met()
"""


class Pair:
    """A meeting in this process and one in another, which have found each other."""

    def __init__(self, workdir):
        self.statuses, self._ended = [], threading.Event()
        self.meeting = Meeting(workdir, 0.2, 0.2, end=self._end)
        command = [sys.executable, "-c", OTHER, workdir]
        self.other = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        self.meeting.__enter__()
        while not (self.meeting._told and self.meeting._known):
            assert self.other.poll() is None
            time.sleep(0.01)

    def _end(self, status):
        self.statuses.append(status)
        self._ended.set()

    def wait(self):
        assert self._ended.wait(30)
        return self.statuses[0], self.other.wait(30)


@pytest.fixture
def pair(tmp_path, received):
    pair = Pair(tmp_path / "run")
    yield pair
    pair.other.kill()
    pair.other.communicate()
    pair.meeting.__exit__(None, None, None)
    assert not (tmp_path / "run").exists()  # nothing else is in it


def test_none_waits_for_one_that_is_killed(pair, capfd):
    pair.other.kill()
    assert pair.wait() == (75, -signal.SIGKILL)
    assert "another process of the run ended before all of them had met" in capfd.readouterr().err


def test_none_waits_for_one_that_ends_by_itself(pair):
    pair.other.communicate("wrong flag")
    assert pair.wait() == (75, 0)


def test_a_signal_to_one_ends_all(pair):
    pair.other.terminate()
    assert pair.wait() == (143, 143)


def test_a_signal_is_told_to_who_comes_later(tmp_path, received):
    with Meeting(tmp_path, 60, end=lambda status: None):
        terminate_self()
        later = subprocess.Popen([sys.executable, "-c", OTHER, tmp_path], stdin=subprocess.PIPE)
        assert later.wait(30) == 143
    later.stdin.close()


def test_one_that_has_met_is_not_gone(pair):
    pair.other.communicate("met")
    pair.other.wait()
    pair.meeting.all_have_met()
    assert pair.statuses == []


def test_one_that_was_killed_before_any_connection_is_gone(tmp_path, received):
    ended = threading.Event()
    (tmp_path / "meeting").mkdir()
    with Meeting(tmp_path, seconds_to_end=0.0, end=lambda status: ended.set()):
        with socket.create_server(("", 0)) as nobody:
            address = f"127.0.0.1 {nobody.getsockname()[1]}"
        (tmp_path / "meeting" / "0.process").write_text(address)
        assert ended.wait(30)


def test_an_address_of_an_earlier_start_is_removed(tmp_path, received):
    stale = tmp_path / "meeting" / "0.process"
    stale.parent.mkdir()
    with socket.create_server(("", 0)) as nobody:
        stale.write_text(f"127.0.0.1 {nobody.getsockname()[1]}")
    os.utime(stale, (0, 0))
    with Meeting(tmp_path, end=lambda status: pytest.fail("nobody is gone")):
        while stale.exists():
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["--distributed", "--workdir={}"], True),
        (["-distributed=true", "--workdir", "{}"], True),
        (["--distributed"], False),
        (["--workdir={}"], False),
        (["--distributed", "--workdir=a\0b"], True),  # which the flags' own check refuses
    ],
)
def test_a_command_line_begins_a_meeting(arguments, begins, tmp_path, received):
    argv = ["main.py", *(each.format(tmp_path) for each in arguments)]
    with early_meeting(argv) as meeting:
        assert (meeting is not None) == begins
