"""Killed at any moment and started again, a run is bit-identical to one never killed."""

import json
import random
import shutil
import signal
import time

import pytest

from lengthwise.benchmarks.app import chaos, lives
from lengthwise.benchmarks.app.lives import (
    differences,
    kill_when,
    log_of,
    saving,
    step_checksums,
    steps_logged,
)
from lengthwise.train.metrics.writer import read_rows
from tests.app.runs import ROOT
from tests.tiny import write_corpus

STEPS = 120
# What a run says of itself at its end is none of this file's business.
PROGRAM = ("-m", "tests.without_report")


def arguments(corpus, *extra):
    return (
        f"--config={ROOT / 'tests' / 'tiny.py'}",
        f"--config.data.path={corpus}",
        f"--config.phase.steps={STEPS}",
        "--config.eval.methods=()",
        "--config.eval.ratios=(1.0,2.0)",
        *extra,
    )


def start(workdir, corpus, *extra):
    return lives.start(workdir, *arguments(corpus, *extra), program=PROGRAM)


def finish(workdir, corpus, *extra):
    return lives.finish(workdir, *arguments(corpus, *extra), program=PROGRAM)


def checksums(workdir):
    found = step_checksums(workdir)
    assert len(found) == STEPS
    return found


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


def kill_and_finish(workdir, corpus, kills, seed):
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
    kill_and_finish(tmp_path / "run", corpus, kills=3, seed=0)
    assert checksums(tmp_path / "run") == checksums(undisturbed)
    assert differences(undisturbed, tmp_path / "run") == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_kills_are_bit_identical(tmp_path, corpus, undisturbed, seed):
    kill_and_finish(tmp_path / "run", corpus, kills=6, seed=seed)
    assert checksums(tmp_path / "run") == checksums(undisturbed)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGTERM, 143, "terminated at step"),
        pytest.param(signal.SIGINT, 130, "interrupted at step", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_says_so_and_the_run_goes_on(
    number, status, said, tmp_path, corpus, undisturbed
):
    workdir = tmp_path / "run"
    process = start(workdir, corpus)
    while steps_logged(workdir) < 15:
        assert process.poll() is None, log_of(workdir).read_text()
        time.sleep(0.002)
    process.send_signal(number)
    assert process.wait(timeout=120) == status
    output = log_of(workdir).read_text()
    assert said in output
    assert "start again" in output
    status, output = finish(workdir, corpus)
    assert status == 0, output
    assert checksums(workdir) == checksums(undisturbed)


def test_chaos_draws_its_moments_from_the_seed_and_names_what_differs(tmp_path, undisturbed):
    kills, again, others = (
        [chaos.kill_of(number, seed, processes=2) for number in range(40)] for seed in (0, 0, 1)
    )
    assert kills == again != others
    assert {kill.aim for kill in kills} == set(chaos.AIMS)
    assert {kill.process for kill in kills} == {0, 1}
    by_signal = {kill.signal: kill for kill in kills}
    for name, right, wrong in (
        ("SIGTERM", [143, 143], [143, 75]),
        ("SIGKILL", [137, 75], [137, 1]),
        ("SIGTERM", [0, 0], [143, None]),
    ):
        assert chaos.wrong_ends(by_signal[name], right) == []
        assert chaos.wrong_ends(by_signal[name], wrong) != []
    assert chaos.wrong_ends(None, [0]) == []
    assert chaos.wrong_ends(None, [2]) == ["exit statuses [2]"]
    changed = tmp_path / "changed"
    shutil.copytree(undisturbed, changed)
    log = changed / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows:
        if row["kind"] == "train" and row["step"] == 77:
            row["checksum"] = row["checksum"][::-1]
        if row["kind"] == "eval" and row["step"] == STEPS:
            row["score"] += 1e-9
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert differences(undisturbed, changed) == [
        "batch, loss or parameters from step 77 on",
        f"scores from step {STEPS} on",
    ]


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
