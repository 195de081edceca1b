"""Termination by SIGTERM, which a scheduler sends before it takes the machine, or by Ctrl-C."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from jax.experimental import multihost_utils

from lengthwise.common.interruption import Interruption, interruptible
from lengthwise.train.machine.deadline import TerminationDeadline
from lengthwise.train.machine.processes import is_distributed
from lengthwise.train.machine.termination import TerminationWatch

# Reason of a loop that a signal ended -> exit status.
TERMINATED, INTERRUPTED = "terminated", "interrupted"
STATUS = {TERMINATED: 128 + signal.SIGTERM, INTERRUPTED: 128 + signal.SIGINT}


class TerminationRequest:
    """Records signals while entered; the loop asks after every step, saves and ends.

    It asks within evaluations, too, and where it waits for a program. Where it is busy with one
    thing for long, the process ends where it is (`TerminationDeadline`). A second Ctrl-C doesn't
    wait for that. Of several processes each gets SIGTERM at another moment, or one alone gets it.
    Then jax, which listens for it since the processes met, chooses the step at which all of them
    end; Ctrl-C ends them at once. Outside of the loop a signal ends all where they are
    (`TerminationWatch`).
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = TERMINATED  # or INTERRUPTED
        self._calls = 0
        self._previous: dict[signal.Signals, Any] = {}
        self._deadline = TerminationDeadline()

    def _terminate(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self.reason = True, INTERRUPTED
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Nobody may read on, or something be in the midst of writing: neither may cost the save.
        with contextlib.suppress(OSError, RuntimeError):
            print("\ninterrupt: saves after this step; once more ends at once", file=sys.stderr)

    def ends_here(self) -> bool:
        """Whether this step is the last one, for all processes; to be called after every step."""
        self._calls += 1
        if is_distributed() and not self.requested:  # jax isn't asked past the point that it chose
            reached = multihost_utils.reached_preemption_sync_point(self._calls)
            self.requested = self.requested or bool(reached)
        if self.requested:
            self._deadline.heeded.set()
            TerminationWatch.heeded.set()
        return self.requested

    def check(self) -> None:
        """Raises Interruption where this is the end; called by all processes alike."""
        if self.ends_here():
            raise Interruption

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupts what waits inside for as long as it likes: of one process alone, since others
        may wait for longer or not at all."""
        if is_distributed():
            yield
        else:
            with interruptible(self.check):
                yield

    def __enter__(self) -> "TerminationRequest":
        if is_distributed():
            TerminationWatch.heeded.clear()
            TerminationWatch.training.set()
        else:
            self._deadline.__enter__()
            for number, handler in (
                (signal.SIGTERM, self._terminate),
                (signal.SIGINT, self._interrupt),
            ):
                # Who starts a run in the background may have Ctrl-C ignored, for all below it.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.requested:
            TerminationWatch.training.clear()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if not is_distributed():
            self._deadline.__exit__()
