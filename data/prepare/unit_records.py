"""Records of units: results of finished work, an `.npz` file with a key of all inputs.

A record is written after everything it speaks of. One with the right key is finished work, in
whichever run and on whichever machine it was done.
"""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lengthwise.common.array_file import BROKEN_ARRAYS
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write

BUILDING = "building"  # folder of the records, removed when the store is finished


class RecordedTask(Protocol):
    """A task whose results are in the file `record`, valid for `key`."""

    @property
    def record(self) -> Path: ...
    @property
    def key(self) -> str: ...


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Bytes of an `.npz` file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def write_record(task: RecordedTask, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    content = json.dumps({"key": task.key, **facts}).encode("ascii")
    atomic_write(task.record, [npz_bytes({**arrays, "facts": np.frombuffer(content, np.uint8)})])


def read_record(task: RecordedTask, *names: str) -> dict[str, Any] | None:
    """Facts and named arrays of a record; None where there is none with the task's key."""
    try:
        with np.load(task.record) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            return {**facts, **{n: arrays[n] for n in names}} if facts["key"] == task.key else None
    except FileNotFoundError:
        return None
    except BROKEN_ARRAYS:
        return None  # not whole, as after a loss of power: the unit is done again


def is_done(task: RecordedTask) -> bool:
    """Whether the task has a whole record; reads all of it."""
    try:
        with np.load(task.record) as arrays:
            names = [name for name in arrays.files if name != "facts"]
    except BROKEN_ARRAYS:
        return False
    return read_record(task, *names) is not None


def records(tasks: Iterable[RecordedTask], *names: str) -> Iterator[dict[str, Any]]:
    """Reads the records of finished tasks, in order. Raises UserError when one is gone."""
    for task in tasks:
        record = read_record(task, *names)
        if record is None:
            raise UserError(f"{task.record} disappeared during preparation; run again")
        yield record


def column(tasks: Iterable[RecordedTask], name: str) -> np.ndarray:
    """One array of each record, concatenated."""
    return columns(tasks, name)[name]


def columns(tasks: Iterable[RecordedTask], *names: str) -> dict[str, np.ndarray]:
    """Arrays of each record, concatenated by name; each record is opened once."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for record in records(tasks, *names):
        for name, part in parts.items():
            part.append(record[name])
    return {name: np.concatenate(part) for name, part in parts.items()}
