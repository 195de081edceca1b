"""Records of units: results of finished work, a file with a key of all inputs.

A line of JSON (key, facts, arrays with their checksums), then the arrays: a zip archive, as `.npz`
is, takes twenty times as long, and a corpus has hundreds of readings of such records.

A record is written after everything it speaks of. One with the right key is finished work, in
whichever run and on whichever machine it was done.
"""

import json
import math
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write

BUILDING = "building"  # folder of the records, removed when the store is finished


class RecordedTask(Protocol):
    """A task whose results are in the file `record`, valid for `key`."""

    @property
    def record(self) -> Path: ...
    @property
    def key(self) -> str: ...


def write_record(task: RecordedTask, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    flat = {name: np.ascontiguousarray(array).reshape(-1) for name, array in arrays.items()}
    contents = [
        (
            name,
            array.dtype.str,
            arrays[name].shape,
            xxhash.xxh3_64_hexdigest(array.view(np.uint8).data),
        )
        for name, array in flat.items()
    ]
    head = json.dumps({"key": task.key, "facts": facts, "arrays": contents}).encode("ascii")
    line = f"{xxhash.xxh3_64_hexdigest(head)} ".encode("ascii") + head + b"\n"
    atomic_write(task.record, [line, *(array.view(np.uint8).data for array in flat.values())])


def read_record(task: RecordedTask, *names: str) -> dict[str, Any] | None:
    """Facts and named arrays of a record; None where there is none with the task's key."""
    return _read_record(task, names)


def _read_record(task: RecordedTask, names: Container[str] | None) -> dict[str, Any] | None:
    """`read_record`; of all arrays where `names` is None."""
    try:
        with open(task.record, "rb") as file:
            checksum, _, line = file.readline().partition(b" ")
            # Not whole, as after a loss of power, is as good as absent: the unit is done again.
            if xxhash.xxh3_64_hexdigest(line[:-1]).encode("ascii") != checksum:
                return None
            head = json.loads(line)
            if head["key"] != task.key:
                return None
            record: dict[str, Any] = head["facts"]
            for name, dtype, shape, checksum in head["arrays"]:
                count = math.prod(shape)
                if names is not None and name not in names:
                    file.seek(count * np.dtype(dtype).itemsize, os.SEEK_CUR)
                    continue
                array = np.fromfile(file, dtype, count)
                if xxhash.xxh3_64_hexdigest(array.view(np.uint8).data) != checksum:
                    return None
                record[name] = array.reshape(shape)
            return record
    except OSError:
        return None


def is_done(task: RecordedTask) -> bool:
    """Whether the task has a whole record; reads all of it."""
    return _read_record(task, None) is not None


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
