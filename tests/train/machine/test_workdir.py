"""One owner, one config: what a resumed run may change and what it may not."""

import copy
import subprocess
import sys

import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.config import CONFIG_VERSION
from lengthwise.train.machine import workdir

CONFIG = {
    "version": CONFIG_VERSION,
    "extensions": [],
    "seed": 0,
    "model": {"layers": 2, "embed_dim": 64},
    "train": {"log_every": 1},
    "phases": [{"steps": 10, "layout": {"name": "decompose"}}, {"steps": 5, "layout": {}}],
}


def changed(path, value):
    config = copy.deepcopy(CONFIG)
    *parents, last = path
    section = config
    for name in parents:
        section = section[name]
    section[last] = value
    return config


def test_the_same_config_is_accepted_again(tmp_path):
    workdir.claim_config(tmp_path, CONFIG)
    workdir.claim_config(tmp_path, CONFIG)
    assert workdir.read_config(tmp_path) == CONFIG


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("model", "embed_dim"), "model.embed_dim: 64 -> 3"),
        (("seed",), "seed: 0 -> 3"),
        (("phases", 0, "steps"), "phases.0.steps: 10 -> 3"),
        (("phases", 1, "layout"), "phases.1.layout"),
    ],
)
def test_a_contradiction_names_the_field_and_changes_nothing(tmp_path, path, field):
    workdir.claim_config(tmp_path, CONFIG)
    with pytest.raises(UserError, match=field.replace("(", r"\(")):
        workdir.claim_config(tmp_path, changed(path, 3))
    assert workdir.read_config(tmp_path) == CONFIG


@pytest.mark.parametrize("path", [("train", "log_every"), ("phases", 1, "steps"), ("extensions",)])
def test_what_may_change_is_recorded(tmp_path, path):
    workdir.claim_config(tmp_path, CONFIG)
    workdir.claim_config(tmp_path, changed(path, 7))
    assert workdir.read_config(tmp_path) == changed(path, 7)


def test_only_scoring_may_change_the_scores_settings(tmp_path):
    # The best score and the patience of a run are of the targets that it began with.
    before = {**CONFIG, "eval": {"documents": 8}}
    workdir.claim_config(tmp_path, before)
    other = {**CONFIG, "eval": {"documents": 9}}
    with pytest.raises(UserError, match=r"eval\.documents: 8 -> 9"):
        workdir.check_config(tmp_path, other)
    workdir.check_config(tmp_path, other, workdir.FREE_IN_SCORING)
    with pytest.raises(UserError, match="seed"):
        workdir.check_config(tmp_path, {**other, "seed": 1}, workdir.FREE_IN_SCORING)


def test_a_field_that_is_gone_is_a_contradiction(tmp_path):
    workdir.claim_config(tmp_path, CONFIG)
    fewer = copy.deepcopy(CONFIG)
    del fewer["model"]["embed_dim"]
    with pytest.raises(UserError, match="embed_dim: 64 -> None"):
        workdir.claim_config(tmp_path, fewer)


def test_tuples_and_lists_are_alike(tmp_path):
    workdir.claim_config(tmp_path, {**CONFIG, "odds": (1.0, 2.0)})
    workdir.claim_config(tmp_path, {**CONFIG, "odds": [1.0, 2.0]})


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from lengthwise.train.machine.workdir import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=str(holder.pid)), workdir.locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with workdir.locked(tmp_path):
        pass


def test_an_unwritable_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="can't be written"),
        workdir.locked(tmp_path / "file" / "x"),
    ):
        pass
