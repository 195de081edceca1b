"""What a start imports: each mode what it uses, and nothing that only its end needs."""

import json
import os
import subprocess
import sys

import pytest

from tests.app.runs import CONFIG, ROOT, RUN

SOURCES = {"tokenizers", "pyarrow", "tensorflow_datasets", "apache_beam", "datasets"}
DRAWING = {"scipy", "matplotlib", "jinja2", "pandas"}
DEVICES = {"jax", "flax", "optax", "orbax", "grain", "tensorboardX"}


def packages(output):
    """Top-level packages that -X importtime lists."""
    lines = [line.split("|") for line in output.splitlines() if line.startswith("import time:")]
    return {line[2].strip().partition(".")[0] for line in lines[1:]}


def imported(*command):
    """(packages that a Python command imports, its output)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return packages(done.stderr), done.stdout


@pytest.fixture(scope="module")
def run(corpus, store):
    return (f"--config={CONFIG}", f"--config.data.path={corpus}", f"--config.data.store={store}")


def test_training_imports_no_drawing_and_no_reader_before_its_first_step(run, tmp_path):
    found, output = imported(
        *("-m", "lengthwise.benchmarks.app.start_parts", f"--workdir={tmp_path / 'run'}"),
        *(*run, *RUN),
    )
    names = [name for name, _, _ in json.loads(output.splitlines()[-1])]
    assert names[0] == "python, flags"
    assert names[-1] == "first step"
    assert found >= DEVICES
    assert not found & (SOURCES | DRAWING)


def test_preparing_imports_nothing_that_computes(run, tmp_path):
    found, output = imported("main.py", "--mode=prepare", f"--workdir={tmp_path / 'run'}", *run)
    assert "documents" in output
    assert "numpy" in found
    assert not found & (SOURCES | DRAWING | DEVICES)


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("app.session, lengthwise.app.text, lengthwise.app.task", {"tensorboardX"}),
        ("app.checkpoint, lengthwise.eval.inference.generation", {"tensorboardX"}),
        ("train.plan.planner", {"tensorboardX"}),
    ],
)
def test_a_module_imports_what_its_mode_uses(module, unused):
    found, _ = imported("-c", f"import lengthwise.{module}")
    assert "jax" in found
    # While Grain loads, imports of all threads are lazy, so that jax fails in one that compiles.
    assert "grain" in found
    assert not found & (SOURCES | DRAWING | unused)
