import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.blockwise import choose_block
from lengthwise.model.attention.backends.support import ANYWHERE
from lengthwise.model.attention.masks import CAUSAL, Mask
from tests.model.attention.attention_reference import make_case, reference, visible

LENGTH = 37  # no multiple of the block
BLOCK = 8


def packed_segments(length):
    """Row 0: two documents and padding; row 1: padding, then one document."""
    row_0 = np.repeat([1, 2, 0], [length // 2, length - length // 2 - 5, 5])
    row_1 = np.repeat([0, 1], [3, length - 3])
    return np.stack((row_0, row_1)).astype(np.int32)


@functools.cache
def program(mask, backend, softcap, block):
    """Compiled once a shape, whatever the arrays."""

    def loss(q, k, v, segments, d_out):
        out = attend(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=segments,
            backend=backend,
            softcap=softcap,
            block_size=block,
        )
        return jnp.sum(out * d_out), out

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


def run(case, mask, backend, softcap=0.0, block=BLOCK):
    """(out, dq, dk, dv) of the code under test."""
    arrays = (case.q, case.k, case.v, case.segments, case.d_out)
    grads, out = program(mask, backend, softcap, block)(*arrays)
    return out, *grads


def assert_matches(case, mask, backend, softcap=0.0, block=BLOCK):
    expected = reference(case, mask, softcap=softcap)[:4]
    actual = run(case, mask, backend, softcap, block)
    for name, a, e, tolerance in zip(
        ("out", "dq", "dk", "dv"), actual, expected, (2e-6, 1e-5, 1e-5, 1e-5), strict=True
    ):
        np.testing.assert_allclose(a, e, atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("mask", "heads", "kv_heads", "softcap"),
    [
        (CAUSAL, 2, 2, 0.0),
        (CAUSAL, 4, 2, 1.5),
        (Mask(5, 0), 3, 1, 0.0),
        (Mask(11, 3), 2, 2, 0.0),
        (Mask(11, 3), 4, 2, 1.5),
        (Mask(1, 0), 2, 1, 0.0),
        (Mask(9, 20), 2, 1, 0.0),
        (Mask(chunk=12), 2, 1, 0.0),
        (Mask(chunk=10, sinks=3), 4, 2, 1.5),
        (Mask(prefix=13), 2, 1, 0.0),
        (Mask(prefix=99), 2, 2, 0.0),
    ],
    ids=str,
)
def test_attention_and_gradients_match_float64(backend, packed, mask, heads, kv_heads, softcap):
    segments = packed_segments(LENGTH) if packed else None
    case = make_case(0, 2, LENGTH, heads, kv_heads, 4, segments)
    assert_matches(case, mask, backend, softcap)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 64])
def test_blockwise_serves_lengths_around_the_block(length):
    assert_matches(make_case(1, 2, length, 2, 1, 4, None), CAUSAL, "blockwise")


def test_a_block_of_zero_is_chosen_from_the_batch():
    assert [choose_block(n, CAUSAL) for n in (1, 4, 8, 16, 64)] == [512, 512, 256, 128, 128]
    assert_matches(make_case(1, 1, 140, 16, 1, 4, None), CAUSAL, "blockwise", block=0)


def test_large_scores_do_not_overflow():
    case = make_case(2, 1, LENGTH, 2, 2, 4, None)
    case = case._replace(q=case.q * 60, k=case.k * 60)
    for backend in ANYWHERE:
        out = run(case, CAUSAL, backend)[0]
        np.testing.assert_allclose(out, reference(case, CAUSAL).out, atol=2e-3)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_padding_gives_zeros_and_no_gradient(backend, softcap):
    case = make_case(3, 2, LENGTH, 2, 1, 4, packed_segments(LENGTH))
    out, dq, dk, dv = run(case, Mask(6, 2), backend, softcap)
    padding = case.segments == 0
    for array in (out, dq, dk, dv):
        assert np.isfinite(array).all()
        assert (np.asarray(array)[padding] == 0).all()
        assert (np.asarray(array)[~padding] != 0).any()


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("mask", [CAUSAL, Mask(6, 2)], ids=str)
def test_no_gradient_reaches_what_the_mask_hides(backend, mask):
    """The output at one query depends on exactly the keys that it sees."""
    case = make_case(4, 2, LENGTH, 2, 1, 4, packed_segments(LENGTH))
    for row, query in ((0, 15), (0, 25), (1, 30), (1, 3)):
        d_out = np.zeros_like(case.d_out)
        d_out[row, query] = case.d_out[row, query]
        _, _, dk, dv = run(case._replace(d_out=d_out), mask, backend)
        seen = np.zeros((2, LENGTH), bool)
        seen[row] = visible(LENGTH, mask, case.segments[row])[query]
        for gradient in (dk, dv):
            assert (np.asarray(gradient)[~seen] == 0).all()
        assert (np.abs(dv).max((2, 3)) > 0).tolist() == seen.tolist()


@pytest.mark.parametrize("mask", [CAUSAL, Mask(512, 4)], ids=str)
def test_blockwise_memory_is_linear_in_length(mask):
    def temporaries(length):
        q = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
        k = jax.ShapeDtypeStruct((1, length, 1, 16), jnp.float32)

        def loss(q, k, v):
            out = attend(
                q,
                k,
                v,
                mask=mask,
                segment_ids_BL=None,
                backend="blockwise",
                softcap=0.0,
                block_size=256,
            )
            return out.sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(q, k, k).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = temporaries(8192), temporaries(131072)
    assert long < 20 * short
    assert long < 131072 * 2 * 16 * 4 * 12  # a dozen arrays of the size of q


def test_bfloat16_stays_near_float32():
    case = make_case(5, 1, LENGTH, 2, 1, 8, None)
    narrow = case._replace(**{n: jnp.asarray(getattr(case, n), jnp.bfloat16) for n in "qkv"})
    expected = reference(case, CAUSAL)[:4]
    for backend in ANYWHERE:
        actual = run(narrow, CAUSAL, backend)
        assert all(x.dtype == jnp.bfloat16 for x in actual)
        for a, e in zip(actual, expected, strict=True):
            assert np.abs(np.asarray(a, np.float64) - e).max() < 0.03 * np.abs(e).max()


@pytest.mark.parametrize("backend", ["auto", "flash"])
def test_attend_refuses_what_it_cannot_serve(backend):
    with pytest.raises(ValueError, match=backend):
        run(make_case(6, 1, 8, 2, 1, 4, None), CAUSAL, backend)
