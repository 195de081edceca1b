"""Scoring by itself: a subject and parameters, no work directory and no checkpoint."""

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


def test_what_can_not_be_scored_is_refused_before_anything_is_compiled(subject):
    with pytest.raises(UserError, match=r"eval\.min_documents is 100000"):
        TextScoring(subject(min_documents=100000))
