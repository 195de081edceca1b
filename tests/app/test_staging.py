"""A run that stages blocks says where it reads from, and ends with its threads and its disk."""

import threading

import pytest


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("memory", [0, 1 << 28])
def test_a_run_with_staging(lengthwise, start, tmp_path, memory):
    stage = tmp_path / "stage"
    status, out, errors = lengthwise(
        *start,
        "--config.phase.layout.block_tokens=4000",
        "--config.phase.sampling.shuffle_blocks=2",
        "--config.train.stage_blocks=12",
        f"--config.train.stage_directory={stage}",
        f"--config.train.memory_bytes={memory}",
    )
    assert (status, errors) == (0, [])
    (line,) = [line for line in out.splitlines() if line.startswith("tokens: ")]
    assert f"copies of 12 blocks at most in {stage}" in line
    assert ("would fit into memory" in line) == (memory > 0)
    assert not any(thread.name == "staging" for thread in threading.enumerate())
    assert list(stage.iterdir()) == []


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(("memory", "where"), [(0, "the shards"), (1 << 28, "in memory")])
def test_a_run_without_staging_says_where_it_reads(lengthwise, start, memory, where):
    _, out, _ = lengthwise(*start, f"--config.train.memory_bytes={memory}")
    (line,) = [line for line in out.splitlines() if line.startswith("tokens: ")]
    assert where in line
    assert line.endswith("nothing is staged")
