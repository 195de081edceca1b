"""Blocks copied to local disk: reads stay the same, the disk stays bounded, errors come out."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.batches import staging
from lengthwise.data.batches.staging import StagedReader, check_room
from lengthwise.data.store.memory_reader import MemoryReader

BLOCKS, BLOCK = 12, 100
OFFSETS = np.arange(BLOCKS + 1) * BLOCK
TOKENS = np.random.default_rng(0).integers(0, 50_000, BLOCKS * BLOCK).astype("<u2")


class CountedSource(MemoryReader):
    """Counts the copies and the direct reads."""

    dtype = TOKENS.dtype

    def __init__(self) -> None:
        super().__init__(TOKENS)
        self.copied: list[int] = []
        self.direct = 0

    def ranges(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        self.copied.append(begin // BLOCK)
        yield begin, 40
        yield begin + 40, end - begin - 40

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        self.direct += starts.size
        return super().read_rows(starts, length)


def blocks_of_step(step: int) -> np.ndarray:
    return np.array([step // 3 % BLOCKS, (step // 5 + 1) % BLOCKS])


def staged(source: CountedSource, directory: Path, **changes) -> StagedReader:
    arguments = {"capacity": 4, "steps": range(200)} | changes
    return StagedReader(source, OFFSETS, blocks_of_step, directory=directory, **arguments)


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("did not happen within 10 s")


def test_reads_are_those_of_the_source_wherever_they_fall(tmp_path: Path) -> None:
    source = CountedSource()
    reader = staged(source, tmp_path)
    rng = np.random.default_rng(1)
    for step in range(200):
        blocks = rng.choice(blocks_of_step(step), 9)
        starts = blocks * BLOCK + rng.integers(0, BLOCK - 20, 9)
        rows = reader.read_rows(starts, 20)
        np.testing.assert_array_equal(rows, [TOKENS[start : start + 20] for start in starts])
        sizes = rng.integers(0, 20, 9).astype(np.int32)
        wanted = [TOKENS[start : start + n] for start, n in zip(starts, sizes, strict=True)]
        np.testing.assert_array_equal(reader.read_pieces(starts, sizes), np.concatenate(wanted))
        reader.finished(step)
        assert len(reader._copies) <= 4
    reader.close()
    assert source.direct < 200 * 9


def test_what_is_staged_is_not_read_from_the_source(tmp_path: Path) -> None:
    source = CountedSource()
    reader = staged(source, tmp_path)
    wait_for(lambda: set(blocks_of_step(0).tolist()) <= set(reader._copies))
    for step in range(200):
        blocks = blocks_of_step(step)
        wait_for(lambda: set(blocks.tolist()) <= set(reader._copies))  # noqa: B023
        reader.read_rows(blocks * BLOCK, 5)
        reader.finished(step)
    reader.close()
    assert source.direct == 0
    # 200 steps walk over 67 + 40 blocks; each is copied once while it is in use.
    assert len(source.copied) <= 67 + 40


def test_no_more_copies_than_allowed_and_none_that_is_still_needed_dropped(tmp_path: Path) -> None:
    source = CountedSource()
    reader = staged(source, tmp_path)
    wait_for(lambda: len(reader._copies) == 4)
    time.sleep(0.05)
    assert len(source.copied) == 4, "waits until steps are finished"
    assert set(blocks_of_step(0).tolist()) <= set(reader._copies)
    reader.finished(30)
    wait_for(lambda: set(blocks_of_step(31).tolist()) <= set(reader._copies))
    wait_for(lambda: len(reader._copies) == 4)  # others are on their way
    reader.close()


def test_lagging_behind_skips_what_is_past(tmp_path: Path) -> None:
    source = CountedSource()
    reader = staged(source, tmp_path)
    wait_for(lambda: len(reader._copies) == 4)
    reader.finished(150)
    wait_for(lambda: set(blocks_of_step(151).tolist()) <= set(reader._copies))
    reader.close()
    assert len(source.copied) < 15


def test_a_copy_that_the_step_needs_does_not_make_room_for_another(tmp_path: Path) -> None:
    source = CountedSource()
    steps = {0: [1, 2, 3], 1: [0, 1, 2]}
    reader = StagedReader(
        source,
        OFFSETS,
        lambda step: np.array(steps[step]),
        directory=tmp_path,
        capacity=3,
        steps=range(2),
    )
    wait_for(lambda: len(reader._copies) == 3)
    reader.finished(0)
    wait_for(lambda: {0, 1, 2} <= set(reader._copies))
    reader.close()
    assert source.copied == [1, 2, 3, 0]


def test_more_blocks_than_room_are_not_copied_for_a_step_that_is_past(tmp_path: Path) -> None:
    source = CountedSource()
    reader = StagedReader(
        source,
        OFFSETS,
        lambda step: np.arange(6) + 6 * step,
        directory=tmp_path,
        capacity=4,
        steps=range(2),
    )
    wait_for(lambda: len(reader._copies) == 4)
    reader.finished(0)
    wait_for(lambda: {6, 7, 8, 9} <= set(reader._copies))
    reader.close()
    assert source.copied == [0, 1, 2, 3, 6, 7, 8, 9]


def test_closing_frees_the_disk_and_ends_the_thread(tmp_path: Path) -> None:
    reader = staged(CountedSource(), tmp_path)
    wait_for(lambda: len(reader._copies) == 4)
    assert list(tmp_path.iterdir()) == [], "files without names go with the process"
    reader.close()
    assert not any(thread.name == "staging" for thread in threading.enumerate())
    mapped = Path("/proc/self/maps").read_text()
    assert str(tmp_path) not in mapped


def test_a_reader_that_nobody_closed_keeps_no_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.data.batches.test_staging import CountedSource, staged\n"
        "reader = staged(CountedSource(), Path(sys.argv[1])); print('copying')"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "copying\n"


def fails_when_read(reader: StagedReader) -> str:
    with pytest.raises(UserError) as caught:
        wait_for(lambda: (reader.read_rows(OFFSETS[:2], 3), reader.finished(10**6))[0] is None)
    reader.close()
    return str(caught.value)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "wb")  # noqa: SIM115
    monkeypatch.setattr(staging, "check_room", lambda *_: None)
    monkeypatch.setattr(staging.tempfile, "TemporaryFile", lambda dir: full)
    message = fails_when_read(staged(CountedSource(), tmp_path))
    assert "No space left on device; free some room, lower train.stage_blocks" in message


def test_a_source_that_vanishes_is_raised_where_it_is_read(tmp_path: Path) -> None:
    class Vanished(CountedSource):
        def read(self, start: int, length: int) -> np.ndarray:
            raise UserError("cannot read shards/00003.bin: Stale file handle")

    assert "Stale file handle" in fails_when_read(staged(Vanished(), tmp_path))


def test_no_room_and_no_directory_are_found_at_the_start(tmp_path: Path) -> None:
    huge = np.array([0, 2**50])
    with pytest.raises(UserError, match=r"train\.stage_blocks = 3 blocks are .* GB left"):
        check_room(tmp_path / "new", 3, huge, CountedSource())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot stage blocks in .*choose another train.stage_dir"):
        check_room(tmp_path / "file", 3, OFFSETS, CountedSource())
