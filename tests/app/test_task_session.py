"""A run on a task, from its config to its scores."""

import json

import numpy as np
import pytest

from lengthwise.app import modes
from lengthwise.common.errors import UserError
from lengthwise.configs import task
from lengthwise.eval.answers.hits_file import HITS, load_hits, save_hits
from lengthwise.eval.answers.score import Hits
from lengthwise.train.config import CONFIG_VERSION
from lengthwise.train.metrics.writer import read_rows


def make_config(**answers):
    config = task.get_config()
    config.data.workers = 1
    config.data.task.name = "cycle_navigation"
    config.data.task.lengths = (1, 3)
    config.data.task.samples = 2000
    config.model.layers = 1
    config.model.embed_dim = 32
    config.model.mlp_dim = 64
    config.model.head_dim = 16
    config.model.num_heads = config.model.num_kv_heads = 2
    config.optimizer.learning_rate = 2e-2
    config.optimizer.warmup_steps = 5
    config.phase.steps = 100
    config.phase.tokens_per_step = 256
    config.phase.layout.smallest_bucket = 4
    config.phase.layout.largest_bucket = 8
    config.train.eval_every = 20  # the first before the task is learned
    config.train.compile = "ahead"
    config.eval.answers.lengths = (1, 5, 2)
    config.eval.answers.selection_lengths = (1, 3, 1)
    config.eval.answers.samples = 40
    config.eval.bootstrap_samples = 50
    config.eval.answers.update(answers)
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    assert modes.run("train", make_config(), str(directory)) == 0
    return directory


def test_a_run_learns_its_task_and_scores_lengths_in_range_and_beyond(workdir):
    scores = json.loads((workdir / "eval" / "answers.json").read_text())
    assert [row["length"] for row in scores["lengths"]] == [1, 3, 5]
    assert [row["in_range"] for row in scores["lengths"]] == [True, True, False]
    assert scores["lengths"][0]["exact"]["value"] > 0.9  # 5 answers: chance is 0.2
    assert scores["mean_exact_in_range"] > 0.6
    assert scores["checkpoint_step"] == 100
    assert scores["task"]["name"] == "cycle_navigation"
    for hits, row in zip(load_hits(workdir), scores["lengths"], strict=True):
        assert hits.length == row["length"]
        assert hits.exact_N.mean() == row["exact"]["value"]
        assert hits.hits_N.sum() / hits.tokens_N.sum() == row["token"]["value"]
    assert {check["length"] for check in scores["decoded"]} == {3, 5}
    assert all(check["agree"] == check["samples"] == 8 for check in scores["decoded"])


def test_only_answers_are_trained_and_nothing_compiles_late(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    # A moves' answer is its place and the end: two targets a sample.
    assert all(row["targets"] == 2 * 256 // row["bucket"] for row in train)
    assert {row["bucket"] for row in train} == {4, 8}
    assert rows[-1]["compiles_after_first_step"] == 0
    first, *_, last = (row for row in rows if row["kind"] == "eval")
    assert last["score"] < first["score"]
    assert 0 <= last["exact_match"] <= 1
    assert last["lengths"] == [1, 3]


def test_lengths_beyond_the_trained_ones_choose_where_none_are_named(tmp_path):
    with modes.training_session(make_config(selection_lengths=()), tmp_path) as session:
        assert session.scoring.selection_lengths == (4, 5)


def test_the_report_shows_what_was_scored(workdir):
    page = (workdir / "report" / "index.html").read_text()
    scores = json.loads((workdir / "eval" / "answers.json").read_text())
    for row in scores["lengths"]:
        assert f"{row['exact']['value']:.3f}" in page
    assert "cycle_navigation, length 5" in page
    assert "symbols of the prompt" in page
    assert scores["lengths"][0]["chance"] == pytest.approx(1 / 3, abs=0.25)  # of 3 places
    assert (workdir / "report" / "answers.png").exists()


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (None, "eval.compare: .*beside holds no run"),
        ({"source": "text", "task": {"name": ""}}, "eval.compare: .*beside holds a run on text"),
        ({"source": "task", "task": {"name": "sort"}}, "answers.npz can't be read"),
    ],
)
def test_what_can_not_stand_beside_a_run_is_refused_before_training(
    saved, message, workdir, tmp_path
):
    beside = tmp_path / "beside"
    beside.mkdir()
    if saved is not None:
        (beside / "config.json").write_text(
            json.dumps({"version": CONFIG_VERSION, "phases": [], "data": saved})
        )
    config = make_config()
    config.data.store = str(workdir / "store")
    config.eval.compare = (str(beside),)
    with pytest.raises(UserError, match=message):
        modes.run("train", config, str(tmp_path / "mine"))


