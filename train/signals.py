"""SIGTERM, which a scheduler sends before it takes the machine away."""

import signal
from types import FrameType

from jax.experimental import multihost_utils

from train.processes import several


class TerminationRequest:
    """While entered, SIGTERM is only noted; the loop asks after every step, saves and ends.

    Of several processes each gets the signal at another moment, or one alone gets it. Then jax,
    which listens for it since the processes met, chooses the step at which all of them end.
    """

    def __init__(self) -> None:
        self.requested = False
        self._asked = 0

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True

    def ends_here(self) -> bool:
        """Whether this step is the last one, for all processes; to be asked after every step."""
        self._asked += 1
        if several():
            return bool(multihost_utils.reached_preemption_sync_point(self._asked))
        return self.requested

    def __enter__(self) -> "TerminationRequest":
        if not several():
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if not several():
            signal.signal(signal.SIGTERM, self._previous)
