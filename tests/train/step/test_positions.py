"""Every position scheme through the compiled steps and the scores of a run."""

import jax
import numpy as np
import pytest

from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.eval.inference.inference import Batching, Inference
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from tests import tiny

LENGTH = 32


def config(corpus, scheme, pattern, **positions):
    """One bucket, which holds packed rows."""
    tree = tiny.get_config()
    tree.data.path = str(corpus)
    tree.model.positions.scheme = scheme
    tree.model.layer_pattern = pattern
    tree.model.layers = max(1, len(pattern))
    tree.model.positions.update(positions)
    tree.model.dropout = 0.0
    tree.phase.steps = 6
    tree.optimizer.learning_rate = 0.02
    tree.phase.layout.smallest_bucket = LENGTH
    tree.phase.layout.largest_bucket = LENGTH
    return tree


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory):
    return prepare(load(config(corpus, "rope", ()), None).data, tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(
    ("scheme", "pattern", "positions"),
    [
        ("abacus", ("alibi", "t5"), {}),
        ("sinusoidal", ("none", "rope"), {"randomized": 300}),
        # These compile long; their gradients are tested in tests/model/positions/test_schemes.py.
        pytest.param("learned", ("kerple", "fire"), {}, marks=pytest.mark.slow),
        pytest.param("cope", (), {}, marks=pytest.mark.slow),
        pytest.param("seqpe", (), {"seqpe": {"width": 8, "heads": 2}}, marks=pytest.mark.slow),
    ],
)
def test_it_trains_and_scores_beyond_its_training_length(
    corpus, store, tmp_path, scheme, pattern, positions
):
    experiment = load(config(corpus, scheme, pattern, **positions), None)
    phases = Phases(experiment.phases, store, experiment.resolved_seeds, tmp_path)
    Setup(experiment, phases, jax.devices())  # what is learned has a place on several
    setup = Setup(experiment, phases, jax.devices()[:1])
    state = setup.initial_state()
    before = jax.tree.map(np.asarray, state.params)
    step = setup.blueprint.compile_step((0, LENGTH))
    batches = setup.device_batches(0)
    losses = []
    for number, (phase, batch, arrays) in zip(range(6), batches, strict=False):
        state, metrics = step(state, arrays, setup.inputs(phase, number, batch.length))
        losses.append(float(metrics["loss"]))
    batches.close()
    assert np.isfinite(losses).all()
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    for path, learned in jax.tree_util.tree_flatten_with_path(state.params)[0]:
        start = before
        for key in path:
            start = start[key.key]
        assert np.isfinite(learned).all()
        assert np.abs(np.asarray(learned) - start).max() > 1e-6, path

    architecture = Architecture(
        setup.blueprint.model,
        setup.blueprint.abstract_params,
        setup.blueprint.data_sharding,
    )
    inference = Inference(architecture, Batching(4 * LENGTH, seed=0, pad=256))
    tokens = np.random.default_rng(0).integers(0, 256, (2, 2 * LENGTH + 1))
    scorer = BoundModel(inference, state.params, UNSCALED)(Setting())
    nats = np.asarray(scorer(tokens))
    assert nats.shape == (2, 2 * LENGTH)
    assert np.isfinite(nats).all()