def save_beside(directory, workdir, seed, layers, right):
    """A run like that of `workdir`, as far as others read it; `right` of 40 answers are right."""
    config = json.loads((workdir / "config.json").read_text())
    config["seed"] = config["data"]["task"]["seed"] = seed
    config["model"]["layers"] = layers
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    hits = np.where(np.arange(40) < right, 2, 0)
    save_hits([Hits(length, hits, np.full(40, 2)) for length in (2, 6)], directory / HITS)


def test_other_lengths_can_be_scored_later_beside_other_runs(workdir, tmp_path, capsys):
    save_beside(tmp_path / "other" / workdir.name, workdir, seed=1, layers=1, right=30)
    save_beside(tmp_path / "deep", workdir, seed=0, layers=9, right=0)
    config = make_config(lengths=(2, 6, 4), decoded=0)
    config.eval.compare = (str(tmp_path / "other" / workdir.name), str(tmp_path / "deep"))
    capsys.readouterr()
    assert modes.run("eval", config, str(workdir)) == 0
    scores = json.loads((workdir / "eval" / "answers.json").read_text())
    assert [row["length"] for row in scores["lengths"]] == [2, 6]
    assert scores["decoded"] == []
    # Two of them have the same last name, so that all have one more.
    name = f"{workdir.parent.name}/{workdir.name}"
    out = capsys.readouterr().out
    assert f"{name} and another seed, this training (2 seeds):" in out
    replaced = "answers.json had scores of lengths 1 to 5, 40 samples of each, which these replace"
    assert replaced in out
    assert modes.run("eval", config, str(workdir)) == 0
    assert "which these replace" not in capsys.readouterr().out
    stored = json.loads((workdir / "eval" / "comparison.json").read_text())
    assert [each["seeds"] for each in stored["trainings"]] == [2, 1]
    for mine, both in zip(scores["lengths"], stored["trainings"][0]["lengths"], strict=True):
        assert both["exact"]["value"] == pytest.approx((mine["exact"]["value"] + 0.75) / 2)
    (difference,) = stored["comparisons"]
    assert difference["second"] == f"{tmp_path.name}/deep"
    mean = stored["trainings"][0]["lengths"][0]["exact"]["value"]
    assert difference["better"][0]["value"] == pytest.approx(-mean)  # it has none right
    assert "Side by side" in (workdir / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"lengths": (5, 2, 1)}, r"eval.answers.lengths=\(5, 2\) is empty; cycle_navigation takes"),
        ({"lengths": (5, 2)}, r"eval.answers.lengths=\(5, 2\) must be \(first, last, step\)"),
    ],
)
def test_impossible_lengths_are_refused_before_training(answers, message, workdir, tmp_path):
    config = make_config(**answers)
    config.data.store = str(workdir / "store")
    with pytest.raises(UserError, match=message):
        modes.run("train", config, str(tmp_path))
    assert not (tmp_path / "config.json").exists()


def test_samples_that_no_bucket_holds_are_refused(workdir, tmp_path):
    config = make_config()
    config.data.store = str(workdir / "store")
    config.phase.layout.largest_bucket = 4
    with pytest.raises(
        UserError, match=r"largest_bucket=4 holds; set it to 8, or shorten data.task"
    ):
        modes.run("train", config, str(tmp_path))


def test_a_file_of_scores_with_a_changed_byte_is_read_or_refused(tmp_path):
    path = tmp_path / HITS
    path.parent.mkdir()
    save_hits([Hits(3, np.arange(40) % 3, np.full(40, 2))], path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            load_hits(tmp_path)
        except UserError:
            refused += 1
    assert refused > len(whole) / 4


def test_a_run_without_scores_says_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match=r"answers.npz can't be read .* score with --mode=eval"):
        load_hits(tmp_path)
    (tmp_path / "eval").mkdir()
    (tmp_path / HITS).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"answers.npz can't be read"):
        load_hits(tmp_path)
