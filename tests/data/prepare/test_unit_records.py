"""Records of units: whole, or as good as absent."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lengthwise.data.prepare.unit_records import is_done, read_record, write_record

ARRAYS = {
    "empty": np.zeros((0, 128), np.uint16),
    "hashes": np.arange(6, dtype=np.uint64).reshape(3, 2) << np.uint64(60),
    "lengths": np.array([3, -1, 4]),
}


@dataclass(frozen=True)
class Task:
    record: Path
    key: str = "a key"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    task = Task(tmp_path / "building" / "unit.record")
    write_record(task, {"skipped": {"empty": 2}}, ARRAYS)
    return task


def test_what_was_written_is_read(task: Task) -> None:
    record = read_record(task, "empty", "lengths")
    assert is_done(task)
    assert record is not None
    assert record.pop("skipped") == {"empty": 2}
    assert sorted(record) == ["empty", "lengths"]
    for name, array in record.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_of_another_key_or_absent(task: Task, tmp_path: Path) -> None:
    assert read_record(Task(task.record, "another key")) is None
    assert read_record(Task(tmp_path / "no such file")) is None


def test_every_damage_is_found(task: Task) -> None:
    content = task.record.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        task.record.write_bytes(flipped)
        assert not is_done(task), f"byte {position}"
        task.record.write_bytes(content[:position])
        assert not is_done(task), f"cut to {position} bytes"
