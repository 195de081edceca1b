"""A small decoder to test, and the same decoder as plain float64 numpy."""

import dataclasses
import functools

import jax
import numpy as np
import scipy.stats

from lengthwise.common.trees import build, overlay
from lengthwise.configs import base
from lengthwise.model.attention.masks import Mask
from lengthwise.model.config import BlockConfig
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.positions.settings import PositionSettings
from lengthwise.model.spec import ModelSpec
from lengthwise.model.transformer import apply, init_params, position_tables
from tests.model.attention.attention_reference import softplus_weights, visible
from tests.model.positions.position_reference import input_vectors
from tests.model.positions.position_reference import scores as position_scores

CAUSAL = Mask(None, 0)
LENGTH = 20


def position_settings(**changes):
    """The settings of configs/base.py, with some changed: rope={"theta": 100.0}."""
    defaults = base.get_config().model.positions.to_dict()
    return build(PositionSettings, overlay(defaults, changes, "positions"), "positions")


CONFIG = ModelSpec(
    vocab_size=31,
    platform="cpu",
    layers=2,
    embed_dim=16,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    mlp_dim=24,
    positions=position_settings(rope={"theta": 100.0}),
    layer_pattern=(),
    qk_norm="head",
    attention_softcap=2.0,
    attention_weights="softmax",
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
    CONFIG, qk_norm="none", attention_softcap=0.0, logit_softcap=0.0, tie_embeddings=True
)
# Each variant of a block at least once; mlp_dim is no multiple of anything else.
VARIANTS = {
    "layer norm, parallel, plain, biased (GPT-NeoX)": dataclasses.replace(
        PLAIN,
        mlp_dim=27,
        block=BlockConfig(
            norm="layer",
            norm_epsilon=1e-3,
            parallel=True,
            attention_bias="all",
            mlp="plain",
            mlp_bias=True,
            activation="gelu",
        ),
        vocab_rows=37,
    ),
    "norms of embeddings (BLOOM)": dataclasses.replace(
        PLAIN,
        block=BlockConfig(
            norm="layer",
            attention_bias="all",
            mlp="plain",
            mlp_bias=True,
            activation="gelu_tanh",
        ),
        embedding_norm=True,
    ),
    "four norms, offset, scales (Gemma)": dataclasses.replace(
        CONFIG,
        block=BlockConfig(
            norm_offset=1.0, norm_placement="both", activation="gelu_tanh", attention_scale=0.2
        ),
        embedding_scale=5.0,
    ),
    "post norms, full qk norm (OLMo 2)": dataclasses.replace(
        CONFIG, qk_norm="full", block=BlockConfig(norm_placement="post", norm_epsilon=1e-5)
    ),
    "biases of q, k, v and a gated MLP (Qwen 2)": dataclasses.replace(
        PLAIN, block=BlockConfig(attention_bias="qkv", mlp_bias=True)
    ),
    "factors, ReLU (Granite)": dataclasses.replace(
        PLAIN,
        block=BlockConfig(attention_scale=0.05, residual_scale=0.3, activation="relu"),
        embedding_scale=3.0,
        logit_scale=0.25,
    ),
}
# A period and a part of one; two settings of a scheme, and three masks.
PATTERN = dataclasses.replace(
    PLAIN,
    layers=5,
    layer_pattern=("rope:theta=50.0/window:size=5", "rope/full", "fire/chunks:size=7,sinks=2"),
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
    config, params, tokens, positions, segments=None, mask=CAUSAL, key=None, scaling=UNSCALED
):
    return compiled_apply(
        config,
        params,
        tokens,
        positions_BL=positions,
        segment_ids_BL=segments,
        tables=position_tables(config, scaling, UNSCALED, tokens.shape[1]),
        mask=mask,
        key=key,
    )


