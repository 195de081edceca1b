"""Killed at any moment and started again, a run is bit-identical to one never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny import write_corpus
from train.metrics import read_rows

ROOT = Path(__file__).parents[2]
STEPS = 120


def command(workdir, corpus, *extra):
    return [
        sys.executable,
        str(ROOT / "main.py"),
        f"--config={ROOT / 'tests' / 'tiny.py'}",
        f"--workdir={workdir}",
        f"--config.data.path={corpus}",
        f"--config.phase.steps={STEPS}",
        *extra,
    ]


def environment():
    """One device: the eight of the other tests would only make the steps slower."""
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}


def start(workdir, corpus, *extra):
    return subprocess.Popen(
        command(workdir, corpus, *extra),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(workdir, corpus, *extra):
    process = start(workdir, corpus, *extra)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def steps_logged(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b'"kind": "train"') if path.exists() else 0


def saving(workdir):
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def kill_when(process, condition):
    """SIGKILLs once `condition()` holds; False where the run ended before."""
    while process.poll() is None:
        if condition():
            process.kill()
            process.wait()
            return True
        time.sleep(0.001)
    return False


def checksums(workdir):
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row["checksum"] for row in rows]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, corpus):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    status, output = finish(workdir, corpus)
    assert status == 0, output
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    assert {row["bucket"] for row in rows} == {16, 32, 64}
    return workdir


def killed_run(workdir, corpus, kills, seed):
    """Kills at seeded steps, once inside a save, then lets it finish."""
    rng = random.Random(seed)
    inside_save = False
    for number in range(kills):
        process = start(workdir, corpus)
        base = steps_logged(workdir)
        if number == 1:
            inside_save |= kill_when(process, lambda base=base: saving(workdir))
        else:
            target = base + rng.randint(3, 25)
            kill_when(process, lambda target=target: steps_logged(workdir) >= target)
    assert inside_save
    status, output = finish(workdir, corpus)
    assert status == 0, output
    resumed = [int(line.split()[3]) for line in output.splitlines() if "resuming at step" in line]
    assert resumed
    assert resumed[0] > 0


def test_a_killed_run_is_bit_identical(tmp_path, corpus, undisturbed):
    killed_run(tmp_path / "run", corpus, kills=3, seed=0)
    assert checksums(tmp_path / "run") == checksums(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_kills_are_bit_identical(tmp_path, corpus, undisturbed, seed):
    killed_run(tmp_path / "run", corpus, kills=6, seed=seed)
    assert checksums(tmp_path / "run") == checksums(undisturbed)


def test_sigterm_saves_and_says_so_and_a_longer_run_goes_on(tmp_path, corpus, undisturbed):
    workdir = tmp_path / "run"
    process = start(workdir, corpus)
    while steps_logged(workdir) < 15:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert "terminated at step" in output
    assert "start again" in output
    status, output = finish(workdir, corpus)
    assert status == 0, output
    assert checksums(workdir) == checksums(undisturbed)


def test_lengthening_a_run_rewrites_nothing(tmp_path, corpus, undisturbed):
    workdir = tmp_path / "run"
    status, output = finish(workdir, corpus, "--config.phase.steps=40")
    assert status == 0, output
    first = [r for r in read_rows(workdir / "metrics.jsonl") if r["kind"] == "train"]
    status, output = finish(workdir, corpus, "--config.phase.steps=60")
    assert status == 0, output
    rows = [r for r in read_rows(workdir / "metrics.jsonl") if r["kind"] == "train"]
    assert rows[:40] == first
    assert [row["step"] for row in rows] == list(range(1, 61))
