"""Files that are whole or absent."""

from collections.abc import Iterator
from pathlib import Path

from lengthwise.common.files import atomic_write


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
