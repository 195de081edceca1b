import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from errors import UserError
from model.config import ModelConfig
from model.masks import Mask
from model.positions.rope import RopeScaling, rope_tables
from model.transformer import apply, init_params, logical_axes

CAUSAL = Mask(None, 0)
LENGTH = 20

CONFIG = ModelConfig(
    vocab_size=31,
    layers=2,
    embed_dim=16,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    mlp_dim=24,
    rope_theta=100.0,
    qk_norm=True,
    attention_softcap=2.0,
    logit_softcap=3.0,
    dropout=0.0,
    tie_embeddings=False,
    compute_dtype="float32",
    attention="dense",
    attention_block=8,
    layer_execution="unroll",
    remat="none",
)
PLAIN = dataclasses.replace(
    CONFIG, qk_norm=False, attention_softcap=None, logit_softcap=None, tie_embeddings=True
)


def changed(config, **changes):
    return dataclasses.replace(config, **changes)


compiled_init = jax.jit(init_params, static_argnums=0)
compiled_apply = jax.jit(apply, static_argnums=0, static_argnames="mask")


@functools.cache
def initial_params(config):
    return compiled_init(config, 0)


def make_params(config):
    """Initial parameters, with scales that are not all one."""
    same = changed(config, dropout=0.0, attention="dense", layer_execution="unroll", remat="none")
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), initial_params(same)
    )


def make_inputs(batch=2, length=LENGTH, seed=0):
    tokens = np.random.default_rng(seed).integers(0, 31, (batch, length)).astype(np.int32)
    return tokens, np.tile(np.arange(length, dtype=np.int32), (batch, 1))


def logits_of(
    config, params, tokens, positions, segments=None, mask=CAUSAL, key=None, scaling=("none", 1.0)
):
    rope = rope_tables(config.head_dim, config.rope_theta, RopeScaling(*scaling))
    return compiled_apply(
        config,
        params,
        tokens,
        positions_BL=positions,
        segment_ids_BL=segments,
        rope=rope,
        mask=mask,
        dropout_key=key,
    )


# An independent decoder in float64, one token of one row at a time where that is clearest.


def reference_logits(config, params, tokens, positions):
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def turn(x, position):
        half = config.head_dim // 2
        angle = position * config.rope_theta ** (-2.0 * np.arange(half) / config.head_dim)
        pair = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return np.concatenate((pair.real, pair.imag), -1)

    def cap(x, limit):
        return x if limit is None else limit * np.tanh(x / limit)

    group = config.num_heads // config.num_kv_heads
    rows = []
    for row, row_positions in zip(tokens, positions, strict=True):
        x = p["embedding"][row]
        for n in range(config.layers):
            block = jax.tree.map(lambda leaf: leaf[n], p["blocks"])  # noqa: B023
            attention, mlp = block["attention"], block["mlp"]
            y = norm(x, block["attention_norm"]["scale"])
            heads = {
                name: (y @ attention[name]).reshape(len(row), -1, config.head_dim)
                for name in ("query", "key", "value")
            }
            if config.qk_norm:
                for name in ("query", "key"):
                    heads[name] = norm(heads[name], attention[f"{name}_norm"]["scale"])
            for name in ("query", "key"):
                heads[name] = np.stack(
                    [turn(v, m) for v, m in zip(heads[name], row_positions, strict=True)]
                )
            out = np.zeros_like(heads["query"])
            for h in range(config.num_heads):
                for t in range(len(row)):
                    keys = heads["key"][: t + 1, h // group]
                    scores = keys @ heads["query"][t, h] / np.sqrt(config.head_dim)
                    weights = np.exp(cap(scores, config.attention_softcap))
                    weights /= weights.sum()
                    out[t, h] = weights @ heads["value"][: t + 1, h // group]
            x = x + out.reshape(len(row), -1) @ attention["output"]
            y = norm(x, block["mlp_norm"]["scale"])
            gate = y @ mlp["gate"]
            x = x + (gate / (1 + np.exp(-gate)) * (y @ mlp["up"])) @ mlp["down"]
        x = norm(x, p["final_norm"]["scale"])
        head = p["embedding"].T if config.tie_embeddings else p["unembedding"]
        rows.append(cap(x @ head, config.logit_softcap))
    return np.stack(rows)


@pytest.mark.parametrize(
    "config",
    [CONFIG, PLAIN, changed(PLAIN, num_kv_heads=4), changed(CONFIG, attention="blockwise")],
    ids=["all_options", "plain", "no_groups", "blockwise"],
)
def test_logits_match_an_independent_float64_decoder(config):
    params = make_params(config)
    tokens, positions = make_inputs()
    positions = positions + np.array([[0], [4000]], np.int32)
    actual = logits_of(config, params, tokens, positions)
    assert actual.dtype == jnp.float32
    expected = reference_logits(config, params, tokens, positions)
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=2e-5)


def test_execution_choices_change_neither_results_nor_gradients():
    tokens, positions = make_inputs()
    key = jax.random.key(3)
    config = changed(CONFIG, dropout=0.2)
    params = make_params(config)

    def results(config):
        def loss(params):
            return jnp.square(logits_of(config, params, tokens, positions, key=key)).mean()

        return jax.jit(jax.value_and_grad(loss))(params)

    value, gradient = results(config)
    for changes in (
        {"layer_execution": "scan"},
        {"remat": "full"},
        {"layer_execution": "scan", "remat": "full", "attention": "blockwise"},
    ):
        other_value, other_gradient = results(changed(config, **changes))
        np.testing.assert_allclose(value, other_value, rtol=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4),
            gradient,
            other_gradient,
        )


