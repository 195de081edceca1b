import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.model import flops
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.spec import ModelSpec
from lengthwise.model.transformer import apply, init_params, position_tables
from tests.model.attention.attention_reference import visible
from tests.model.attention.test_masks import masks
from tests.model.decoder_reference import PATTERN, VARIANTS, position_settings

CONFIG = ModelSpec(
    vocab_size=31,
    platform="cpu",
    layers=2,
    embed_dim=16,
    num_heads=6,
    num_kv_heads=2,
    head_dim=8,
    mlp_dim=24,
    positions=position_settings(rope={"theta": 100.0}),
    layer_pattern=(),
    qk_norm="head",
    attention_softcap=0.0,
    attention_weights="softmax",
    logit_softcap=0.0,
    dropout=0.0,
    tie_embeddings=False,
    compute_dtype="float32",
    attention="dense",
    attention_block=8,
    layer_execution="unroll",
    remat="none",
)
TIED = dataclasses.replace(
    CONFIG, tie_embeddings=True, qk_norm="none", num_kv_heads=6, smeared_keys=True
)
CAUSAL = Mask(None, 0)


@pytest.mark.parametrize(
    "config",
    [CONFIG, TIED, PATTERN, *VARIANTS.values()],
    ids=["untied", "tied", "pattern", *VARIANTS],
)
def test_parameters_are_counted_as_they_are_made(config):
    params = jax.eval_shape(lambda: init_params(config, 0))
    assert flops.parameter_count(config) == sum(math.prod(x.shape) for x in jax.tree.leaves(params))


@given(st.integers(1, 20), masks(24))
def test_visible_pairs_are_counted_one_by_one(length, mask):
    counted = int(visible(length, mask, None).sum())
    assert flops.visible_pairs(mask, length) == counted


def program_flops(jaxpr):
    """2mnk of every matmul of a program, those inside called functions too."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracting, _), _ = equation.params["dimension_numbers"]
            inner = math.prod(equation.invars[0].aval.shape[d] for d in contracting)
            total += 2 * inner * math.prod(equation.outvars[0].aval.shape)
        for parameter in equation.params.values():
            if hasattr(parameter, "jaxpr"):
                total += program_flops(parameter.jaxpr)
            elif hasattr(parameter, "eqns"):
                total += program_flops(parameter)
    return total


@pytest.mark.parametrize("config", [CONFIG, TIED], ids=["untied", "tied"])
def test_flops_are_those_of_the_traced_program(config):
    """The dense path computes the whole square of scores; the formula counts the visible half."""
    batch, length = 3, 10
    tokens = np.zeros((batch, length), np.int32)
    tables = position_tables(config, UNSCALED, UNSCALED, length)
    params = jax.eval_shape(lambda: init_params(config, 0))

    def loss(params):
        logits = apply(
            config,
            params,
            tokens,
            positions_BL=tokens,
            segment_ids_BL=None,
            tables=tables,
            mask=CAUSAL,
            key=None,
        )
        return jnp.sum(logits)

    hidden = length * length - length * (length + 1) // 2
    unseen = 4 * batch * config.layers * config.num_heads * config.head_dim * hidden
    forward = program_flops(jax.make_jaxpr(loss)(params).jaxpr)
    assert forward == flops.forward_flops(config, length, batch, CAUSAL) + unseen
    step = program_flops(jax.make_jaxpr(jax.value_and_grad(loss))(params).jaxpr)
    assert step == flops.train_step_flops(config, length, batch, CAUSAL) + 3 * unseen


def test_a_window_costs_less():
    full, window = (flops.forward_flops(CONFIG, 64, 2, m) for m in (CAUSAL, Mask(8, 1)))
    pairs = 64 * 65 // 2 - int(visible(64, Mask(8, 1), None).sum())
    assert full - window == 2 * 4 * CONFIG.layers * CONFIG.num_heads * CONFIG.head_dim * pairs


def test_layers_are_charged_for_what_their_masks_show():
    """By hand: two layers see 5 keys at most, two all, one chunks of 7 and 2 sinks."""
    length = 12
    window = sum(min(i + 1, 5) for i in range(length))
    causal = length * (length + 1) // 2
    chunks = sum((i + 1) if i < 7 else (i - 7 + 1) + 2 for i in range(length))
    rope_only = dataclasses.replace(
        PATTERN, layer_pattern=tuple(e.replace("fire", "none") for e in PATTERN.layer_pattern)
    )
    plain = dataclasses.replace(rope_only, layer_pattern=())
    heads = 4 * PATTERN.num_heads * PATTERN.head_dim
    saved = heads * (2 * (causal - window) + causal - chunks)
    assert flops.forward_flops(rope_only, length, 3, CAUSAL) == (
        flops.forward_flops(plain, length, 3, CAUSAL) - 3 * saved
    )
