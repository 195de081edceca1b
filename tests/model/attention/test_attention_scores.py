"""Biases, far fields and normalizers against the float64 reference, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.support import ANYWHERE
from lengthwise.model.attention.biases import BlockBias, FarField, LinearBias
from lengthwise.model.attention.masks import CAUSAL, Mask
from tests.model.attention.attention_reference import make_case, reference, visible
from tests.model.attention.test_attention import packed_segments

LENGTH, BLOCK, HEADS, KV_HEADS = 37, 8, 4, 2
SLOPES = np.array([0.5, 0.25, 0.125, 1.0], np.float32)
FIELDS = {
    "causal": (CAUSAL, False, 0.0),
    "window, packed": (Mask(window=13, sinks=2), True, 0.0),
    "chunks, capped": (Mask(chunk=16), False, 1.5),
    "prefix": (Mask(prefix=11), False, 0.0),
}


def skipping_positions():
    """[2, LENGTH], increasing by 1 or more; the rows differ."""
    steps = np.random.default_rng(1).integers(1, 4, (2, LENGTH))
    return np.cumsum(steps, axis=1).astype(np.int32)


def logarithmic(params, q_positions, k_positions):
    """KERPLE's form, with a scale and a rate a head."""
    distance = jnp.abs(q_positions[:, :, None] - k_positions[:, None, :]).astype(jnp.float32)
    scale, rate = (params[name][None, :, None, None] for name in ("scale", "rate"))
    return -scale * jnp.log1p(rate * distance[:, None])


def matches(actual, expected, tolerance, name):
    np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize(
    ("kind", "field", "positions"),
    [
        ("linear", "causal", None),
        ("linear", "window, packed", skipping_positions()),
        ("linear", "chunks, capped", skipping_positions()),
        ("block", "causal", skipping_positions()),
        ("block", "window, packed", None),
        ("block", "chunks, capped", None),
        ("block", "prefix", skipping_positions()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_biases_and_their_gradients_match_float64(backend, kind, field, positions):
    mask, packed, softcap = FIELDS[field]
    case = make_case(0, 2, LENGTH, HEADS, KV_HEADS, 4, packed_segments(LENGTH) if packed else None)
    params = {"scale": SLOPES * 3, "rate": SLOPES[::-1] / 2}

    def bias_of(params):
        if kind == "linear":
            return LinearBias(params["scale"])
        return BlockBias(logarithmic, params)

    def loss(q, k, v, params):
        out = attend(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=None if case.segments is None else jnp.asarray(case.segments),
            positions_BL=None if positions is None else jnp.asarray(positions),
            bias=bias_of(params),
            softcap=softcap,
            backend=backend,
            block_size=BLOCK,
        )
        return jnp.sum(out * case.d_out), out

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))
    (dq, dk, dv, d_params), out = gradient(case.q, case.k, case.v, params)

    rows = np.arange(LENGTH)[None].repeat(2, 0) if positions is None else positions
    distance = (rows[:, None, :] - rows[:, :, None]).astype(np.float64)[:, None]
    scale, rate = (x.astype(np.float64)[None, :, None, None] for x in params.values())
    if kind == "linear":
        bias = scale * distance
        slope = {"scale": distance, "rate": 0 * rate}
    else:
        bias = -scale * np.log1p(rate * np.abs(distance))
        slope = {
            "scale": -np.log1p(rate * np.abs(distance)),
            "rate": -scale * np.abs(distance) / (1 + rate * np.abs(distance)),
        }
    expected = reference(case, mask, softcap=softcap, bias_BHLL=bias)
    for name, actual in {"out": out, "dq": dq, "dk": dk, "dv": dv}.items():
        matches(actual, getattr(expected, name), 1e-5, name)
    for name, actual in d_params.items():
        matches(actual, (expected.d_bias * slope[name]).sum((0, 2, 3)), 1e-4, name)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize(
    ("field", "boundary"),
    [
        *(("causal", boundary) for boundary in (1, 8, 11, 30, 99)),
        ("window, packed", 8),
        ("chunks, capped", 5),
        ("prefix", 12),
    ],
)
def test_far_fields_and_their_gradients_match_float64(backend, field, boundary):
    mask, packed, softcap = FIELDS[field]
    segments = packed_segments(LENGTH) if packed else None
    case = make_case(1, 2, LENGTH, HEADS, KV_HEADS, 4, segments)
    other = make_case(2, 2, LENGTH, HEADS, KV_HEADS, 4, None)

    def loss(q, k, v, far_q, far_k):
        out = attend(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=None if segments is None else jnp.asarray(segments),
            far=FarField(far_q, far_k, boundary),
            softcap=softcap,
            backend=backend,
            block_size=BLOCK,
        )
        return jnp.sum(out * case.d_out), out

    gradient = jax.jit(jax.grad(loss, argnums=range(5), has_aux=True))
    gradients, out = gradient(case.q, case.k, case.v, other.q, other.k)
    expected = reference(
        case, mask, softcap=softcap, far_q=other.q, far_k=other.k, boundary=boundary
    )
    actual = dict(zip(("dq", "dk", "dv", "far_dq", "far_dk"), gradients, strict=True), out=out)
    for name, array in actual.items():
        matches(array, getattr(expected, name), 1e-5, name)


def test_a_bias_costs_blockwise_no_square_of_the_length():
    def temporaries(length):
        q = jax.ShapeDtypeStruct((1, length, HEADS, 16), jnp.float32)
        params = {name: jax.ShapeDtypeStruct((HEADS,), jnp.float32) for name in ("scale", "rate")}

        def loss(q, params):
            bias = BlockBias(logarithmic, params)
            asked = {"segment_ids_BL": None, "softcap": 0.0, "block_size": 256, "bias": bias}
            return attend(q, q, q, mask=CAUSAL, backend="blockwise", **asked).sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(q, params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(65536) < 10 * temporaries(8192)


def test_a_normalizer_takes_the_place_of_the_softmax():
    case = make_case(3, 1, LENGTH, 2, 1, 4, None)

    def relu(scores, visible):
        return jnp.where(visible, jax.nn.relu(scores), 0)

    asked = {"mask": Mask(window=5), "segment_ids_BL": None, "softcap": 0.0, "block_size": 8}
    asked["normalizer"] = relu
    out = attend(case.q, case.k, case.v, backend="dense", **asked)
    raw = np.einsum("blhc,bthc->bhlt", case.q, case.k.repeat(2, 2)) / 2
    weights = np.where(visible(LENGTH, Mask(window=5), None), np.maximum(raw, 0), 0)
    expected = np.einsum("bhlt,bthc->blhc", weights, case.v.repeat(2, 2))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"blockwise.*softmax"):
        attend(case.q, case.k, case.v, backend="blockwise", **asked)
