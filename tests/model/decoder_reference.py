"""A small decoder to test, and the same decoder as plain float64 numpy."""

import dataclasses
import functools

import jax
import numpy as np

from lengthwise.common.trees import build, overlay
from lengthwise.configs import base
from lengthwise.model.attention.masks import Mask
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
    qk_norm=True,
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
    CONFIG, qk_norm=False, attention_softcap=0.0, logit_softcap=0.0, tie_embeddings=True
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


def reference_logits(config, params, tokens, positions, segments=None, log_n=0, mask=CAUSAL):
    """Logits [B, L, V]; where the segment is 0, without meaning."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    learned = p.get("positions", {})

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def cap(x, limit=config.attention_softcap):
        return limit * np.tanh(x / limit) if limit else x

    def of_layer(scheme, number):
        """What the scheme learned for this use of it."""
        own = learned.get(scheme.name, {})
        return jax.tree.map(lambda leaf: leaf[number], own) if scheme.per_layer else own

    group = config.num_heads // config.num_kv_heads
    rows = []
    for b, row in enumerate(tokens):
        row_segments = np.ones(len(row), int) if segments is None else segments[b]
        # Padding as a document of its own: a query that sees nothing has no weights.
        seen = visible(len(row), mask, row_segments + 1)
        x = p["embedding"][row]
        if config.input_scheme is not None:
            own = {"embed_dim": config.embed_dim, **learned.get(config.input_scheme.name, {})}
            x = x + input_vectors(config.input_scheme, own, row, positions[b], row_segments)
        used = dict.fromkeys([s.name for s in config.layer_schemes], 0)
        for n in range(config.layers):
            scheme = config.layer_schemes[n % len(config.layer_schemes)]
            own = of_layer(scheme, used[scheme.name])
            used[scheme.name] += 1
            block = jax.tree.map(lambda leaf: leaf[n], p["blocks"])  # noqa: B023
            attention, mlp = block["attention"], block["mlp"]
            y = norm(x, block["attention_norm"]["scale"])
            heads = {
                name: (y @ attention[name]).reshape(len(row), -1, config.head_dim)
                for name in ("query", "key", "value")
            }
            if config.smeared_keys:
                share, plain = 1 / (1 + np.exp(-attention["key_gate"]))[:, None], heads["key"]
                heads["key"] = plain.copy()
                for t in range(1, len(row)):
                    if seen[t, t - 1]:
                        heads["key"][t] = share * plain[t] + (1 - share) * plain[t - 1]
            if config.qk_norm:
                for name in ("query", "key"):
                    heads[name] = norm(heads[name], attention[f"{name}_norm"]["scale"])
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
            x = x + out.reshape(len(row), -1) @ attention["output"]
            y = norm(x, block["mlp_norm"]["scale"])
            gate = y @ mlp["gate"]
            x = x + (gate / (1 + np.exp(-gate)) * (y @ mlp["up"])) @ mlp["down"]
        x = norm(x, p["final_norm"]["scale"])
        head = p["embedding"].T if config.tie_embeddings else p["unembedding"]
        rows.append(cap(x @ head, config.logit_softcap))
    return np.stack(rows)
