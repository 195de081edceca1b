"""SIGTERM, which a scheduler sends before it takes the machine away."""

import signal
from types import FrameType


class TerminationRequest:
    """While entered, SIGTERM only sets `requested`; the loop saves and ends at the next step."""

    def __init__(self) -> None:
        self.requested = False

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True

    def __enter__(self) -> "TerminationRequest":
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)