def test_execution_choices_do_not_change_initial_parameters():
    plain = compiled_init(CONFIG, 7)
    other = compiled_init(changed(CONFIG, layer_execution="scan", remat="full"), 7)
    jax.tree.map(np.testing.assert_array_equal, plain, other)
    assert not np.array_equal(plain["embedding"], compiled_init(CONFIG, 8)["embedding"])


def test_unrolled_layers_come_from_one_split_not_padded_sums():
    """The gradient of the stack must be a concatenation, not a sum of zero-padded stacks."""
    params = make_params(CONFIG)
    tokens, positions = make_inputs()
    loss = lambda p: logits_of(CONFIG, p, tokens, positions).sum()
    program = str(jax.make_jaxpr(jax.grad(loss))(params))
    stacked = f"f32[{CONFIG.layers},{CONFIG.embed_dim},{CONFIG.mlp_dim}]"
    lines = [line for line in program.splitlines() if stacked in line]
    assert any("concatenate" in line for line in lines)
    assert not any(word in line for line in lines for word in (" pad[", " add_any ", " scatter"))


@pytest.mark.parametrize("backend", ["dense", "blockwise"])
def test_a_packed_row_scores_as_its_documents_alone(backend):
    config = changed(CONFIG, attention=backend)
    params = make_params(config)
    tokens, positions = make_inputs(batch=1, length=24)
    lengths = (9, 11)  # and 4 of padding
    segments = np.repeat([1, 2, 0], [*lengths, 4])[None].astype(np.int32)
    restarted = np.concatenate([np.arange(n) for n in (*lengths, 4)])[None].astype(np.int32)
    packed = logits_of(config, params, tokens, restarted, segments)
    assert np.isfinite(packed).all()
    start = 0
    for n in lengths:
        alone = logits_of(config, params, tokens[:, start : start + n], positions[:, :n])
        np.testing.assert_allclose(packed[:, start : start + n], alone, atol=3e-6)
        start += n


def test_gradients_stay_finite_with_padding():
    tokens, positions = make_inputs()
    segments = np.where(np.arange(LENGTH) < 11, 1, 0)[None].repeat(2, 0).astype(np.int32)
    segments[1] = 0  # a row of padding alone
    for backend in ("dense", "blockwise"):
        config = changed(CONFIG, attention=backend)
        loss = lambda p: logits_of(config, p, tokens, positions, segments).sum()  # noqa: B023
        gradient = jax.jit(jax.grad(loss))(make_params(config))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_logits_ignore_later_tokens_and_what_lies_outside_the_window():
    config, mask = changed(CONFIG, layers=1), Mask(4, 2)
    params = make_params(config)
    tokens, positions = make_inputs(batch=1)
    before = logits_of(config, params, tokens, positions, mask=mask)
    other = tokens.copy()
    other[0, 9] = (other[0, 9] + 1) % 31
    after = logits_of(config, params, other, positions, mask=mask)
    moved = np.flatnonzero(np.abs(after - before).max((0, 2)))
    assert moved.tolist() == [9, 10, 11, 12]


