"""Scoring by itself: a subject and parameters, no work directory and no checkpoint."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from lengthwise.app.scoring import Checkpoint, Subject
from lengthwise.app.text import TextScoring
from lengthwise.common.errors import UserError
from lengthwise.configs.resolve import load
from lengthwise.data.store.token_store import TokenStore
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.stopping import StoppingConfig
from tests import tiny


@pytest.fixture
def subject(corpus, store, tmp_path):
    def make(**evaluation):
        config = tiny.get_config()
        config.data.path = str(corpus)
        config.eval.update(evaluation)
        experiment = load(config, None)
        tokens = TokenStore.open(store, verify=False)
        phases = Phases(
            experiment.phases, tokens, experiment.resolved_seeds, tmp_path, verify=False
        )
        return Subject(experiment, tokens, phases, Setup(experiment, phases, jax.devices()))

    return make


def test_compiling_ahead_leaves_nothing_to_compile_for_the_probe_and_the_report(subject, tmp_path):
    run = subject(methods=("ntk",), multipliers=(1.0,), scorers=(), tasks=())
    scoring = TextScoring(run)
    scoring.compile()
    programs = set(scoring.inference.programs.compiled)
    params = run.setup.initial_state().params
    row = scoring.probe(params, 0)
    assert row["stopping_score"] == row["score"]
    assert abs(row["score"] - np.log(run.setup.blueprint.vocab_size)) < 1  # an untrained model
    results, asked = scoring.scores(Checkpoint(0, params, {}))
    assert {each.method for each in results.rows} >= {"plain", "ntk"}
    assert asked.curves == ()
    assert set(scoring.inference.programs.compiled) == programs
    assert not list(tmp_path.glob("eval"))


def test_what_can_not_be_scored_is_named_before_anything_is_compiled(subject, tmp_path, capsys):
    run = subject(min_documents=100000)
    scoring = TextScoring(run)
    assert not scoring.probes
    assert any("eval.min_documents is 100000" in reason for reason in scoring.left_out)
    scoring.compile()
    assert not scoring.inference.programs.compiled
    scoring.report(Checkpoint(0, run.setup.initial_state().params, {}), tmp_path, lambda: None)
    assert json.loads((tmp_path / "exposure.json").read_bytes())["l_train"] == run.l_train
    assert not (tmp_path / "eval").exists()
    assert "nothing is scored" in capsys.readouterr().out
    patient = dataclasses.replace(run.experiment, stopping=StoppingConfig(patience=2))
    with pytest.raises(UserError, match=r"stopping\.patience=2 needs scores") as error:
        TextScoring(dataclasses.replace(run, experiment=patient))
    assert error.value.advice == {"stopping.patience": 0}


def test_a_corpus_within_the_training_length_is_scored_there(subject, tmp_path, capsys):
    # No document of 64 times the training length, but enough of the training length.
    run = subject(ratios=(0.5, 1.0, 64.0), methods=("ntk",), min_documents=3, documents=8)
    scoring = TextScoring(run)
    assert scoring.probes
    assert scoring.contexts == (run.l_train // 2, run.l_train)
    scoring.compile()
    programs = set(scoring.inference.programs.compiled)
    params = run.setup.initial_state().params
    assert scoring.probe(params, 0)["score"] > 0
    scoring.report(Checkpoint(0, params, {}), tmp_path, lambda: None)
    rows = json.loads((tmp_path / "eval" / "results.json").read_bytes())["rows"]
    scored = {(row["method"], row["context"]) for row in rows if row["role"] == "result"}
    assert scored == {("plain", context) for context in scoring.contexts}
    assert set(scoring.inference.programs.compiled) == programs
    assert f"{run.l_train} tokens: " in capsys.readouterr().out
    assert not (tmp_path / "report").exists()
