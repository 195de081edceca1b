"""Real processes that each read their part: together the same batches, however many they are."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from tests.data.batches.host import TOKENS_PER_STEP, part_of, read_part
from tests.data.settings import NO_CHECK, source_config

STEPS = 16
# Each is forked from a process that has only imported what they need, most of a second's work.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.data.batches.host"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains in several shards and blocks."""
    path = tmp_path_factory.mktemp("hosts")
    rng = np.random.default_rng(0)
    for domain in ("even", "odd"):
        (path / domain).mkdir()
        for number in range(60):
            words = rng.integers(0, 10_000, int(rng.lognormal(3.5, 1)) + 1)
            (path / domain / f"{number:02}.txt").write_text(" ".join(map(str, words)))
    config = DataConfig(
        mixture=tuple(source_config(path=str(path / d), domain=d) for d in ("even", "odd")),
        tokenizer="bytes",
        end_of_text_token="",
        shard_tokens=4_000,
        workers=1,
        selection_share=0.1,
        report_share=0.1,
        split_seed=0,
        near_duplicate_threshold=0.9,
        duplicates="keep",
        contamination=NO_CHECK,
        verify=False,
    )
    prepare(config, path / "store")
    return path / "store"


class Hosts:
    """Processes that run at the same time, and what they have read."""

    def __init__(self, store: Path, folder: Path, count: int, steps: range, stage: Path | str = ""):
        self.count, self.steps = count, steps
        self.files = [folder / f"{steps.start}-{count}-{i}-{bool(stage)}.npz" for i in range(count)]
        self.processes = [
            CONTEXT.Process(
                target=read_part, args=(store, file, str(stage), process, count, steps), daemon=True
            )
            for process, file in enumerate(self.files)
        ]
        for process in self.processes:
            process.start()

    def batches(self) -> dict[str, np.ndarray]:
        """The global arrays, put together from the parts; -1 where no process has read."""
        for process in self.processes:
            process.join(timeout=120)
        assert [process.exitcode for process in self.processes] == [0] * self.count
        found: dict[str, np.ndarray] = {}
        self.read: list[int] = []
        for process, file in enumerate(self.files):
            with np.load(file) as part:
                self.read.append(int(part["read"]))
                for key in set(part.files) - {"read"}:
                    step, name = key.split()
                    if name in ("rows", "strata", "length"):
                        np.testing.assert_array_equal(found.setdefault(key, part[key]), part[key])
                        continue
                    length = int(part[f"{step} length"])
                    whole = np.full((TOKENS_PER_STEP // length, length), -1, np.int32)
                    rows, columns = part_of(length, process, self.count)
                    found.setdefault(key, whole)[rows, columns] = part[key]
        return found


def test_any_number_of_processes_makes_the_same_batches(store: Path, tmp_path: Path) -> None:
    alone = Hosts(store, tmp_path, 1, range(STEPS))
    # A run that is stopped and goes on with another number of processes, twice.
    later = [
        Hosts(store, tmp_path, 8, range(0, 6)),
        Hosts(store, tmp_path, 2, range(6, 11)),
        Hosts(store, tmp_path, 4, range(11, STEPS)),
    ]
    staged = Hosts(store, tmp_path, 2, range(STEPS), stage=tmp_path / "stage")
    expected = alone.batches()
    lengths = {int(expected[f"{step} length"]) for step in range(STEPS)}
    assert lengths == {16, 32, 64, 128}, "of every bucket"
    assert {0, 1} <= set(np.concatenate([expected[f"{s} strata"] for s in range(STEPS)]).tolist())
    found = {key: array for hosts in later for key, array in hosts.batches().items()}
    for batches in (found, staged.batches()):
        assert batches.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(batches[key], array)
    # A process reads what it holds, a token more a row for the shift, and nothing else.
    item = 2
    for hosts in [alone, *later]:
        for process, read in enumerate(hosts.read):
            most = 0
            for step in hosts.steps:
                length = int(expected[f"{step} length"])
                rows, columns = part_of(length, process, hosts.count)
                segments = expected[f"{step} segment_ids"][rows, columns]
                pieces = sum(np.unique(row[row > 0]).size for row in segments)
                most += (np.count_nonzero(segments) + pieces) * item
            assert read == most
