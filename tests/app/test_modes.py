"""A whole run in one process: what it leaves behind, and that nothing compiles late."""

import dataclasses
import json
import re

import pytest

from lengthwise.app import modes
from lengthwise.common.errors import UserError
from lengthwise.eval.losses.curve_file import CURVES, load_evaluation, save_evaluation
from lengthwise.eval.report.run import report
from lengthwise.train.metrics.writer import read_rows
from tests import tiny

PHASES = (
    {"steps": 50},
    {"steps": 10, "layout": {"name": "concat_and_chunk", "mixture": "natural"}},
)


def make_config(corpus, last_steps=10):
    """Two domains, and a second phase whose rows join documents."""
    config = tiny.get_config()
    config.data.mixture = tuple(
        {"domain": name, "path": str(corpus / name)} for name in ("prose", "verse")
    )
    config.phases = (PHASES[0], {**PHASES[1], "steps": last_steps})
    config.train.compile = "ahead"
    config.eval.tasks = ("passkey",)
    config.eval.scorers = ("forgetting",)
    config.eval.during = ("forgetting", "passkey")
    config.stopping.score = "forgetting@64"
    config.eval.prompting = ("scratchpad",)
    config.eval.prompts = 4
    return config


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    tiny.write_corpus(folder / "prose", documents=100)
    tiny.write_corpus(folder / "verse", documents=20, seed=1)
    return folder


