"""Processes of a run: joining, agreeing, and ending when one of them is gone.

All run the same program on the same config and take part in every computation. The first one alone
writes what only one may write, and speaks. A process by itself doesn't import jax for any of this.
"""

import functools
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.progress import ProgressBar
from lengthwise.train.machine.meeting import LOST_STATUS, Meeting

T = TypeVar("T")

# A process that hasn't been heard of for so long counts as gone, and the others end. jax's own
# 100 seconds would leave a slice idle for as long at each failure.
HEARTBEAT_SECONDS = 30
# How long those that are done wait for the first one, which still writes the report.
SHUTDOWN_SECONDS = 600


def join(
    coordinator: str | None, num_processes: int | None, process_id: int | None, meeting: Meeting
) -> None:
    """Makes this process one of several; to be called before jax looks for devices.

    Args: all None where the cluster says them (Cloud TPU, GKE, Slurm, Open MPI).
      coordinator: host:port of the first process, where they meet.
      meeting: which this ends.

    Raises:
      UserError: some are missing, or the processes don't find each other, or jax no devices.
    """
    arguments = (coordinator, num_processes, process_id)
    if None in arguments and arguments != (None, None, None):
        raise UserError("--coordinator, --num_processes and --process_id must be given together")
    if num_processes is not None and process_id is not None and process_id >= num_processes:
        raise UserError(
            f"--process_id={process_id} must be below --num_processes={num_processes}: the "
            "processes are numbered from 0"
        )
    try:
        import jax

        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        meeting.all_have_met()
    except (ValueError, RuntimeError) as error:
        reason = one_line(error)[:300]
        raise UserError(
            f"the processes of the run can't meet: {reason}; outside of Cloud TPU, GKE, Slurm and "
            "Open MPI give every process --coordinator=HOST:PORT of the first one, "
            "--num_processes and its --process_id"
        ) from error
    from lengthwise.train.machine.devices import platform

    platform()  # of devices that the processes share


def is_distributed() -> bool:
    """Whether this process has joined others. Starts no backend."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def is_first_process() -> bool:
    """Whether this is the first process, which alone writes and prints."""
    if not is_distributed():
        return True
    import jax

    return jax.process_index() == 0


def own_name() -> str:
    """ "process 1 of 4 (its host)"; empty where there is one process."""
    if not is_distributed():
        return ""
    import jax

    return f"process {jax.process_index()} of {jax.process_count()} ({socket.gethostname()})"


def wait_for_all(where: str) -> None:
    """Returns when every process has called it."""
    if is_distributed():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)


def first_alone(work: Callable[[], T]) -> T:
    """Runs `work()` on the first process, then on all others, which find its results."""
    if is_first_process():
        result = work()
    wait_for_all("first_alone")
    return result if is_first_process() else work()


def all_agree(holds: bool) -> bool:
    """Whether `holds` is true on every process."""
    return bool(np.all(gather(np.bool_(holds))))


def gather(value: Any) -> np.ndarray:
    """Gathers the value of each process on all of them: [P, ...]."""
    if not is_distributed():
        return np.asarray(value)[None]
    import jax
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(value)).reshape(
        jax.process_count(), *np.shape(value)
    )


def check_shared(directory: Path) -> None:
    """Checks that all processes see one and the same directory.

    Raises:
      UserError: this one doesn't see what the first one writes.
    """
    if not is_distributed():
        return
    from jax.experimental import multihost_utils

    # A new name each time: a network file system may remember that a file was not there.
    number = int(multihost_utils.broadcast_one_to_all(np.int32(secrets.randbits(31))))
    mark = directory / f"seen-by-all-{number}"
    if is_first_process():
        mark.touch()
    wait_for_all("mark written")
    seen = mark.exists()
    wait_for_all("mark seen")
    if is_first_process():
        mark.unlink()
    if not seen:
        raise UserError(
            f"--workdir={directory} is not the same directory for all processes; name one on "
            "storage that all hosts share"
        )


def quiet_unless_first() -> None:
    """Silences all processes but the first, their progress bars too."""
    if not is_first_process():
        ProgressBar.silent = True
        tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # of libraries
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process


def together(work: Callable[[], int], ending: Callable[[BaseException], tuple[str, int]]) -> int:
    """`work()`, which returns an exit status, as one of several processes.

    SIGTERM to any of them ends all, with status 143.

    What it raises ends this process at once: the others must not wait for it, nor it for them. They
    notice by the broken connection or the missing heartbeat.

    Args:
      ending: message and exit status of an error of one process alone.
    """
    import jax
    from jax._src.distributed import global_state

    from lengthwise.train.machine.termination import TerminationWatch

    client: Any = global_state.client
    watch = TerminationWatch(client, jax.process_index(), jax.process_count())
    try:
        with watch:
            status = work()
            # Under the watch: the first process may write its report for long.
            client.wait_at_barrier("lengthwise/finished", 1000 * SHUTDOWN_SECONDS)
    except BaseException as error:
        if another_is_gone(error):
            message, status = _lost(error), LOST_STATUS
        else:
            message, status = ending(error)
        print(f"{own_name()}: {message}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(status)
    jax.distributed.shutdown()
    return status


def another_is_gone(error: BaseException | None) -> bool:
    """Whether an error is most likely that of a connection to a process that is gone.

    jax makes a ValueError of what breaks while an array is fetched, as of a wrong value.
    """
    import jax

    if isinstance(error, ValueError):
        return "Gloo" in str(error)
    is_full = "RESOURCE_EXHAUSTED" in str(error)  # of memory, for which no other is to blame
    return isinstance(error, jax.errors.JaxRuntimeError) and not is_full


def _lost(error: BaseException) -> str:
    """Message of an error in a computation with others: most often, one of them is gone."""
    reason = one_line(error)[:300]
    return (
        "error: the processes can't go on together, most likely since one is gone; the same "
        f"command on all hosts goes on from the last checkpoint ({reason})"
    )
