"""SIGTERM to one of several processes outside of the training loop: all of them end at once.

In the loop all end at one step, which jax's preemption service chooses (`signals.py`). In start-up
and in scoring nobody asks it, and since the processes met it swallows the signal. There a thread
asks whether any of them got one. Nothing is lost by ending where it is: a kill there loses nothing.
"""

import os
import sys
import threading
import time
from typing import Any

import jax

from lengthwise.train.machine.deadline import SECONDS_TO_HEED, STATUS, TERMINATED

# Of jax's preemption service, which sets it for all when one of them got the signal.
_NOTICE = "RECEIVED_PREEMPTION_NOTICE"
_LEAVING = "lengthwise/leaving"  # a key a process that ends
_SECONDS_BETWEEN = 1.0
_SECONDS_TO_AGREE = 10.0


class TerminationWatch:
    """While entered, ends this process when one of the run's processes got SIGTERM.

    Not while `training` is set, unless one of the others is outside of the loop and ends, or the
    loop is busy with one thing for long.

    Args:
      client: of jax's coordination service, which the processes share.
    """

    # Set by the loop, and left set by one that a signal ended.
    training = threading.Event()
    # Set by the loop when it is about to save and end.
    heeded = threading.Event()

    def __init__(self, client: Any, process: int, processes: int):
        self._client, self._process, self._processes = client, process, processes
        self._closed = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._watch, name="termination", daemon=True)

    def _watch(self) -> None:
        noticed = None  # when
        while not self._closed.wait(_SECONDS_BETWEEN):
            try:
                if not self._noticed():
                    continue
                noticed = noticed or time.monotonic()
                late = not self.heeded.is_set() and time.monotonic() > noticed + SECONDS_TO_HEED
                if late or not self.training.is_set() or self._others_leave():
                    self._leave()
            except jax.errors.JaxRuntimeError:
                return  # the first process is gone, which the main thread is told as well

    def _noticed(self) -> bool:
        try:
            self._client.key_value_try_get(_NOTICE)
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" not in str(error):
                raise
            return False
        return True

    def _others_leave(self) -> int:
        return len(self._client.key_value_dir_get(_LEAVING))

    def _leave(self) -> None:
        """Ends the process once all of them are about to: a broken connection ends none."""
        self._leaving = True
        self._client.key_value_set(f"{_LEAVING}/{self._process}", "")
        until = time.monotonic() + _SECONDS_TO_AGREE
        while self._others_leave() < self._processes and time.monotonic() < until:
            time.sleep(0.05)
        if self._process == 0:
            print(TERMINATED, file=sys.stderr, flush=True)
            time.sleep(1.0)  # the others ask this one
        os._exit(STATUS)

    def wait_if_leaving(self) -> None:
        """Blocks where this process is about to end: what an error says then is of no interest."""
        if self._leaving:
            self._thread.join()

    def __enter__(self) -> "TerminationWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait_if_leaving()
        self._closed.set()
        self._thread.join()
