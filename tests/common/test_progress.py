"""Progress where there is no terminal: lines at intervals, of what takes long alone."""

import io
import sys

import pytest

from lengthwise.common import progress
from lengthwise.common.progress import SECONDS, ProgressBar


class Clock:
    """Time of the lines and of tqdm, moved by hand."""

    def __init__(self, patched):
        self.now = 1000.0
        patched.setattr(progress.time, "monotonic", lambda: self.now)
        patched.setattr("tqdm.std.time", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def train(clock, steps, seconds_a_step):
    with ProgressBar(total=steps, initial=0, desc="training", unit="step") as bar:
        for step in range(1, steps + 1):
            clock.now += seconds_a_step
            bar.set_postfix_str(f"loss {step / 100:.3f}, 12,345 tokens/s", refresh=False)
            bar.update()


def test_a_line_every_thirty_seconds_and_one_at_the_end(clock, capfd):
    train(clock, 400, 0.25)  # 100 seconds
    text = capfd.readouterr().err
    assert "\r" not in text
    lines = text.splitlines()
    assert [line.split(" of ")[0] for line in lines] == [
        f"training: {n}" for n in (120, 240, 360, 400)
    ]
    assert lines[0] == "training: 120 of 400 step, loss 1.200, 12,345 tokens/s, ETA 01:10"
    assert lines[-1] == "training: 400 of 400 step, loss 4.000, 12,345 tokens/s"


def test_what_is_soon_done_has_no_line(clock, capfd):
    train(clock, 100, SECONDS / 101)
    for _ in ProgressBar(range(3), "checksums", delay=2):
        clock.now += 1
    assert capfd.readouterr().err == ""


def test_steps_that_are_far_apart_have_a_line_each(clock, capfd):
    train(clock, 3, 100)
    assert len(capfd.readouterr().err.splitlines()) == 4  # the last one twice: done


def test_figures_in_thousands_and_a_rate_where_there_is_no_other(clock, capfd):
    with ProgressBar(total=2_000_000, unit="tok", unit_scale=True, desc="scoring") as bar:
        clock.now += 40
        bar.update(1_000_000)
    first, _ = capfd.readouterr().err.splitlines()
    assert first == "scoring: 1.00M of 2.00M tok, 25.0ktok/s, ETA 00:40"


def test_a_message_between_stands_on_a_line_of_its_own(clock, capfd):
    with ProgressBar(total=2, desc="training", unit="step") as bar:
        ProgressBar.write("warning: a spike", file=sys.stderr)
        bar.refresh()
    assert capfd.readouterr().err == "warning: a spike\n"


def test_on_a_terminal_it_is_a_bar(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    train(clock, 4, 1.0)
    assert "\r" in stream.getvalue()
    assert "100%|" in stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silent_processes_show_nothing(clock, monkeypatch, stream):
    mine = stream()
    monkeypatch.setattr(sys, "stderr", mine)
    monkeypatch.setattr(ProgressBar, "silent", True)
    train(clock, 4, 100.0)
    for _ in ProgressBar(range(3), "compiling", disable=False):
        pass
    assert mine.getvalue() == ""
