"""Exceptions of libraries about files: classes of the table exist, others stay what they are."""

import builtins
import importlib

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import RAISED, reading


def test_the_table_names_classes_that_there_are() -> None:
    for name in set().union(*RAISED.values()) - {"pyo3_runtime.PanicException"}:
        module, _, cls = name.rpartition(".")
        owner = importlib.import_module(module) if module else builtins
        assert issubclass(getattr(owner, cls), BaseException)


def test_one_line_that_begins_with_the_file() -> None:
    rows = [0]

    class Place:
        def __str__(self) -> str:
            return f"cannot read x after row {rows[-1]}"

    def read() -> None:
        with reading(Place(), "pyarrow"):
            rows.append(3)
            raise ValueError("bad page\nfile x.cc, line 3")

    with pytest.raises(UserError) as error:
        read()
    assert str(error.value) == "cannot read x after row 3: bad page"
    with pytest.raises(UserError, match=r"^f: No such file or directory$"), reading("f", "pyarrow"):
        open("/nowhere/at/all")  # noqa: SIM115
    with pytest.raises(UserError, match=r"^f: KeyError$"), reading("f", "pyarrow"):
        raise KeyError
    ours = UserError("ours")
    with pytest.raises(UserError) as error, reading("f", "tokenizers"):
        raise ours
    assert error.value is ours


def test_a_panic_of_rust_is_no_exception() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    with pytest.raises(UserError, match=r"^f: index out of bounds"), reading("f", "tokenizers"):
        raise panic("index out of bounds")
    for error in (KeyboardInterrupt(), SystemExit(1), AssertionError("a fault of ours")):
        with pytest.raises(type(error)), reading("f", "pyarrow"):
            raise error
