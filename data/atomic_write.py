"""Files that are either whole or absent, whatever kills the writer."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errors import UserError

TEMPORARY = ".tmp"  # suffix of files being written; leftovers of a killed writer carry it


def atomic_write(path: Path, chunks: Sequence[Any]) -> None:
    """Writes `chunks` (bytes-like objects) to `path`: temporary file, fsync, rename.

    The temporary name carries the process id, so that two writers never share one.

    Raises:
      UserError: the file cannot be written (full disk, no permission); nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        try:
            with open(temporary, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another "
            "directory, then run again (what is finished is kept)"
        ) from error