# An independent decoder in float64, one row at a time.

ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * scipy.stats.norm.cdf(x),
    # The cubic approximation (Hendrycks & Gimpel, arXiv:1606.08415).
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def reference_logits(config, params, tokens, positions, segments=None, log_n=0, mask=CAUSAL):
    """Logits [B, L, V]; where the segment is 0, without meaning."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    learned = p.get("positions", {})

    style = config.block

    def norm(x, learned):
        """x, normalized by mean square; by variance where the norm has a bias."""
        if "bias" in learned:
            x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + style.norm_epsilon)
        return x * (style.norm_offset + learned["scale"]) + learned.get("bias", 0)

    def around(name, block, x, branch):
        """branch(x) between the norms that a block has there."""
        before, after = block.get(f"{name}_norm"), block.get(f"{name}_post_norm")
        y = branch(x if before is None else norm(x, before))
        return (y if after is None else norm(y, after)) * style.residual_scale

    def cap(x, limit=config.attention_softcap):
        return limit * np.tanh(x / limit) if limit else x

    def of_layer(scheme, number):
        """What the scheme learned for this use of it."""
        own = learned.get(config.key_of(scheme), {})
        return jax.tree.map(lambda leaf: leaf[number], own) if scheme.per_layer else own

    def run(mlp, y):
        up = y @ mlp["up"] + mlp.get("up_bias", 0)
        if style.mlp == "gated":
            hidden = ACTIVATIONS[style.activation](y @ mlp["gate"] + mlp.get("gate_bias", 0)) * up
        else:
            hidden = ACTIVATIONS[style.activation](up)
        return hidden @ mlp["down"] + mlp.get("down_bias", 0)

    group = config.num_heads // config.num_kv_heads
    rows = []
    for b, row in enumerate(tokens):
        row_segments = np.ones(len(row), int) if segments is None else segments[b]
        # Padding as a document of its own: a query that sees nothing has no weights.
        shown = visible(len(row), mask, row_segments + 1)
        x = p["embedding"][row] * config.embedding_scale
        if config.embedding_norm:
            x = norm(x, p["embedding_norm"])
        if config.input_scheme is not None:
            own = {"embed_dim": config.embed_dim, **learned.get(config.input_scheme.name, {})}
            x = x + input_vectors(config.input_scheme, own, row, positions[b], row_segments)
        used = dict.fromkeys(config.layer_schemes, 0)
        for n in range(config.layers):
            scheme = config.layer_schemes[n % len(config.layer_schemes)]
            own = of_layer(scheme, used[scheme])
            used[scheme] += 1
            layer_mask = config._layers.masks[n % len(config.layer_schemes)]
            of_layer_alone = visible(len(row), layer_mask, row_segments + 1)
            seen = shown if layer_mask == CAUSAL else shown & of_layer_alone
            block = jax.tree.map(lambda leaf: leaf[n], p["blocks"])  # noqa: B023
            attention, mlp = block["attention"], block["mlp"]
            y = x if style.norm_placement == "post" else norm(x, block["attention_norm"])
            heads = {
                name: y @ attention[name] + attention.get(f"{name}_bias", 0)
                for name in ("query", "key", "value")
            }
            for name in ("query", "key"):
                if config.qk_norm == "full":
                    heads[name] = norm(heads[name], attention[f"{name}_norm"])
            heads = {n: h.reshape(len(row), -1, config.head_dim) for n, h in heads.items()}
            if config.smeared_keys:
                share, plain = 1 / (1 + np.exp(-attention["key_gate"]))[:, None], heads["key"]
                heads["key"] = plain.copy()
                for t in range(1, len(row)):
                    if seen[t, t - 1]:
                        heads["key"][t] = share * plain[t] + (1 - share) * plain[t - 1]
            for name in ("query", "key"):
                if config.qk_norm == "head":
                    heads[name] = norm(heads[name], attention[f"{name}_norm"])
            if style.attention_scale:  # the scores below are divided by sqrt(C)
                heads["query"] = heads["query"] * style.attention_scale * config.head_dim**0.5
            softmax = config.attention_weights == "softmax"
            if not softmax:
                for name in ("query", "key"):
                    heads[name] /= np.linalg.norm(heads[name], axis=-1, keepdims=True)
            if log_n:
                scale = np.maximum(1, np.log(positions[b] + 1) / np.log(log_n))
                heads["query"] = heads["query"] * scale[:, None, None]
            scores = position_scores(
                scheme, own, heads["query"], heads["key"], positions[b], seen, cap
            )
            out = np.zeros_like(heads["query"])
            for h in range(config.num_heads):
                if softmax:
                    weights = np.where(seen, np.exp(scores[h]), 0)
                    weights /= weights.sum(1, keepdims=True)
                else:
                    weights = np.zeros_like(scores[h])
                    for t in range(len(row)):
                        cosines = scores[h, t, : t + 1] * np.sqrt(config.head_dim)
                        weights[t, : t + 1] = softplus_weights(cosines, config.head_dim, power=15)
                out[:, h] = weights @ heads["value"][:, h // group]
            added = out.reshape(len(row), -1) @ attention["output"]
            added = added + attention.get("output_bias", 0)
            if style.norm_placement != "pre":
                added = norm(added, block["attention_post_norm"])
            before, x = x, x + added * style.residual_scale
            x = x + around("mlp", block, before if style.parallel else x, lambda y: run(mlp, y))  # noqa: B023
        x = norm(x, p["final_norm"]) * config.logit_scale
        head = p["embedding"].T if config.tie_embeddings else p["unembedding"]
        rows.append(cap(x @ head, config.logit_softcap))
    return np.stack(rows)
