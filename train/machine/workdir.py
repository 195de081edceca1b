"""Work directory: locked by one process at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.train.machine.processes import check_shared, is_first_process


class InUseError(UserError):
    """Another run holds the work directory."""


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Locks the work directory; the lock ends with the process, however that ends.

    Of the processes of one run the first one holds it, for all.

    Raises:
      InUseError: another run holds it.
      UserError: it can't be written, or not all processes see it.
    """
    if not is_first_process():
        check_shared(workdir)
        yield
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as error:
        raise UserError(f"--workdir={workdir} can't be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip()
            raise InUseError(
                f"--workdir={workdir} is in use by process {owner}; wait for it or choose another"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        check_shared(workdir)
        yield