def test_another_position_scaling_changes_logits():
    params = make_params(CONFIG)
    tokens, positions = make_inputs()
    plain = logits_of(CONFIG, params, tokens, positions)
    for scaling in (("linear", 4.0), ("ntk", 4.0)):
        other = logits_of(CONFIG, params, tokens, positions, scaling=scaling)
        assert np.abs(other - plain).max() > 1e-3


def test_dropout_is_a_function_of_its_key():
    config = changed(CONFIG, dropout=0.3)
    params = make_params(config)
    inputs = make_inputs()
    off = logits_of(config, params, *inputs)
    np.testing.assert_array_equal(off, logits_of(CONFIG, params, *inputs))
    first, again, other = (
        logits_of(config, params, *inputs, key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - off).max() > 1e-2
    assert np.abs(first - other).max() > 1e-2


def test_each_dropout_draws_its_own_key():
    from model.layers import block_keys

    key = jax.random.key(0)
    drawn = [jax.random.fold_in(key, 0)]
    for layer in range(4):
        drawn.extend(block_keys(key, layer))
    assert len({tuple(jax.random.key_data(k).tolist()) for k in drawn}) == 9


def test_dropout_keeps_the_mean_and_drops_the_asked_share():
    from model.layers import dropout

    dropped = dropout(jnp.ones((400, 500)), 0.3, jax.random.key(0))
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.005
    assert abs(float(dropped.mean()) - 1) < 0.01


@pytest.mark.parametrize("layers", [2, 8])
def test_initial_residual_outputs_shrink_with_depth(layers):
    config = changed(PLAIN, layers=layers, embed_dim=64, mlp_dim=128, head_dim=16)
    params = compiled_init(config, 0)
    blocks = params["blocks"]
    residual = (2 * layers) ** -0.5
    expected = {
        ("attention", "query"): 64**-0.5,
        ("attention", "value"): 64**-0.5,
        ("mlp", "gate"): 64**-0.5,
        ("attention", "output"): residual * 64**-0.5,
        ("mlp", "down"): residual * 128**-0.5,
    }
    for (part, name), std in expected.items():
        weights = np.asarray(blocks[part][name])
        assert abs(weights.std() / std - 1) < 0.03
        assert abs(weights.mean()) < 0.05 * std
        assert not np.array_equal(weights[0], weights[1])
    assert abs(np.asarray(params["embedding"]).std() * 8 - 1) < 0.05
    assert all((s == 1).all() for s in (blocks["mlp_norm"]["scale"], params["final_norm"]["scale"]))


@pytest.mark.parametrize("config", [CONFIG, PLAIN], ids=["all_options", "plain"])
def test_logical_axes_mirror_the_parameters(config):
    params = jax.eval_shape(lambda: init_params(config, 0))
    axes = logical_axes(config)
    sizes = {
        "layers": config.layers,
        "embed": config.embed_dim,
        "heads": config.num_heads * config.head_dim,
        "kv_heads": config.num_kv_heads * config.head_dim,
        "mlp": config.mlp_dim,
        "vocab": config.vocab_size,
        None: config.head_dim,
    }

    def check(leaf, names):
        assert leaf.dtype == jnp.float32
        assert leaf.shape == tuple(sizes[name] for name in names)

    jax.tree.map(check, params, axes)
    assert all(names[0] == "layers" for names in jax.tree.leaves(axes["blocks"], is_leaf=is_tuple))
    assert ("unembedding" in params) != config.tie_embeddings


def is_tuple(x):
    return isinstance(x, tuple)


def test_bfloat16_computes_near_float32():
    params = make_params(PLAIN)
    inputs = make_inputs()
    exact = logits_of(PLAIN, params, *inputs)
    narrow = logits_of(changed(PLAIN, compute_dtype="bfloat16"), params, *inputs)
    assert narrow.dtype == jnp.float32
    difference = float(jnp.abs(narrow - exact).max())
    assert 0 < difference < 0.1 * float(jnp.abs(exact).max())


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 0},
        {"attention_block": -1},
        {"num_kv_heads": 3},
        {"head_dim": 7},
        {"dropout": 1.0},
        {"logit_softcap": 0.0},
        {"compute_dtype": "float16"},
        {"layer_execution": "loop"},
        {"remat": "dots"},
    ],
    ids=str,
)
def test_settings_without_meaning_name_their_field(changes):
    with pytest.raises(UserError, match=next(iter(changes))):
        changed(CONFIG, **changes)
