"""Runs of several real processes: the same as one, whoever of them is killed or told to end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from lengthwise.train.metrics.writer import read_rows
from tests.app.runs import CONFIG, ROOT, losses, steps_on_disk

DEVICES = 8
STEPS = 12
SECONDS_TO_NOTICE = 60
TOLERANCE = 2e-5  # relative, of losses on another division of the same devices
SETTINGS = (
    f"--config.phase.steps={STEPS}",
    "--config.phase.tokens_per_step=128",  # 4 and 2 rows: two views of the 8 devices
    "--config.phase.layout.smallest_bucket=32",
    "--config.train.checkpoint_every=4",
    "--config.train.eval_every=0",
    "--config.eval.ratios=(1.0,2.0)",
    "--config.eval.methods=()",
)


class Run:
    """Processes on one machine that divide the devices between them."""

    def __init__(self, count, workdir, data, *extra, devices=DEVICES, scored=False, held=False):
        self.workdir = workdir
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "XLA_FLAGS": "",
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices // count),
            **({} if scored else {"UNSCORED": "1"}),
            **({"HELD": "1"} if held else {}),
        }
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.without_report"),
                    *(f"--config={CONFIG}", f"--workdir={workdir}", *data, *SETTINGS, *extra),
                    *("--distributed", f"--coordinator=localhost:{port}"),
                    *(f"--num_processes={count}", f"--process_id={number}"),
                ],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(count)
        ]

    def wait_for_step(self, step):
        path = self.workdir / "metrics.jsonl"
        self.wait(lambda: path.exists() and path.read_bytes().count(b'"kind": "train"') >= step)

    def wait(self, holds):
        while not holds():
            assert all(process.poll() is None for process in self.processes), self.outputs()
            time.sleep(0.01)

    def outputs(self, timeout=300):
        return [process.communicate(timeout=timeout)[0] for process in self.processes]

    def finish(self):
        outputs = self.outputs()
        assert [process.returncode for process in self.processes] == [0] * len(outputs), outputs
        return outputs


def checksums(workdir):
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row["checksum"] for row in rows]


def nats(workdir):
    rows = json.loads((workdir / "eval" / "results.json").read_text())["rows"]
    return {
        (row["metric"], row["method"], row["context_from"], row["context"]): row["value"]
        for row in rows
        if row["unit"] == "nats/token"
    }


@pytest.fixture(scope="module")
def shared_data(corpus, store):
    return f"--config.data.path={corpus}", f"--config.data.store={store}"


@pytest.fixture(scope="module")
def of_one(tmp_path_factory, shared_data):
    run = Run(1, tmp_path_factory.mktemp("one") / "run", shared_data, scored=True)
    run.finish()
    return run.workdir


@pytest.fixture(scope="module")
def of_two(tmp_path_factory, shared_data):
    run = Run(2, tmp_path_factory.mktemp("two") / "run", shared_data, scored=True)
    first, second = run.finish()
    assert "bucket 64" in first
    assert "bucket 64" not in second, "results are told once"
    return run.workdir


def test_two_processes_train_and_score_as_one_does(of_one, of_two):
    found, expected = losses(of_two), losses(of_one)
    assert (
        len({row["bucket"] for row in read_rows(of_two / "metrics.jsonl") if "bucket" in row}) == 2
    )
    np.testing.assert_allclose(
        [found[step] for step in range(1, STEPS + 1)],
        [expected[step] for step in range(1, STEPS + 1)],
        rtol=TOLERANCE,
    )
    scores, expected_scores = nats(of_two), nats(of_one)
    assert scores.keys() == expected_scores.keys()
    for key, value in expected_scores.items():
        np.testing.assert_allclose(scores[key], value, atol=2e-5)
    (end,) = [row for row in read_rows(of_two / "metrics.jsonl") if row["kind"] == "end"]
    assert end["reason"] == "finished"


def test_a_signal_saves_once_for_all_and_a_kill_ends_all(tmp_path, shared_data, of_two):
    workdir = tmp_path / "run"
    run = Run(2, workdir, shared_data, "--config.train.checkpoint_every=100")
    run.wait_for_step(3)
    run.processes[1].send_signal(signal.SIGTERM)
    first, second = run.outputs()
    assert [process.returncode for process in run.processes] == [143, 143], (first, second)
    assert first.count("checkpoint saved") == 1
    (saved,) = steps_on_disk(workdir)
    assert 3 <= saved < STEPS

    run = Run(2, workdir, shared_data, "--config.train.checkpoint_every=100")
    run.wait_for_step(saved + 1)
    run.processes[1].kill()
    killed = time.monotonic()
    first, _ = run.outputs(SECONDS_TO_NOTICE)
    assert time.monotonic() - killed < SECONDS_TO_NOTICE
    assert run.processes[0].returncode not in (0, 2), first
    assert "one is gone" in first or "another task died" in first, first
    assert steps_on_disk(workdir) == [saved]

    told, _ = Run(2, workdir, shared_data).finish()
    assert f"resuming at step {saved} of {STEPS}" in told
    assert checksums(workdir) == checksums(of_two)


def test_a_process_that_is_killed_before_they_have_met_ends_the_others(tmp_path, shared_data):
    run = Run(2, tmp_path / "run", shared_data)
    run.wait(lambda: len([*(tmp_path / "run" / "meeting").glob("*.process")]) == 2)
    run.processes[0].kill()  # to which the other one would connect for five minutes
    outputs = run.outputs(SECONDS_TO_NOTICE)
    assert run.processes[1].returncode == 75, outputs
    assert "another process of the run ended before all of them had met" in outputs[1]


@pytest.mark.parametrize("receiver", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_signal_while_the_first_one_scores_ends_all(tmp_path, shared_data, of_two, receiver):
    workdir = tmp_path / "run"
    shutil.copytree(of_two, workdir)
    results = workdir / "eval" / "results.json"
    results.unlink()
    run = Run(2, workdir, shared_data, scored=True, held=True)
    run.wait(results.exists)  # the report would take ten minutes now, and the second one waits
    run.processes[receiver].send_signal(signal.SIGTERM)
    first, second = run.outputs(SECONDS_TO_NOTICE)
    assert [process.returncode for process in run.processes] == [143, 143], (first, second)
    assert "terminated; the same command goes on" in first
    assert "error" not in first + second
    assert steps_on_disk(workdir) == steps_on_disk(of_two)


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [0, 2])
def test_a_signal_in_start_up_ends_all_of_four(tmp_path, shared_data, receiver):
    run = Run(4, tmp_path / "run", shared_data)
    run.wait((run.workdir / "lock").exists)  # they have met
    run.processes[receiver].send_signal(signal.SIGTERM)
    outputs = run.outputs(SECONDS_TO_NOTICE)
    assert [process.returncode for process in run.processes] == [143] * 4, outputs
    assert "terminated" in outputs[0]
    assert not (run.workdir / "metrics.jsonl").exists()


@pytest.fixture
def at_step_8(tmp_path, of_two):
    """The work directory of two processes as it was when the checkpoint of step 8 was new."""
    workdir = tmp_path / "run"
    shutil.copytree(of_two, workdir)
    shutil.rmtree(workdir / "checkpoints" / str(STEPS))
    assert steps_on_disk(workdir) == [8]
    return workdir


@pytest.mark.parametrize(
    ("count", "devices"),
    [
        pytest.param(1, 8, marks=pytest.mark.slow),
        pytest.param(1, 4, marks=pytest.mark.slow),
        (4, 8),
    ],
)
def test_a_checkpoint_of_two_processes_goes_on_under_another_number(
    shared_data, of_two, at_step_8, count, devices
):
    run = Run(count, at_step_8, shared_data, devices=devices)
    told = run.finish()[0]
    assert f"resuming at step 8 of {STEPS}" in told
    found, expected = losses(at_step_8), losses(of_two)
    np.testing.assert_allclose(
        [found[step] for step in range(1, STEPS + 1)],
        [expected[step] for step in range(1, STEPS + 1)],
        rtol=TOLERANCE,
    )


@pytest.mark.slow
def test_a_process_that_hangs_is_missed(tmp_path, shared_data):
    """Its connections stay open: only its heartbeat is missing."""
    run = Run(2, tmp_path / "run", shared_data)
    run.wait_for_step(6)
    hung = run.processes[1]
    hung.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    first, _ = run.processes[0].communicate(timeout=SECONDS_TO_NOTICE + 30)
    hung.kill()
    hung.communicate()
    assert time.monotonic() - began < SECONDS_TO_NOTICE, first
    assert run.processes[0].returncode not in (0, 2), first


def test_what_is_wrong_with_one_process_names_it_and_ends_all(tmp_path, shared_data):
    run = Run(2, tmp_path / "run", shared_data, "--config.phase.steps=0")
    for number, (process, output) in enumerate(zip(run.processes, run.outputs(), strict=True)):
        assert process.returncode == 2, output
        assert f"process {number} of 2 ({socket.gethostname()}): error: " in output
        assert "Traceback" not in output


def test_flags_of_several_processes_belong_together(refused, start):
    assert "add --distributed" in refused(*start, "--process_id=1")
    assert "must be given together" in refused(*start, "--distributed", "--process_id=1")
    assert "must be below --num_processes=2" in refused(
        *start, "--distributed", "--coordinator=a:1", "--num_processes=2", "--process_id=2"
    )
