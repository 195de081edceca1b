"""Whole runs of training, for the tests of several files."""

import jax
import pytest

from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.start import train
from lengthwise.train.loop.state import TrainingRun
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from tests import tiny
from tests.train.runs import config


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory):
    return prepare(load(config(corpus), None).data, tmp_path_factory.mktemp("store"))


@pytest.fixture
def start(corpus, store):
    """Trains in a work directory with given scores by step; returns the state of the run."""

    def run(workdir, score=lambda step: 1.0, **changes):
        experiment = load(config(corpus, **changes), None)
        phases = Phases(experiment.phases, store, experiment.resolved_seeds)
        setup = Setup(experiment, phases, jax.devices()[:1])
        checkpoints = Checkpoints(workdir / "checkpoints")
        try:
            return train(
                TrainingRun(
                    setup,
                    workdir,
                    checkpoints,
                    claim=lambda: None,
                    evaluate=lambda params, step: {"stopping_score": score(step)},
                    prepare_evaluation=lambda: None,
                    peak_flops=1e9,
                )
            )
        finally:
            checkpoints.close()

    return run
