"""Preemption notices of Google Cloud, turned into a SIGTERM to this process.

A spot machine is preempted with 30 seconds' notice, of which its shutdown sends SIGTERM only after
a while, and to what runs as a service alone. The machine's metadata server says it at once.
https://cloud.google.com/compute/docs/instances/create-use-spot#detect-preemption
"""

import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

HOST = "GCE_METADATA_HOST"  # Google's own libraries read the server's address here, too
_PRODUCT = Path("/sys/class/dmi/id/product_name")
_NOTICES = {"preempted": "TRUE", "maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE"}
_SECONDS_BETWEEN = 2.0
_TIMEOUT_SECONDS = 5.0


def metadata_server() -> str | None:
    """Address of the metadata server; None on a machine that isn't Google's."""
    if HOST in os.environ:
        return os.environ[HOST]
    google = _PRODUCT.exists() and _PRODUCT.read_text().startswith("Google")
    return "metadata.google.internal" if google else None


def terminate_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class PreemptionNotice:
    """While entered, asks the server every two seconds and calls `notify` once at a notice."""

    def __init__(self, server: str | None, notify: Callable[[], None] = terminate_self):
        """server: None asks nobody."""
        self._server, self._notify = server, notify
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="preemption", daemon=True)

    def _watch(self) -> None:
        answered = True
        while not self._closed.wait(_SECONDS_BETWEEN):
            try:
                notice = self._notice()
            except (OSError, HTTPException, ValueError) as error:  # an answer that is none, too
                if answered:
                    print(
                        f"warning: {self._server} doesn't say whether this machine is about to be "
                        f"preempted ({error!r}); asking on",
                        file=sys.stderr,
                    )
                answered = False
                continue
            answered = True
            if notice:
                print(f"preemption notice: {notice}; saving", flush=True)
                self._notify()
                return

    def _notice(self) -> str | None:
        for name, value in _NOTICES.items():
            request = urllib.request.Request(
                f"http://{self._server}/computeMetadata/v1/instance/{name}",
                headers={"Metadata-Flavor": "Google"},
            )
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                if answer.read().decode().strip() == value:
                    return f"{name} is {value}"
        return None

    def __enter__(self) -> "PreemptionNotice":
        if self._server is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._server is not None:
            self._thread.join(2 * _TIMEOUT_SECONDS)
