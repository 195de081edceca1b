"""The wheel, installed into an environment of its own and used from another folder."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).parents[2]
# Below the folder of the installed package, or the root of a clone.
ROOMS = ("common", "configs", "data", "model", "train", "eval", "app")
# The command line, then a look at every loaded module of FOLDER: each has one name.
RUN = """
import collections, sys
from lengthwise.app.command import cli
try:
    cli.entry()
except SystemExit as end:
    if end.code:
        raise
names = collections.defaultdict(list)
for name, module in sys.modules.items():
    file = getattr(module, "__file__", None) or ""
    # --config runs its file by its path, under the name of the flag.
    if file.startswith(FOLDER) and name != "config_config":
        names[file].append(name)
assert len(names) > 50, names
assert all(len(n) == 1 and n[0].startswith("lengthwise") for n in names.values()), names
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(python, site-packages) of an environment with the wheel; its dependencies are those here."""
    folder = tmp_path_factory.mktemp("installed")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir")
    subprocess.run([sys.executable, *build, f"--wheel-dir={folder}", str(ROOT)], check=True)
    (wheel,) = folder.glob("lengthwise-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    install = ("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel))
    subprocess.run([sys.executable, *install], check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, site


def test_trains_from_another_folder(installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = installed
    corpus = tiny.write_corpus(tmp_path / "corpus", documents=120)
    arguments = (
        "--config=configs/bytes.py",  # that of the package: there is none in this folder
        "--workdir=run",
        "--mode=train",
        "--config.data.source=text",
        f"--config.data.path={corpus}",
        "--config.phase.steps=10",
        "--config.phase.budget_steps=10",
        "--config.phase.tokens_per_step=256",
        "--config.phase.layout.smallest_bucket=32",
        "--config.phase.layout.largest_bucket=32",
        "--config.phase.layout.mixture=natural",
        "--config.phase.layout.shares=()",
        "--config.optimizer.warmup_steps=2",
        "--config.model.layers=1",
        "--config.eval.documents=16",
        "--config.eval.min_documents=4",
        "--config.eval.targets_per_row=2",
        "--config.eval.ratios=(1.0,2.0)",
        "--config.eval.methods=()",
    )
    code = RUN.replace("FOLDER", repr(str(site / "lengthwise")))
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert sum(row["kind"] == "train" for row in rows) == 10
    assert (tmp_path / "run" / "report" / "index.html").exists()


@pytest.mark.parametrize("command", [["{bin}/lengthwise"], ["{bin}/python", "-m", "lengthwise"]])
def test_the_command_runs_from_another_folder(
    installed: tuple[Path, Path], tmp_path: Path, command: list[str]
) -> None:
    python, _ = installed
    named = [part.format(bin=python.parent) for part in command]
    done = subprocess.run([*named, "--workdir=run"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --config is missing")
    assert not list(tmp_path.iterdir())


def test_the_wheel_says_whose_it_is(installed: tuple[Path, Path]) -> None:
    _, site = installed
    (folder,) = site.glob("lengthwise-*.dist-info")
    metadata = (folder / "METADATA").read_text("utf-8")
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Author: The Lengthwise authors\n" in metadata
    assert (folder / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_one_name_among_the_packages(installed: tuple[Path, Path]) -> None:
    _, site = installed
    found = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert found <= {"lengthwise", "pip", "setuptools", "__pycache__"}
    assert {path.name for path in (site / "lengthwise").iterdir()} >= set(ROOMS)


def test_a_clone_has_one_name_too() -> None:
    code = (
        "import lengthwise.data.layouts, sys; print(sorted(set(sys.modules) & {'data', 'model'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
