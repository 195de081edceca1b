"""One step: the loss is the sum over valid targets / their number, however it is cut up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lengthwise.model.token_losses import nats_of_logits
from lengthwise.train.mesh import ViewShape, batch_sharding, mesh_view
from lengthwise.train.step.checksum import checksum
from lengthwise.train.step.update import StepConfig, StepInputs, TrainState, make_train_step

VOCABULARY, LENGTH, ROWS = 7, 8, 16


def bigram(params, batch, inputs, key):
    """A table of next-token logits; with a key, noise as dropout would bring."""
    logits = params["table"][batch["inputs"]]
    if key is not None:
        logits = logits + jax.random.normal(key, (VOCABULARY,))[None, None]
    return nats_of_logits(logits, batch["targets"])


def no_penalty(params, key):
    return 0.0


def batch(seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, VOCABULARY, (ROWS, LENGTH + 1)).astype(np.int32)
    # Rows end in padding of uneven length, so that microbatches hold uneven numbers of targets.
    valid = np.arange(LENGTH)[None, :] < rng.integers(1, LENGTH + 1, (ROWS, 1))
    return {
        "inputs": tokens[:, :-1] * valid,
        "targets": tokens[:, 1:] * valid,
        "segment_ids": valid.astype(np.int32),
        "positions": np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
    }


def state(optimizer):
    table = np.random.default_rng(1).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
    params = {"table": jnp.asarray(table)}
    return TrainState(params=params, opt_state=optimizer.init(params))


def one_step(config, data, *, step=3, optimizer=None, put=lambda x: x, penalty=no_penalty):
    optimizer = optimizer or optax.sgd(1.0)
    inputs = StepInputs(step=np.int32(step), seed=np.uint32(5), tables={})
    run = jax.jit(make_train_step(bigram, penalty, optimizer, config))
    new, metrics = run(state(optimizer), jax.tree.map(put, data), inputs)
    return np.asarray(new.params["table"]), jax.tree.map(np.asarray, metrics)


def config(**changes):
    settings = {"microbatches": 1, "z_loss": 0.0, "random": False, "checksum": False}
    return StepConfig(**{**settings, **changes})


def reference(data, z_loss):
    """Nats of each row, the table after a step of gradient descent, targets, in float64."""
    table = np.random.default_rng(1).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
    table = table.astype(np.float64)
    gradient, nats, count = np.zeros_like(table), np.zeros(ROWS), 0
    for row in range(ROWS):
        for column in range(LENGTH):
            if not data["segment_ids"][row, column]:
                continue
            source, target = data["inputs"][row, column], data["targets"][row, column]
            log_partition = np.log(np.exp(table[source]).sum())
            probability = np.exp(table[source] - log_partition)
            nats[row] += log_partition - table[source, target]
            gradient[source] += probability * (1 + 2 * z_loss * log_partition)
            gradient[source, target] -= 1
            count += 1
    return nats, table - gradient / count, count


@pytest.mark.parametrize("microbatches", [1, 4, 16])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_loss_and_update_match_the_formula_whatever_the_microbatches(microbatches, z_loss):
    data = batch()
    nats, updated, count = reference(data, z_loss)
    table, metrics = one_step(config(microbatches=microbatches, z_loss=z_loss), data)
    assert metrics["targets"] == count
    assert metrics["loss"] == pytest.approx(nats.sum() / count, rel=1e-6)
    np.testing.assert_allclose(table, updated, atol=2e-6)
    # By row, in the order of the batch though microbatches take every n-th row.
    np.testing.assert_allclose(metrics["nats_B"], nats, rtol=1e-5)
    np.testing.assert_array_equal(metrics["targets_B"], data["segment_ids"].sum(axis=1))


@pytest.mark.parametrize("view", [(1, 8, 1, 1), (1, 2, 4, 1), (2, 4, 1, 1), (2, 2, 2, 1)])
@pytest.mark.parametrize("microbatches", [1, 2])
def test_loss_and_update_do_not_depend_on_the_mesh_view(view, microbatches):
    sharding = batch_sharding(mesh_view(ViewShape(*view), jax.devices()))
    data = batch()
    nats, updated, count = reference(data, 0.0)
    table, metrics = one_step(
        config(microbatches=microbatches), data, put=lambda x: jax.device_put(x, sharding)
    )
    assert metrics["loss"] == pytest.approx(nats.sum() / count, rel=1e-6)
    np.testing.assert_allclose(table, updated, atol=2e-6)
    np.testing.assert_allclose(metrics["nats_B"], nats, rtol=1e-5)
    np.testing.assert_array_equal(metrics["targets_B"], data["segment_ids"].sum(axis=1))


@pytest.mark.parametrize("microbatches", [1, 4])
def test_a_penalty_is_added_to_the_mean_loss(microbatches):
    """Its gradient is not divided by the number of targets, nor multiplied by that of parts."""
    data = batch()
    penalty = lambda params, key: 0.3 * jnp.sum(params["table"])
    parts = config(microbatches=microbatches)
    plain, metrics = one_step(parts, data)
    table, penalized = one_step(parts, data, penalty=penalty)
    np.testing.assert_allclose(table, plain - 0.3, atol=2e-6)
    assert penalized["loss"] == metrics["loss"]  # of the targets alone


@pytest.mark.parametrize("microbatches", [1, 4])
def test_targets_that_are_taken_out_count_as_padding_does(microbatches):
    data = batch()
    out = np.random.default_rng(2).random((ROWS, LENGTH)) < 0.5
    padded = {**data, "segment_ids": np.where(out, 0, data["segment_ids"])}
    nats, updated, count = reference(padded, 0.1)
    without = {**data, "targets": np.where(out, -1, data["targets"]).astype(np.int32)}
    table, metrics = one_step(config(microbatches=microbatches, z_loss=0.1), without)
    assert metrics["targets"] == count
    assert metrics["loss"] == pytest.approx(nats.sum() / count, rel=1e-6)
    np.testing.assert_allclose(table, updated, atol=2e-6)


def test_a_batch_of_padding_alone_changes_nothing():
    data = {name: np.zeros_like(array) for name, array in batch().items()}
    table, metrics = one_step(config(), data)
    assert metrics["loss"] == 0
    np.testing.assert_array_equal(table, np.asarray(state(optax.sgd(1.0)).params["table"]))


@pytest.mark.parametrize("view", [None, (2, 2, 2, 1)])
def test_a_guarded_step_leaves_all_as_it_was_or_is_the_plain_one(view):
    """Bit by bit, counters included, and in one program for whatever limits."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(lambda count: 0.1 / count))
    put = lambda x: x
    if view:
        put = lambda x: jax.device_put(
            x, batch_sharding(mesh_view(ViewShape(*view), jax.devices()))
        )
    data = jax.tree.map(put, batch())

    def losses(params, batch, inputs, key):
        nats, log_partition = bigram(params, batch, inputs, key)
        nats = nats * jnp.where(inputs.seed == 6, jnp.nan, 1.0)
        # Of finite gradient.
        return nats + jnp.where(inputs.seed == 7, jnp.inf, 0.0), log_partition

    runs = {
        guarded: jax.jit(
            make_train_step(losses, no_penalty, optimizer, config(guarded=guarded, checksum=True)),
            donate_argnums=0,
        )
        for guarded in (False, True)
    }

    def run(guarded, seed=5, loss=np.inf, grad_norm=np.inf):
        limits = np.float32(loss), np.float32(grad_norm)
        inputs = StepInputs(np.int32(3), np.uint32(seed), {}, None, None, *limits)
        return jax.tree.map(np.asarray, runs[guarded](state(optimizer), data, inputs))

    def same(a, b):
        return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))

    before = jax.tree.map(np.asarray, state(optimizer))
    plain, metrics = run(False)
    loss, norm = metrics["loss"], metrics["grad_norm"]
    assert not same(plain, before)
    for limits in ({}, {"loss": loss}, {"grad_norm": norm}):  # at the limit is not above it
        assert same(run(True, **limits), (plain, metrics))
    for bad in (
        {"seed": 6},
        {"seed": 7},
        {"loss": np.nextafter(loss, np.float32(0))},
        {"grad_norm": np.nextafter(norm, np.float32(0))},
    ):
        left, figures = run(True, **bad)
        assert same(left, before), bad
        assert np.isfinite(figures["param_norm"])
        assert figures["checksum"] == checksum(before.params)
    assert runs[True]._cache_size() == 1


def test_dropout_noise_is_a_function_of_seed_and_step():
    data, noisy = batch(), config(random=True)
    first, again = one_step(noisy, data)[1]["loss"], one_step(noisy, data)[1]["loss"]
    other = one_step(noisy, data, step=4)[1]["loss"]
    assert first == again != other


def test_the_checksum_sees_one_bit_and_a_swap():
    tree = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    bits = tree["a"].view(np.uint32).copy()
    bits[4] ^= 1
    flipped = {**tree, "a": bits.view(np.float32)}
    swapped = {**tree, "a": tree["a"][[1, 0, 2, 3, 4, 5]]}
    sums = [int(jax.jit(checksum)(t)) for t in (tree, flipped, swapped, tree)]
    assert sums[0] == sums[3]
    assert len({*sums[:3]}) == 3
