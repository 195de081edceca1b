"""A pool of worker processes that end with their parent."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lengthwise.common.cores import available_cores
from lengthwise.common.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
Map = Callable[[Callable[[Task], Result], Iterable[Task]], Iterator[Result]]

_BYTES_A_WORKER = 4 << 20  # below this, starting a process costs more than it saves (0.7 s)


def choose_workers(requested: int, num_units: int, num_bytes: int) -> int:
    """Number of processes: `requested`, or for 0 as many as pay off; at most one a unit.

    Raises UserError for a negative number.
    """
    if requested < 0:
        raise UserError(f"data.workers={requested} must be positive, or 0 for all cores")
    worth = requested or min(available_cores(), num_bytes // _BYTES_A_WORKER)
    return max(1, min(worth, num_units))


@contextlib.contextmanager
def worker_pool(num_workers: int) -> Iterator[Map]:
    """`map` over processes, with results in order of completion.

    One worker is this process itself. Others are spawned, not forked: a fork beside the threads
    of jax may hang.
    """
    if num_workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)

    def unordered(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        futures = [executor.submit(function, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process preparing the corpus died, perhaps for want of memory; "
                "run again with fewer data.workers (what is finished is kept)"
            ) from error

    try:
        with _termination_raises():
            yield unordered
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C, SIGTERM: nobody waits for unfinished units
            for child in multiprocessing.active_children():
                child.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _termination_raises() -> Iterator[None]:
    """Lets SIGTERM unwind the stack, so that semaphores of the pool are not left to be cleaned up.

    Only where nobody else handles it, and in the main thread, which alone may.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends us without a traceback of our own
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process a core is enough
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # The queue never reports a parent killed by SIGKILL, as its other workers hold it open too.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
