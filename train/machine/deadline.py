"""The longest time from SIGTERM to the end of a process that is busy."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

STATUS = 128 + signal.SIGTERM
SECONDS_TO_HEED = 40.0
TERMINATED = "terminated; the same command goes on from the last checkpoint, if any"


class TerminationDeadline:
    """While entered, ends the process where SIGTERM isn't heeded in time.

    A thread sees the signal: Python's own handlers wait for the main thread, which may be within a
    compilation for minutes.

    Attributes:
      heeded: to be set once what is left to do is short, such as a save.
    """

    def __init__(self, seconds: float = SECONDS_TO_HEED, end: Callable[[int], None] = os._exit):
        self.heeded = threading.Event()
        self._seconds, self._end = seconds, end
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    def _watch(self) -> None:
        while number := self._reader.recv(1):
            if number[0] == signal.SIGTERM and not self.heeded.wait(self._seconds):
                print(TERMINATED, file=sys.stderr, flush=True)
                self._end(STATUS)

    def __enter__(self) -> "TerminationDeadline":
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heeded.set()
        signal.set_wakeup_fd(self._before)
        self._writer.close()
        self._thread.join()
        self._reader.close()
