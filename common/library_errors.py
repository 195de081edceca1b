"""Exceptions by which libraries speak of a file: one line that names it, not a traceback.

The table names classes, so that no library is imported for it. What a library raises for damage is
often of a general class: a block of `reading` holds calls of that library alone.
"""

import contextlib
from collections.abc import Iterator

from lengthwise.common.errors import UserError

# Library -> classes that it raises for files that are damaged, of another kind, or gone.
_OF_PYTHON = frozenset({"IndexError", "KeyError", "MemoryError", "NotImplementedError", "OSError"})
_OF_PYTHON |= {"EOFError", "OverflowError", "RuntimeError", "TypeError", "ValueError"}
RAISED = {
    "decompression": _OF_PYTHON
    | {"zlib.error", "_lzma.LZMAError", "zstandard.backend_c.ZstdError"},
    "pyarrow": _OF_PYTHON | {"pyarrow.lib.ArrowException"},
    "array_record": _OF_PYTHON,  # its C++, by pybind11
    "tfds": {"Exception"},  # it reads by protobuf, JSON and etils, each with errors of its own
    "tokenizers": {"Exception", "pyo3_runtime.PanicException"},  # of Rust; a panic is no Exception
    "huggingface_hub": {"Exception"},  # of HTTP clients, which change
}


@contextlib.contextmanager
def reading(what: object, library: str) -> Iterator[None]:
    """Turns what the library raises in the block into a UserError that begins with `what`.

    what: the file, and what is wrong with it; it becomes a string where it is needed.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
        classes = {name.removeprefix("builtins.") for name in classes}
        if classes.isdisjoint(RAISED[library]):
            raise
        raise UserError(f"{what}: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """The first line of the error's message, without the name of a file that OSError repeats."""
    message = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return message.strip().partition("\n")[0] or type(error).__name__
