"""Muon against the polar factors of momenta, from numpy's SVD in float64."""

import jax
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.mesh import abstract_like
from lengthwise.train.step.optimizer import decay_mask, make_optimizer
from lengthwise.train.step.update import TrainState
from tests.train.step.test_optimizer import config

STEPS = 3
ORTHOGONAL = {"value", "output", "gate", "up", "down"}
SETTINGS = config(name="muon", schedule="constant", warmup_steps=0, learning_rate=0.5)


def params(seed=0):
    rng = np.random.default_rng(seed)
    matrices = {"query": (6, 4), "value": (6, 4), "output": (4, 6), "gate": (6, 9), "down": (9, 6)}
    blocks = {name: rng.normal(size=(2, *shape)) for name, shape in matrices.items()}
    tree = {
        "embedding": rng.normal(size=(5, 6)),
        "blocks": {"attention": {**blocks, "key_gate": rng.normal(size=(2, 3))}},
        "positions": {"value": rng.normal(size=(3, 4))},  # a name that a scheme has as well
    }
    return jax.tree.map(lambda x: x.astype(np.float32), tree)


def gradients(step):
    """Of very different sizes: layer 1's are a thousandth of layer 0's."""
    made = params(100 + step)
    made["blocks"] = jax.tree.map(
        lambda g: g * np.array([1, 1e-3], np.float32).reshape(2, *[1] * (g.ndim - 1)),
        made["blocks"],
    )
    return made


def updated(now):
    """Parameters after the steps."""
    optimizer = make_optimizer(SETTINGS, 20)
    state = optimizer.init(now)
    for step in range(STEPS):
        updates, state = optimizer.update(gradients(step), state, now)
        now = jax.tree.map(lambda p, u: p + u, now, updates)
    return now


def orthogonal(momentum):
    """Newton and Schulz work on singular values alone, the largest of them below the norm."""
    u, s, v = np.linalg.svd(momentum, full_matrices=False)
    s = s / np.linalg.norm(momentum)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ v


def reference():
    paths, structure = jax.tree_util.tree_flatten_with_path(params())
    mask = jax.tree.leaves(decay_mask(params()))
    names = [[key.key for key in path] for path, _ in paths]
    want = [leaf.astype(np.float64) for _, leaf in paths]
    first, second = [np.zeros_like(w) for w in want], [np.zeros_like(w) for w in want]
    for step in range(STEPS):
        grads = [g.astype(np.float64) for g in jax.tree.leaves(gradients(step))]
        norm = np.sqrt(sum((g**2).sum() for g in grads))
        for i, g in enumerate(g / max(norm, 1.0) for g in grads):
            if names[i][0] == "blocks" and names[i][-1] in ORTHOGONAL:
                first[i] = 0.95 * first[i] + 0.05 * g
                # Nesterov's momentum, without the bias of its beginning.
                ahead = 0.95 * first[i] / (1 - 0.95 ** (step + 2))
                ahead = ahead + 0.05 * g / (1 - 0.95 ** (step + 1))
                direction = np.stack([orthogonal(layer) for layer in ahead])
                direction = direction * 0.2 * np.sqrt(max(g.shape[1:]))
            else:
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.95 * second[i] + 0.05 * g**2
                direction = first[i] / (1 - 0.9 ** (step + 1))
                direction /= np.sqrt(second[i] / (1 - 0.95 ** (step + 1))) + 1e-8
            if mask[i]:
                direction = direction + 0.1 * want[i] + 0.02 * np.sign(want[i])
            want[i] = want[i] - 0.5 * direction
    return structure.unflatten(want)


def test_updates_follow_the_formula_layer_by_layer():
    found, expected = updated(params()), reference()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, expected
    )


def test_seeds_that_are_stacked_are_updated_as_alone():
    alone = [updated(params(seed)) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *x: np.stack(x), params(0), params(1))
    for found in (jax.vmap(updated)(stacked), jax.lax.map(updated, stacked)):
        for number, expected in enumerate(alone):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a[number], b, rtol=1e-5, atol=1e-6),  # noqa: B023
                found,
                expected,
            )


def test_its_state_comes_back_from_a_checkpoint(tmp_path):
    optimizer = make_optimizer(SETTINGS, 20)
    now = jax.device_put(params(), jax.devices()[0])
    _, opt_state = optimizer.update(gradients(0), optimizer.init(now), now)
    saved = jax.device_put(TrainState(now, opt_state), jax.devices()[0])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, saved, {"data_step": 1}, None)
    checkpoints.wait()
    found = checkpoints.restore(1, abstract_like(saved, jax.tree.map(lambda x: x.sharding, saved)))
    checkpoints.close()
    assert jax.tree.structure(found) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, found, saved)


def test_matrices_that_there_are_not_are_named():
    with pytest.raises(UserError, match=r"optimizer.muon.matrices.*'norm'.*choose one of query"):
        make_optimizer(config(name="muon", muon={"matrices": ("value", "norm")}), 20)