@pytest.fixture(scope="module")
def workdir(corpus, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    assert modes.run("train", make_config(corpus), str(directory)) == 0
    return directory


def test_nothing_compiles_after_the_first_step(workdir):
    end = read_rows(workdir / "metrics.jsonl")[-1]
    assert end["kind"] == "end"
    assert end["reason"] == "finished"
    assert end["compiles_after_first_step"] == 0  # with three evaluations and six checkpoints


def test_every_step_and_evaluation_is_logged_with_its_figures(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in train] == list(range(1, 61))
    assert train[-1]["tokens"] == 60 * 512
    assert all(0 < row["targets"] <= 512 for row in train)
    assert {row["bucket"] for row in train} == {16, 32, 64}
    for row in train:
        # Domains have the targets among them, and their losses average to the loss.
        targets = row["domain_targets"]
        assert set(targets) == set(row["losses"]) <= {"prose", "verse"}
        assert sum(targets.values()) == row["targets"]
        mean = sum(row["losses"][name] * targets[name] for name in targets) / row["targets"]
        assert mean == pytest.approx(row["loss"], rel=1e-6)
    assert {name for row in train for name in row["losses"]} == {"prose", "verse"}
    evaluations = [row for row in rows if row["kind"] == "eval"]
    assert [row["step"] for row in evaluations] == [20, 40, 60]
    assert all(row["score_low"] <= row["score"] <= row["score_high"] for row in evaluations)
    for row in evaluations:
        scores = row["scores"]
        assert scores.keys() == {
            f"{scorer}@{length}" for scorer in ("forgetting", "passkey") for length in (64, 128)
        }
        assert row["stopping_score"] == -scores["forgetting@64"]["value"]
    best = min(row["stopping_score"] for row in evaluations)
    assert evaluations[-1]["best_score"] == best


def test_results_carry_their_circumstances(workdir):
    results = json.loads((workdir / "eval" / "results.json").read_text())
    manifest = json.loads((workdir / "store" / "manifest.json").read_text())
    assert {row["corpus_fingerprint"] for row in results["rows"]} == {
        manifest["corpus_fingerprint"]
    }
    assert {row["l_train"] for row in results["rows"]} == {64}
    assert {row["unit"] for row in results["rows"]} == {"nats/token"}
    assert {"plain", "linear", "ntk", "lambda"} <= {row["method"] for row in results["rows"]}
    assert {row["domain"] for row in results["rows"] if row["role"] == "domain"} == {"prose"}
    exposure = json.loads((workdir / "exposure.json").read_text())
    assert exposure["epochs"].keys() == set(manifest["domains"])
    assert ["verse" in sentence for sentence in results["left_out"]] == [True]
    behind = [row for row in results["rows"] if row["metric"] == "boundary_gap"]
    assert {(row["context_from"], row["context"]) for row in behind} >= {(1, 1), (1, 64)}


def test_the_tasks_were_asked_at_every_tested_context(workdir):
    card = json.loads((workdir / "eval" / "card.json").read_text())
    (entry,) = card["entries"]
    judged = {each["scorer"]: each for each in entry["judgements"]}
    assert {"passkey", "forgetting", "same_target_nll", "position_nll"} <= set(judged)
    passkey = judged["passkey"]
    assert passkey["lengths"] == [64, 128, 256]
    assert passkey["chance"] == [0.25] * 3
    controls = {"no_context", "truncated", "distance_0", "easy_filler", "far_positions"}
    assert set(passkey["controls"]) == controls
    assert passkey["findings"]
    start, *others = entry["said"]
    assert start.startswith("forgetting: the end of text was never an input in training")
    assert ["scratchpad: " in said for said in others] == [True] * 2
    assert sum("scratchpad, at 64 tokens" in why for why in entry["left_out"]) == 1


def test_the_report_is_one_page_that_needs_no_network(workdir):
    page = (workdir / "report" / "index.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "same_target.png" in {path.name for path in (workdir / "report").iterdir()}


def test_the_card_judges_what_was_scored_and_says_what_it_cost(workdir):
    card = json.loads((workdir / "eval" / "card.json").read_text())
    (entry,) = card["entries"]
    (checkpoint,) = entry["checkpoints"]
    assert (entry["l_train"], checkpoint["checkpoint_step"]) == (64, 60)
    assert 16 <= entry["length_p95"] <= 64
    judged = {(j["scorer"], j["method"]): j for j in entry["judgements"]}
    scorers = {"same_target_nll", "position_nll", "forgetting", "passkey"}
    assert {scorer for scorer, _ in judged} == scorers
    results = json.loads((workdir / "eval" / "results.json").read_text())
    for row in results["rows"]:
        if (row["metric"], row["role"]) == ("same_target_nll", "result"):
            each = judged["same_target_nll", row["method"]]
            score = each["scores"][each["lengths"].index(row["context"])]
            for end in ("value", "low", "high"):
                assert score[end] == pytest.approx(row[end], rel=1e-9)
    assert judged["passkey", "plain"]["lengths"] == [64, 128, 256]
    seconds = checkpoint["seconds"]
    assert min(seconds.values()) > 0
    assert sum(j["seconds"] for j in entry["judgements"]) < seconds["scoring"]
    rows = read_rows(workdir / "metrics.jsonl")
    assert seconds["training"] == pytest.approx(
        sum(row["seconds"] for row in rows if row["kind"] == "train")
    )
    assert "What it cost" in (workdir / "report" / "card.html").read_text()


@pytest.fixture
def undrawn(monkeypatch):
    """The report's pictures are drawn once, by the run itself."""
    monkeypatch.setattr(report, "write_report", lambda workdir, inputs: workdir / "not-drawn")


@pytest.mark.usefixtures("undrawn")
def test_scoring_again_gives_the_same_numbers(workdir, corpus, tmp_path):
    """Beside another seed, which stands on the card with it."""
    before = (workdir / "eval" / "results.json").read_text()
    metrics = (workdir / "metrics.jsonl").read_bytes()
    config = make_config(corpus)
    config.eval.compare = (str(tmp_path),)
    with pytest.raises(UserError, match=r"curves\.npz is not there; run --mode=eval"):
        modes.run("eval", config, str(workdir))
    mine = load_evaluation(workdir)
    save_evaluation(dataclasses.replace(mine, name="other", seed=1), tmp_path / CURVES)
    assert modes.run("eval", config, str(workdir)) == 0
    (entry,) = json.loads((workdir / "eval" / "card.json").read_text())["entries"]
    assert entry["claim"] == "this training (2 seeds)"
    assert [each["seed"] for each in entry["checkpoints"]] == [0, 1]
    assert (workdir / "eval" / "results.json").read_text() == before
    assert (workdir / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.usefixtures("undrawn")
def test_scoring_again_with_other_settings_leaves_the_run_as_it_was(workdir, corpus):
    config = make_config(corpus, last_steps=20)
    config.eval.ratios = (0.5, 1.0, 2.0)
    before = (workdir / "config.json").read_text()
    assert modes.run("eval", config, str(workdir)) == 0
    assert (workdir / "config.json").read_text() == before
    results = json.loads((workdir / "eval" / "results.json").read_text())
    assert {row["context"] for row in results["rows"] if row["role"] == "result"} <= set(
        range(1, 129)
    )


def test_scoring_on_other_data_is_refused(workdir, corpus, tmp_path):
    config = make_config(corpus)
    more = corpus / "prose" / "more.txt"
    more.write_text("a document that was not there when the run was trained " * 9)
    config.data.store = str(tmp_path / "store")
    try:
        with pytest.raises(UserError, match="trained on other data"):
            modes.run("eval", config, str(workdir))
    finally:
        more.unlink()
