"""The notebooks run from their first cell to their last, at a tiny scale."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.tiny import write_corpus

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = ("quickstart", "task_lab")
MODEL = {
    "model.layers": 1,
    "model.embed_dim": 16,
    "model.num_heads": 2,
    "model.num_kv_heads": 2,
    "model.head_dim": 8,
    "model.mlp_dim": 32,
    "optimizer.warmup_steps": 2,
    "data.workers": 1,
    "eval.bootstrap_samples": 50,
}


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def executed(name, **parameters):
    """The notebook, run with these in place of what its parameters cell says."""
    notebook = read(name)
    (place,) = (
        n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())
    )
    known = notebook.cells[place].source
    assert all(f"{name}" in known for name in parameters), "a test may set what users can set"
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}
    )
    client.execute(env={**os.environ, "XLA_FLAGS": ""})
    return notebook


def said(notebook):
    """All text that it wrote; and of pictures and pages their types."""
    text, types = [], []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            text.append(output.get("text", ""))
            data = output.get("data", {})
            text += [data.get("text/markdown", "")]
            types += list(data)
    return "\n".join(text), types


def test_quickstart(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    notebook = executed(
        "quickstart",
        WORKDIR=str(tmp_path / "run"),
        METHODS=("linear",),
        PROMPT="abc",
        CHANGES={
            **MODEL,
            "data.source": "text",
            "data.path": str(corpus),
            "data.tokenizer": "bytes",
            "data.selection_share": 0.2,
            "data.report_share": 0.2,
            "phase.steps": 8,
            "phase.tokens_per_step": 512,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 64,
            "phase.layout.mixture": "equal_tokens",
            "phase.layout.shares": (),
            "train.eval_every": 0,
            "train.checkpoint_every": 8,
            "eval.documents": 8,
            "eval.min_documents": 4,
            "eval.methods": (),
            "eval.targets_per_block": 8,
            "generate.max_tokens": 8,
        },
    )
    text, types = said(notebook)
    assert "| Plain |" in text or "| plain |" in text.lower()
    assert types.count("image/png") == 5
    assert types.count("text/html") == 1
    assert "--- 'abc'" in text
    results = json.loads((tmp_path / "run" / "eval" / "results.json").read_text())
    assert "linear" in {row["method"] for row in results["rows"]}


@pytest.mark.slow
def test_task_lab(tmp_path):
    small = {"phase.steps": 8, "data.task.samples": 500, "eval.answers.samples": 20}
    notebook = executed(
        "task_lab",
        FOLDER=str(tmp_path),
        TRAINED=(1, 4),
        TESTED=(2, 6, 2),
        CHANGES={**MODEL, **small, "phase.tokens_per_step": 256, "train.eval_every": 0},
        SMALL={**MODEL, **small, "phase.tokens_per_step": 256, "train.eval_every": 0},
        SEEDS=1,
    )
    text, types = said(notebook)
    assert "| majority |" in text
    assert "scratchpad: " in text
    assert "exact match falls under 0.85 at length 2" in text
    assert "verdict: not at this scale" in text
    assert types.count("image/png") == 4
    for folder in ("none", "rope", "ends"):
        assert (tmp_path / folder / "report" / "index.html").exists()
    stored = json.loads((tmp_path / "rope" / "eval" / "comparison.json").read_text())
    assert [each["name"] for each in stored["trainings"]] == ["rope", "none"]
    ends = json.loads((tmp_path / "ends" / "eval" / "answers.json").read_text())
    assert ends["task"]["name"] == "ends"


@pytest.mark.parametrize("name", NAMES)
def test_no_outputs_are_committed(name):
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def first_cell():
    """What installs; the same in all notebooks, as none can import it."""
    (source,) = {read(name).cells[1].source for name in NAMES}
    return source


def run_first_cell(folder, source, **environment):
    return subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "XLA_FLAGS": "", **environment},
    )


def repository(folder, requirements):
    (folder / "lengthwise").mkdir(parents=True)
    (folder / "lengthwise/__init__.py").write_text("")
    (folder / "requirements.txt").write_text(requirements)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "c"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return folder


def test_outside_a_checkout_the_repository_is_cloned(tmp_path):
    pins = f"nbformat=={nbformat.__version__}  # here\nnumpy==0.1; python_version < '3'\n"
    address = repository(tmp_path / "remote", pins)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    source = first_cell()
    assert 'REPOSITORY = ""' in source
    asked = run_first_cell(elsewhere, source)
    assert "Fill in REPOSITORY above" in asked.stderr
    source = source.replace('REPOSITORY = ""', f"REPOSITORY = {str(address)!r}")
    done = run_first_cell(elsewhere, source)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "lengthwise/lengthwise/__init__.py").exists()
    assert "installing" not in done.stdout
    again = run_first_cell(elsewhere, source)  # in a runtime that was restarted
    assert again.returncode == 0, again.stderr


def test_what_is_missing_is_installed_with_the_jax_of_the_device(tmp_path):
    """With no index to install from, pip fails on what it was asked for."""
    folder = repository(
        tmp_path / "checkout", f"nbformat=={nbformat.__version__}\nabsl-py==0.0.1\n"
    )
    for device, extra in (("cpu", "jax"), ("cuda", "jax[cuda12]"), ("tpu", "jax[tpu]")):
        source = first_cell().replace('DEVICE = "auto"', f"DEVICE = {device!r}")
        done = run_first_cell(folder, source, PIP_NO_INDEX="1")
        assert f"installing for {device}: absl-py==0.0.1" in done.stdout
        assert done.returncode != 0
        assert f"'requirements.txt', '{extra}']' returned" in done.stderr
