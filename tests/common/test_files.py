"""Files that are whole or absent."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lengthwise.common.files import atomic_write, write_figures


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """As on two machines that share a folder, where processes may have the same id."""
    path = tmp_path / "file"

    def chunks() -> Iterator[bytes]:
        yield b"out"
        atomic_write(path, [b"inner"])
        assert path.read_bytes() == b"inner"
        yield b"er"

    atomic_write(path, chunks())
    assert path.read_bytes() == b"outer"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_left_out_by_name(
    tmp_path: Path, bad: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    content = {"rows": [{"value": 1.5}, {"value": bad}], "n": 3, "left_out": ("before",), "x": None}
    write_figures(path, content)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    reason = f"rows[1].value is {bad}, not a finite number"
    assert found.pop("left_out") == ["before", reason]
    assert found == {"rows": [{"value": 1.5}, {"value": None}], "n": 3, "x": None}
    assert f"left out of {path}: {reason}" in capsys.readouterr().out
    write_figures(path, {"value": 1.5})
    assert json.loads(path.read_text()) == {"value": 1.5}
