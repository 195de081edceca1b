"""The recipes of docs/extend.md, written outside of the repository and used."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lengthwise.train.metrics.writer import read_rows
from tests import tiny
from tests.app.runs import CONFIG, ROOT

PAGE = ROOT / "docs" / "extend.md"
SECTION = re.compile(r"^## (?:A|An) ([a-z ]+)\n(.*?)(?=^## |\Z)", re.S | re.M)
CODE = re.compile(r"```python\n(.*?)```", re.S)
RECIPES = {kind: CODE.findall(text)[-1] for kind, text in SECTION.findall(PAGE.read_text())}
# What each recipe of a run on text is chosen by.
CHOSEN = {
    "position scheme": ("model.positions.scheme=mine", "model.positions.mine.power=2.0"),
    "mask of layers": ("model.layer_pattern=('mine/later_part:divisor=3','mine')",),
    "layout": (
        "phase.layout.name=mine",
        "phase.layout.mine.skip=3",
        "phase.layout.mixture=natural",
    ),
    "source": ("data.source=mine",),
    "curriculum": ("phase.curriculum.name=mine", "phase.curriculum.mine.base=3.0"),
    "scorer": (
        "eval.scorers=('last_tokens',)",
        "eval.during=('last_tokens','last_code')",
        "eval.last_tokens.count=2",
    ),
    "optimizer": ("optimizer.name=mine", "optimizer.mine.beta2=0.98"),
    "stopping score": ("stopping.score=mine", "stopping.mine.weight=0.75"),
    "tracker": ("tracking.trackers=('tensorboard','mine')", "tracking.mine.digits=2"),
    "part of a method": ("eval.methods=('mine:share=0.25',)",),
    "prompt task": ("eval.tasks=('last_code',)", "eval.prompts=4"),
}
RUN = (
    "--config.phase.steps=8",
    "--config.train.checkpoint_every=4",
    "--config.train.eval_every=4",
    "--config.eval.ratios=(1.0,2.0)",
)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """main.py, started in `folder`."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module for each recipe, and a config file that imports them."""
    folder = tmp_path_factory.mktemp("outside")
    names = {kind: "my_" + kind.replace(" ", "_") for kind in RECIPES}
    for kind, name in names.items():
        (folder / f"{name}.py").write_text(RECIPES[kind])
    imports = "".join(f"import {name}\n" for name in names.values())
    (folder / "my_config.py").write_text(
        f"{imports}from tests import tiny\n\n\ndef get_config():\n    return tiny.get_config()\n"
    )
    tiny.write_corpus(folder / "corpus")
    return folder


