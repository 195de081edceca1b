"""Arrays in one file (.npz), and every way in which a damaged one can't be read."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

# What zipfile, zlib and numpy raise at a file that was cut short or changed; MemoryError: a shape
# with a flipped bit, for which numpy makes room before zipfile compares the checksum.
BROKEN_ARRAYS = (
    *(OSError, ValueError, KeyError, EOFError, NotImplementedError, TypeError, MemoryError),
    *(RuntimeError, SyntaxError, OverflowError, zipfile.BadZipFile, zlib.error),
)


class BrokenArraysError(ValueError):
    """The file is there and can't be read. Its message is the cause."""


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file by name. Raises FileNotFoundError, and BrokenArraysError for a file
    that isn't whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise
    except BROKEN_ARRAYS as error:
        raise BrokenArraysError(str(error) or type(error).__name__) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of what is named otherwise
            raise BrokenArraysError(f"{name!r} is no array")
    return arrays
