"""A grid from its first rate to its last verdict, with runs that are planted."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.experiments import grid as command
from lengthwise.experiments.grid import Sitting
from lengthwise.experiments.text import run as runs
from lengthwise.experiments.text.code_version import code_fingerprint, meaning
from lengthwise.experiments.text.design import TextClaim
from lengthwise.experiments.text.measures import nll
from lengthwise.experiments.text.plan import make_plan, plan_path, read_plan, write_plan
from lengthwise.experiments.text.row import read_rows
from lengthwise.train.machine.workdir import InUseError
from tests.experiments.text.planted import GRID, WHEN, WORTH, losses, row_for


@pytest.fixture
def trained(monkeypatch):
    """Runs that have been trained, in their order; training one takes no time."""
    log = []

    def train(run, file, directory):
        log.append((run.purpose, run.arm.name, run.seed, run.rate))
        runs.add_row(file, row_for(run, losses(run)))
        return 0

    monkeypatch.setattr(runs, "_train", train)
    return log


@pytest.fixture
def sitting(tmp_path):
    git(tmp_path, "init", "-q")
    return Sitting(GRID, tmp_path / "claims", tmp_path / "runs", None)


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def commit(sitting):
    git(sitting.stored, "add", ".")
    git(sitting.stored, "commit", "-qm", "plan")


def test_rates_then_pilots_then_a_committed_plan_then_runs(sitting, trained, capsys):
    assert sitting.advance(WORTH) == 0
    tried = [("rate", "good", s, rate) for rate in (1e-3, 2e-3) for s in (2000, 2001)]
    tried += [("rate", "bad", s, 1e-3) for s in (2000, 2001)]
    pilots = [("pilot", "bad", seed, 1e-3) for seed in (1000, 1001, 1002, 1003)]
    assert trained == [*tried, *pilots]
    path = plan_path(sitting.stored, GRID, WORTH)
    plan = json.loads(path.read_text())
    assert plan["rates"] == {"one": 1e-3, "two": 1e-3}  # the lower loss
    assert plan["seeds"] == [0, 1, 2]
    assert plan["level"] == pytest.approx(3.0, abs=0.03)
    assert "read and commit it" in capsys.readouterr().out
    # Not a run before the commit; nor after a change that isn't committed.
    for prepare in (
        lambda: None,
        lambda: (commit(sitting), path.write_text(path.read_text() + " ")),
    ):
        prepare()
        with pytest.raises(UserError, match=r"worth.json isn't committed: margins, rates and"):
            sitting.advance(WORTH)
    assert len(trained) == 10
    commit(sitting)
    assert sitting.advance(WORTH) == 0
    counted = [("main", arm, s, 1e-3) for s in (0, 1, 2) for arm in ("good", "bad")]
    assert trained[10:] == counted
    assert capsys.readouterr().out.count("**reproduced**") == 2
    # Again: nothing is trained. Another question of the same arms: nothing but its plan.
    assert sitting.advance(WORTH) == 0
    assert sitting.advance(WHEN) == 0
    assert len(trained) == 16
    assert len(read_rows(sitting.file)) == 16


def test_pilots_must_be_quiet_enough_for_the_seeds(sitting, trained):
    tight = replace(WORTH, claims=(TextClaim("good", "bad", nll(1), 0.004),))
    with pytest.raises(UserError, match=r"3 seeds, but at a deviation of .* nats/token a margin "):
        replace(sitting, grid=replace(GRID, questions=(tight,))).advance(tight)
    exploratory = replace(tight, exploratory=True)
    grid = replace(GRID, questions=(exploratory,))
    assert replace(sitting, grid=grid).advance(exploratory) == 0


def test_pilots_of_arms_with_one_start_are_paired_by_seed(tmp_path):
    """Seeds differ by far more than the arms of a seed do from each other."""
    arms = tuple(replace(arm, after="start") for arm in GRID.arms)
    start = replace(GRID.arms[0], name="start", family="one")
    luck = {1000: 0.0, 1001: 0.4, 1002: -0.3, 1003: 0.1}
    for grid, expected in (
        (replace(GRID, arms=(*arms, start)), np.std([0.0, 0.02, 0.0, -0.02], ddof=1)),
        (GRID, np.sqrt(2) * np.std(list(luck.values()), ddof=1)),
    ):
        rates = {"one": 1e-3, "two": 1e-3}
        rows = {
            run.settings: row_for(run, losses(run)) for run in runs.rate_runs(grid, ["one", "two"])
        }
        pilots = runs.pilot_runs(grid, WORTH, rates)
        assert len(pilots) == (8 if grid is not GRID else 4)
        for run in pilots:
            apart = {1001: 0.02, 1003: -0.02}.get(run.seed, 0.0) if run.arm.name == "good" else 0.0
            rows[run.settings] = row_for(run, 2.0 + luck[run.seed] + apart)
        planned = make_plan(grid, replace(WORTH, exploratory=True), rows).claims[0]
        assert planned.deviation == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": (TextClaim("good", "bad", nll(1), 0.2), WORTH.claims[1])},
        {"claims": WORTH.claims[:1]},
        {"claims": (replace(WORTH.claims[0], equal=True), WORTH.claims[1])},
        {"seeds": 4},
        {"exploratory": True},
    ],
)
def test_a_design_stated_anew_is_refused(changes, sitting, trained):
    sitting.advance(WORTH)
    path = plan_path(sitting.stored, GRID, WORTH)
    assert read_plan(path, GRID, WORTH) == make_plan(GRID, WORTH, sitting.rows())
    changed = replace(WORTH, **changes)
    with pytest.raises(UserError, match=r"worth.json is of other settings or claims than worth"):
        read_plan(path, replace(GRID, questions=(changed,)), changed)


def test_arms_that_change_after_the_plan_are_refused(sitting, trained):
    sitting.advance(WORTH)
    grid = replace(GRID, arms=(replace(GRID.arms[0], changes={"phase.steps": 7}), GRID.arms[1]))
    with pytest.raises(UserError, match="other settings or claims"):
        read_plan(plan_path(sitting.stored, GRID, WORTH), grid, WORTH)


def test_no_run_starts_after_the_time_and_the_missing_are_listed(sitting, trained, capsys):
    spent = replace(sitting, deadline=time.monotonic() - 1)
    assert spent.advance(WORTH) == 0
    assert trained == []
    said = capsys.readouterr().out
    assert "6 rates to try are missing, hours unknown before a first run" in said
    assert sitting.advance(WORTH) == 0
    commit(sitting)
    assert spent.advance(WORTH) == 0
    said = capsys.readouterr().out
    # Half an hour each.
    assert "6 runs are missing, about 3.0 hours:\n  good: 3 runs, about 1.50 hours" in said


def test_a_signal_ends_the_sitting(sitting, monkeypatch, capsys):
    monkeypatch.setattr(runs, "_train", lambda *_: 143)
    assert sitting.advance(WORTH) == 143
    assert "the same command goes on" in capsys.readouterr().out


def test_settings_tell_runs_apart_and_places_do_not():
    one = runs.Run(GRID, GRID.arm("good"), 0, 1e-3)
    moved = replace(GRID, common={**GRID.common, "data.store": "x", "data.workers": 3})
    assert runs.Run(moved, moved.arm("good"), 0, 1e-3).settings == one.settings
    others = [
        runs.Run(GRID, GRID.arm("good"), 1, 1e-3),
        runs.Run(GRID, GRID.arm("good"), 0, 2e-3),
        runs.Run(GRID, GRID.arm("bad"), 0, 1e-3),
        runs.Run(GRID, replace(GRID.arm("good"), after="bad"), 0, 1e-3),
    ]
    assert len({run.settings for run in (one, *others)}) == 5
    # An arm of another name with the same settings is the same run.
    twin = replace(GRID.arm("good"), name="twin")
    assert runs.Run(GRID, twin, 0, 1e-3).settings == one.settings


def test_a_run_that_serves_several_questions_is_one():
    rates = {"one": 1e-3, "two": 1e-3}
    both = runs.main_runs(GRID, ["worth", "when"], rates)
    assert [(run.arm.name, run.seed) for run in both] == [
        (arm, seed) for seed in (0, 1, 2) for arm in ("good", "bad")
    ]


def test_processes_side_by_side_divide_the_runs(tmp_path, monkeypatch):
    file, waits, log = tmp_path / "rows.jsonl", [], []
    mine, others = (runs.Run(GRID, GRID.arm("good"), seed, 1e-3) for seed in (1, 0))

    def train(mode, config, workdir):
        """Another process has seed 0, and this one all others."""
        if workdir == str(others.folder(tmp_path)):
            raise InUseError("in use")
        log.append(config.seed)
        return 0

    def wait(_):
        """The other process ends its run."""
        waits.append(read_rows(file).keys())
        runs.add_row(file, row_for(others, 2.0))

    monkeypatch.setattr(runs.modes, "run", train)
    monkeypatch.setattr(runs, "row_of", lambda *_, **__: row_for(mine, 2.0))
    monkeypatch.setattr(runs.time, "sleep", wait)
    assert runs.train_missing([others, mine], file, tmp_path, None) == (0, [])
    assert log == [1]
    assert waits == [{mine.settings}]
    assert set(read_rows(file)) == {mine.settings, others.settings}


def test_rows_that_processes_add_at_once_all_stay(tmp_path):
    some = [runs.Run(GRID, GRID.arm("good"), seed, 1e-3) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda run: runs.add_row(tmp_path / "rows", row_for(run, 2.0)), some))
    assert set(read_rows(tmp_path / "rows")) == {run.settings for run in some}


def test_all_arms_of_a_seed_have_one_start_whatever_their_rates():
    grid = replace(GRID, arms=(replace(GRID.arms[0], after="bad"), GRID.arms[1]))
    slow, fast = (runs.Run(grid, grid.arms[0], 2, rate) for rate in (1e-3, 2e-3))
    assert slow.parent.settings == fast.parent.settings
    assert slow.parent.rate == grid.base().optimizer.learning_rate


def test_an_arm_starts_from_the_weights_of_another_under_its_seed(tmp_path, monkeypatch):
    grid = replace(GRID, arms=(replace(GRID.arms[0], after="bad"), GRID.arms[1]))
    run = runs.Run(grid, grid.arms[0], 2, 1e-3)
    log = []

    def train(mode, config, workdir):
        (Path(workdir) / "checkpoints").mkdir(parents=True)
        log.append((workdir, config.seed, config.train.init_from))
        return 0

    def row_of(workdir, length, scored, **about):
        of = run if about["settings"] == run.settings else run.parent
        return row_for(of, 2.0)

    monkeypatch.setattr(runs.modes, "run", train)
    monkeypatch.setattr(runs, "row_of", row_of)
    file = tmp_path / "rows.jsonl"
    assert runs.train_missing([run], file, tmp_path, None) == (0, [])
    start = str(run.parent.folder(tmp_path))
    assert log == [(start, 2, ""), (str(run.folder(tmp_path)), 2, start)]
    # The start is there: another arm takes it as it is.
    other = runs.Run(grid, replace(grid.arms[0], changes={"phase.steps": 9}), 2, 1e-3)
    assert other.parent.settings == run.parent.settings
    assert set(read_rows(file)) == {run.settings, run.parent.settings}


def test_hours_are_those_of_the_arm_else_by_tokens():
    one = runs.Run(GRID, GRID.arm("good"), 0, 1e-3)
    assert runs.hours_needed(one, {}) is None
    other = runs.Run(GRID, GRID.arm("bad"), 0, 1e-3)
    rows = {"x": row_for(other, 2.0, hours=0.25)}  # of 300 tokens
    assert runs.hours_needed(one, rows) == pytest.approx(one.tokens * 0.25 / 300)
    rows["y"] = row_for(one, 2.0, hours=2.0)
    assert runs.hours_needed(one, rows) == 2.0


def test_words_are_no_code():
    source = 'def f(x):\n    """Adds."""\n    return x + 1\n'
    assert meaning(source) == meaning("# Adds.\ndef f(x): return (x + 1)")
    assert meaning(source) != meaning(source.replace("1", "2"))
    assert meaning('class A:\n    """A."""') == meaning("class A:\n    pass")
    assert len(code_fingerprint()) == 16


def test_wrong_arguments_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "STORED", tmp_path)
    with pytest.raises(UserError, match=r"--hours=0 must be above 0"):
        command.main(["--hours=0"])
    with pytest.raises(UserError, match=r"no question 'formtion'; choose among"):
        command.main(["formtion"])
    with pytest.raises(UserError, match=r"--scale=gpu: aws_docs has text for cpu"):
        command.main(["--scale=gpu"])


def test_plans_are_read_as_they_were_written(tmp_path, sitting, trained):
    sitting.advance(WORTH)
    plan = make_plan(GRID, WORTH, sitting.rows())
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json", GRID, WORTH) == plan
    assert read_plan(tmp_path / "none.json", GRID, WORTH) is None
