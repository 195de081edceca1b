"""Processes of a run before they have met: none waits for one that is gone.

jax lets a process wait for the others for five minutes, since hosts start at different times. Who
has begun writes its address into the work directory, which all share, and the others hold a
connection to it: one that breaks without a word is that of a process that was killed.
"""

import contextlib
import functools
import os
import selectors
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from lengthwise.train.machine.deadline import STATUS

LOST_STATUS = 75  # EX_TEMPFAIL: nothing is wrong with this process, and a new start goes on
SECONDS_TO_MEET = 30.0  # after SIGTERM to one of them
# For an error of its own, such as a flag that is wrong for all of them.
SECONDS_TO_END = 10.0
_SECONDS_BETWEEN = 0.5
_SECONDS_OF_A_START = 5.0  # in which the processes begin, most often
_MOST_OTHERS = 64  # connections of a process: who loses one ends, and others lose theirs to it
_TERMINATED, _MET = b"T", b"M"  # what is said over a connection
_LOST = (
    "error: another process of the run ended before all of them had met; the same command on all "
    "hosts starts them again"
)


class Meeting:
    """While entered, SIGTERM to one of the processes waits for the others.

    Who went alone would leave them waiting. A thread sees the signal, since meeting blocks the main
    thread; it tells the others, and each ends where they don't all meet in time. A process that has
    met them sends itself the signal again, to the handler that jax installs then; until then Python
    takes the signal for handled, so that nobody installs another.

    Args:
      directory: the work directory; None: the others aren't looked for.
      end: ends the process with a status.
    """

    def __init__(
        self,
        directory: Path | None = None,
        seconds: float = SECONDS_TO_MEET,
        seconds_to_end: float = SECONDS_TO_END,
        end: Callable[[int], None] = os._exit,
    ):
        self._folder = directory and directory / "meeting"
        self._seconds, self._seconds_to_end, self._end = seconds, seconds_to_end, end
        self._open = True
        self._met = self._received = self._terminated = False
        self._deadline: tuple[float, int] | None = None  # when to end, with which status
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ, self._read_signals)
        self._listener: socket.socket | None = None
        self._own: Path | None = None  # the file with the address
        self._known: set[str] = set()  # names of files
        self._told: list[socket.socket] = []  # connections of others to this process
        self._thread = threading.Thread(target=self._watch, name="meeting", daemon=True)

    def __enter__(self) -> "Meeting":
        self._before = signal.signal(signal.SIGTERM, self._handle)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def all_have_met(self) -> None:
        """Ends what is above, before the context does."""
        self._met = True
        self._close()

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        signal.set_wakeup_fd(-1)
        self._writer.close()
        self._thread.join()
        if not self._met:
            signal.signal(signal.SIGTERM, self._before)
        if self._received:
            os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """The thread, which the signal's number wakes, does it."""

    def _watch(self) -> None:
        looked = 0.0
        while self._open:
            for key, _ in self._selector.select(_SECONDS_BETWEEN):
                key.data(key.fileobj)
            if self._folder and time.monotonic() - looked >= _SECONDS_BETWEEN:
                # Who can't write there is told so by the main thread.
                with contextlib.suppress(OSError, ValueError):
                    self._look_for_others(self._folder)
                looked = time.monotonic()
            if self._deadline and time.monotonic() >= self._deadline[0]:
                self._leave(self._deadline[1])
        self._say(_MET if self._met else b"")
        self._remove_file()
        for key in [*self._selector.get_map().values()]:
            key.fileobj.close()  # type: ignore[union-attr]  # all are sockets
        for connection in self._told:
            connection.close()
        self._selector.close()

    def _read_signals(self, reader: socket.socket) -> None:
        if signal.SIGTERM in reader.recv(64):
            self._received = True
            self._terminate()

    def _terminate(self) -> None:
        if not self._terminated:
            self._terminated = True
            self._deadline = time.monotonic() + self._seconds, STATUS
            self._say(_TERMINATED)

    def _say(self, word: bytes) -> None:
        for connection in self._told:
            with contextlib.suppress(OSError):  # it is gone
                connection.sendall(word)

    def _look_for_others(self, folder: Path) -> None:
        if self._own is None:
            self._own = self._announced(folder)
        files = sorted(folder.glob("*.process"))
        behind = [*(path for path in files if path > self._own), *files]  # in a ring
        for path in behind[:_MOST_OTHERS]:
            if path == self._own or path.name in self._known:
                continue
            host, port = path.read_text().split()
            self._known.add(path.name)
            try:
                other = socket.create_connection((host, int(port)), timeout=1.0)
            except ConnectionRefusedError:  # of a process that was killed
                # In this start, not in an earlier one, by the clock of the file system.
                begun = path.stat().st_mtime > self._own.stat().st_mtime - _SECONDS_OF_A_START
                path.unlink(missing_ok=True)
                if begun:
                    self._lose()
            else:
                read = functools.partial(self._read_other, path)
                self._selector.register(other, selectors.EVENT_READ, read)

    def _announced(self, folder: Path) -> Path:
        """Listens, and writes the address into a file of the folder; returns the file."""
        if self._listener is None:
            self._listener = socket.create_server(("", 0), backlog=_MOST_OTHERS)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid.uuid4().hex}.process"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(f"{_own_address()} {self._listener.getsockname()[1]}")
        return unfinished.rename(path)

    def _remove_file(self) -> None:
        if self._own and self._folder:
            self._own.unlink(missing_ok=True)
            for folder in (self._folder, self._folder.parent):
                with contextlib.suppress(OSError):  # the others' files are there, or the run's
                    folder.rmdir()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(1.0)
        self._told.append(connection)
        if self._terminated:
            connection.sendall(_TERMINATED)

    def _read_other(self, file: Path, other: socket.socket) -> None:
        try:
            words = other.recv(64)
        except OSError:
            words = b""
        if _TERMINATED in words:
            self._terminate()
        if words and _MET not in words:
            return
        self._selector.unregister(other)
        other.close()
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        if not words:
            self._lose()

    def _lose(self) -> None:
        """One of the others is gone."""
        if self._terminated:
            self._deadline = time.monotonic(), STATUS
        else:
            self._deadline = time.monotonic() + self._seconds_to_end, LOST_STATUS

    def _leave(self, status: int) -> None:
        self._deadline = None
        if status == LOST_STATUS:
            print(_LOST, file=sys.stderr, flush=True)
        self._remove_file()
        self._end(status)


def _own_address() -> str:
    """The address of this host among others. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # of no host: it is the route that counts
        except OSError:
            return "127.0.0.1"
        return str(asked.getsockname()[0])


@contextlib.contextmanager
def early_meeting(argv: Sequence[str]) -> Iterator[Meeting | None]:
    """The meeting that a command line asks for, before its flags are parsed; None: there is none.

    The imports that parsing takes are seconds in which a signal would find nobody.
    """
    flags: dict[str, str] = {}
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        name, assigned, value = flag.lstrip("-").partition("=")
        if flag.startswith("-"):
            flags[name] = value if assigned else following
    if "distributed" not in flags or flags.get("workdir", "") == "":
        yield None
        return
    with Meeting(Path(flags["workdir"])) as meeting:
        yield meeting
