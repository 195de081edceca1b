"""Which backend serves what: the table, the choice of "auto", and what the GPU's is asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.trees import build, overlay
from lengthwise.configs import base
from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.cudnn import cudnn_attention
from lengthwise.model.attention.backends.support import (
    BACKENDS,
    PLATFORMS,
    Request,
    choose_backend,
    refusal,
)
from lengthwise.model.attention.biases import LinearBias
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.config import ModelConfig
from lengthwise.model.layers import block
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec
from lengthwise.model.transformer import apply, init_params, position_tables
from tests.model.attention.attention_reference import make_case, reference
from tests.model.decoder_reference import PLAIN, changed, make_inputs


def test_auto_takes_the_kernel_of_the_platform_where_it_can_serve():
    plain, packed = Request(), Request(segments=True)
    assert choose_backend("auto", "tpu", 2048, [plain])[0] == "splash"
    assert choose_backend("auto", "tpu", 2048, [packed])[0] == "splash"
    assert choose_backend("auto", "gpu", 2048, [plain])[0] == "cudnn"
    backend, reason = choose_backend("auto", "gpu", 8192, [packed])
    assert backend == "blockwise"
    assert "cudnn can't serve: documents" in reason
    assert choose_backend("auto", "tpu", 8192, [Request(bias="block")])[0] == "blockwise"
    assert choose_backend("auto", "tpu", 8192, [Request(row_devices=2)])[0] == "splash"
    thin = Request(length=384, row_devices=2)  # chunks of 96 tokens
    assert choose_backend("auto", "tpu", 384, [thin])[0] == "dense"
    assert choose_backend("auto", "cpu", 64, [plain])[0] == "dense"
    assert choose_backend("auto", "cpu", 4096, [plain])[0] == "blockwise"
    backend, reason = choose_backend("auto", "tpu", 8192, [Request(normalizer=True)])
    assert backend == "dense"
    assert "softmax" in reason


@pytest.mark.parametrize("backend", PLATFORMS)
def test_a_kernel_is_refused_elsewhere(backend):
    with pytest.raises(UserError, match=f"{backend}.*{PLATFORMS[backend]} only, this is cpu"):
        choose_backend(backend, "cpu", 2048, [Request()])


def test_explicit_choices_stand_and_unknown_ones_are_named():
    for name in ("dense", "blockwise"):
        assert choose_backend(name, "tpu", 64, [Request()]) == (name, "asked for")
    assert choose_backend("splash", "tpu", 64, [Request()])[0] == "splash"
    with pytest.raises(UserError, match=r"flash.*auto, dense, blockwise, splash, cudnn"):
        choose_backend("flash", "cpu", 64, [Request()])
    with pytest.raises(ValueError, match="flash"):
        refusal("flash", Request())


@pytest.mark.parametrize(
    ("request_", "refusing"),
    [
        (Request(), set()),
        (Request(mask=Mask(window=9)), set()),
        (Request(mask=Mask(window=9, sinks=1)), {"cudnn"}),
        (Request(mask=Mask(chunk=64)), {"cudnn"}),
        (Request(mask=Mask(chunk=60)), {"cudnn", "splash"}),
        (Request(mask=Mask(prefix=3)), {"cudnn"}),
        (Request(segments=True), {"cudnn"}),
        (Request(softcap=True), {"cudnn"}),
        (Request(bias="linear"), {"cudnn"}),
        (Request(bias="linear", softcap=True), {"cudnn", "splash"}),
        (Request(bias="block"), {"cudnn", "splash"}),
        (Request(bias="context"), {"cudnn", "splash"}),
        (Request(far=True), {"cudnn", "splash"}),
        (Request(normalizer=True), {"cudnn", "splash", "blockwise"}),
        (Request(bias="context", far=True), set(BACKENDS)),
        (Request(bias="context", mask=Mask(prefix=3)), set(BACKENDS)),
        (Request(row_devices=2), {"cudnn"}),
        (Request(row_devices=2, length=384), {"cudnn", "splash"}),
        (Request(row_devices=2, normalizer=True), set(BACKENDS)),
        (Request(dtype="float32"), {"cudnn"}),
        (Request(head_dim=256), {"cudnn"}),
        (Request(head_dim=12), {"cudnn"}),
    ],
    # The order of a set is another in each process that takes part in a run of tests.
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_the_table(request_, refusing):
    assert {name for name in BACKENDS if refusal(name, request_)} == refusing


@pytest.mark.parametrize(("scheme", "backend"), [("rope", "cudnn"), ("seqpe", "blockwise")])
def test_a_scheme_that_widens_queries_is_asked_for_as_such(scheme, backend):
    """SeqPE doubles the channels: cuDNN, which serves 128, would be chosen and then refuse."""
    defaults = base.get_config().model.to_dict()
    asked = {"head_dim": 80, "positions": {"scheme": scheme}}
    settings = build(ModelConfig, overlay(defaults, asked, "model"), "model")
    model = ModelSpec.of(settings, 257, "gpu")
    chosen, _ = model.backend(4096, CAUSAL, far=False, segmented=False, row_devices=1)
    assert chosen == backend


@pytest.mark.parametrize(
    ("platform", "length", "far", "weights", "expected"),
    [
        ("cpu", 64, False, "softmax", "dense"),
        ("cpu", 256, False, "softmax", "blockwise"),
        ("cpu", 256, False, "lssa", "dense"),
        ("tpu", 256, False, "softmax", "splash"),
        ("tpu", 256, True, "softmax", "dense"),
    ],
)
def test_the_traced_backend_is_the_one_announced_at_start(
    platform, length, far, weights, expected, monkeypatch
):
    config = changed(PLAIN, attention="auto", platform=platform, attention_weights=weights)
    scaling = RopeScaling("none", ceiling=9) if far else UNSCALED
    backends = set()

    def spy(q_BLHC, *_, backend, **__):
        backends.add(backend)
        return q_BLHC

    monkeypatch.setattr(block, "attend", spy)
    tokens, positions = make_inputs(1, length)
    context = {
        "positions_BL": positions,
        "segment_ids_BL": None,
        "tables": position_tables(config, scaling, UNSCALED, length),
        "mask": CAUSAL,
        "key": None,
    }
    params = jax.eval_shape(lambda: init_params(config, 0))
    jax.eval_shape(functools.partial(apply, config, **context), params, tokens)
    announced, _ = config.backend(length, CAUSAL, far, segmented=False, row_devices=1)
    assert (backends, announced) == ({expected}, expected)


def test_attend_refuses_with_the_tables_reason():
    q = jnp.zeros((1, 8, 2, 8), jnp.bfloat16)
    asked = {"mask": CAUSAL, "softcap": 0.0, "block_size": 0}
    with pytest.raises(ValueError, match=r"cudnn.*documents in a row"):
        attend(q, q, q, backend="cudnn", segment_ids_BL=jnp.ones((1, 8), int), **asked)
    asked = {**asked, "softcap": 2.0, "bias": LinearBias(jnp.ones(2))}
    with pytest.raises(ValueError, match=r"splash.*soft cap"):
        attend(q, q, q, backend="splash", segment_ids_BL=None, **asked)


@pytest.mark.parametrize("mask", [CAUSAL, Mask(window=1), Mask(window=7), Mask(window=99)], ids=str)
def test_the_arguments_of_the_gpu_call_mean_the_mask(mask):
    """XLA's implementation of the call that cuDNN's is another of; a GPU is not needed."""
    case = make_case(0, 2, 37, 4, 2, 8, None)

    def loss(q, k, v):
        out = cudnn_attention(q, k, v, mask=mask, fused=False)
        return jnp.sum(out * case.d_out), out

    gradients, out = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(case.q, case.k, case.v)
    for actual, expected in zip((out, *gradients), reference(case, mask), strict=False):
        np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=2e-5)


def test_one_backend_serves_all_layers():
    layers = [Request(), Request(mask=Mask(chunk=12))]
    backend, reason = choose_backend("auto", "tpu", 8192, layers)
    assert backend == "blockwise"
    assert "chunks must be a power of two long" in reason
