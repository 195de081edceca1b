"""SIGTERM to one of several processes before they have met."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

STATUS = 128 + signal.SIGTERM
SECONDS_TO_MEET = 45.0


class DeferredTermination:
    """While entered, SIGTERM waits for the others: who went alone would leave them waiting.

    A thread sees the signal, since meeting blocks the main thread, and ends the process where the
    others don't come in time. A process that has met them sends itself the signal again, to the
    handler that jax installs then; until then Python takes the signal for handled, so that nobody
    installs another.
    """

    def __init__(self, seconds: float = SECONDS_TO_MEET, end: Callable[[int], None] = os._exit):
        self._seconds, self._end = seconds, end
        self._met = threading.Event()
        self._received = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="meeting", daemon=True)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """The thread, which the signal's number wakes, does it."""

    def _watch(self) -> None:
        while number := self._reader.recv(1):
            if number[0] == signal.SIGTERM:
                self._received.set()
                if not self._met.wait(self._seconds):
                    self._end(STATUS)

    def __enter__(self) -> "DeferredTermination":
        self._before = signal.signal(signal.SIGTERM, self._handle)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._met.set()
        signal.set_wakeup_fd(-1)
        self._writer.close()
        self._thread.join()
        self._reader.close()
        if kind is not None:
            signal.signal(signal.SIGTERM, self._before)
        if self._received.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