def flags_of(*kinds: str) -> list[str]:
    return [f"--config.{change}" for kind in kinds for change in CHOSEN[kind]]


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The work directory of a run that was trained and scored with all that text can have."""
    arguments = ("--config=my_config.py", "--workdir=run", "--config.data.path=corpus", *RUN)
    done = run(folder, *arguments, *flags_of(*CHOSEN))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_recipes_are_short() -> None:
    for kind, code in RECIPES.items():
        assert len(code.splitlines()) <= 30, kind


def test_a_run_of_parts_from_outside_is_trained_and_scored(trained: Path) -> None:
    rows = [row for row in read_rows(trained / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [*range(1, 9)]
    results = json.loads((trained / "eval" / "results.json").read_text())
    assert "mine:share=0.25" in {row["method"] for row in results["rows"]}
    config = json.loads((trained / "config.json").read_text())
    assert config["model"]["positions"]["mine"] == {"slope": 0.1, "power": 2.0}
    assert config["optimizer"]["mine"] == {"beta1": 0.9, "beta2": 0.98}


def test_scorers_from_outside_are_on_the_card_and_in_training(trained: Path) -> None:
    rows = [row for row in read_rows(trained / "metrics.jsonl") if row["kind"] == "eval"]
    assert all(row["scores"]["last_tokens@64"]["value"] > 0 for row in rows)
    card = json.loads((trained / "eval" / "card.json").read_text())
    judged = {each["scorer"]: each for each in card["entries"][0]["judgements"]}
    assert judged["last_tokens"]["lengths"] == [64, 128]
    assert judged["last_code"]["lengths"] == [128]


def test_the_best_checkpoint_goes_by_a_score_from_outside(trained: Path) -> None:
    rows = [row for row in read_rows(trained / "metrics.jsonl") if row["kind"] == "eval"]
    for row in rows:
        mean = 0.75 * row["score"] + 0.25 * row["in_range_score"]
        assert row["stopping_score"] == pytest.approx(mean)
    assert rows[-1]["best_score"] == min(row["stopping_score"] for row in rows)


def test_a_tracker_from_outside_sees_losses_and_the_card(trained: Path) -> None:
    rows = [row for row in read_rows(trained / "metrics.jsonl") if row["kind"] == "train"]
    *lines, last = (trained / "losses.txt").read_text().splitlines()
    assert lines == [f"{row['step']} {row['loss']:.2f}" for row in rows]
    pictures = len(list((trained / "report").glob("*.png")))
    numbers = re.fullmatch(rf"(\d+) numbers, {pictures} pictures", last)
    assert numbers
    assert int(numbers[1]) > pictures > 0


def test_it_goes_on_where_it_was(folder: Path, trained: Path) -> None:
    before = (trained / "metrics.jsonl").read_text()
    arguments = ("--config=my_config.py", "--workdir=run", "--config.data.path=corpus", *RUN)
    more = "--config.phase.steps=10"
    done = run(folder, *arguments, *flags_of(*CHOSEN), more)
    assert done.returncode == 0, done.stderr
    assert (trained / "metrics.jsonl").read_text().startswith(before[: before.rindex("\n{")])
    other = run(folder, *arguments, *flags_of(*CHOSEN), "--config.model.positions.mine.power=3.0")
    assert "model.positions.mine.power: 2.0 -> 3.0" in other.stderr


def test_a_saved_config_is_read_without_its_config_file(folder: Path, trained: Path) -> None:
    saved = json.loads((trained / "config.json").read_text())
    assert saved["extensions"] == sorted("my_" + kind.replace(" ", "_") for kind in RECIPES)
    read = "import json, sys; from lengthwise.configs.resolve import from_saved; "
    read += "run = from_saved(json.load(open(sys.argv[1]))); print(run.optimizer.name)"
    command = [sys.executable, "-c", read, str(trained / "config.json")]
    for path, output in ((f"{ROOT}:{folder}", "mine\n"), (str(ROOT), "")):
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout == output, done.stderr
    assert f"components of the module {saved['extensions'][0]!r}" in done.stderr


def test_processes_read_a_source_from_outside(folder: Path) -> None:
    mixture = "({'domain': 'one', 'path': 'corpus'}, {'domain': 'two', 'path': 'corpus'})"
    done = run(
        folder, "--config=my_config.py", "--workdir=prepared", "--mode=prepare",
        "--config.data.source=mine", "--config.data.workers=2", f"--config.data.mixture={mixture}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "prepared" / "store" / "manifest.json").read_text())
    assert manifest["source"] == "one: capitals of corpus; two: capitals of corpus"


def test_an_algorithmic_task_is_trained_and_scored(folder: Path) -> None:
    (folder / "my_task_config.py").write_text(
        "import my_algorithmic_task\n\nfrom lengthwise.configs.task import get_config\n"
    )
    done = run(
        folder, "--config=my_task_config.py", "--workdir=task",
        "--config.data.task.name=mine", "--config.data.task.samples=70_000",
        "--config.data.workers=2",
        "--config.model.layers=1", "--config.phase.steps=2", "--config.optimizer.warmup_steps=1",
        "--config.phase.layout.smallest_bucket=16", "--config.phase.layout.largest_bucket=16",
        "--config.eval.answers.lengths=(1,3,1)", "--config.eval.answers.samples=8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "task" / "store" / "manifest.json").read_text())
    assert manifest["source"].startswith("task mine: 70,000 samples")


def test_a_setting_out_of_range_is_named(folder: Path) -> None:
    wrong = "--config.model.positions.mine.power=5.0"
    chosen = "--config.model.positions.scheme=mine"
    done = run(folder, "--config=my_config.py", "--workdir=never", chosen, wrong)
    assert done.returncode == 2
    assert "model.positions.mine.power is 5.0, but must lie in [0, 4]" in done.stderr
    unknown = run(folder, f"--config={CONFIG}", "--workdir=never", wrong)
    assert "unknown config field --config.model.positions.mine.power" in unknown.stderr
