import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.model.attention.masks import CAUSAL, Mask
from tests.model.attention.attention_reference import visible


def masks(limit: int) -> st.SearchStrategy[Mask]:
    """Every kind of mask, with sizes up to `limit`."""
    sizes, counts = st.integers(1, limit), st.integers(0, limit)
    return st.one_of(
        st.builds(lambda window, sinks: Mask(window=window, sinks=sinks), sizes, counts),
        st.builds(lambda chunk, sinks: Mask(chunk=chunk, sinks=sinks), sizes, counts),
        st.builds(lambda prefix: Mask(prefix=prefix), counts),
    )


@given(st.integers(1, 12), masks(14), st.data())
def test_allowed_is_the_spelled_out_rule(length, mask, data):
    segments = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=length, max_size=length))
    segments = None if segments is None else np.array(segments)
    expected = visible(length, mask, segments)
    index = np.arange(length)
    rows = (None, None) if segments is None else (segments[:, None], segments[None, :])
    allowed = mask.allowed(index[:, None], index[None, :], *rows)
    np.testing.assert_array_equal(allowed, expected)
    traced = mask.allowed(jnp.asarray(index[:, None]), jnp.asarray(index[None, :]), *rows)
    np.testing.assert_array_equal(traced, expected)


def test_a_window_of_w_is_w_keys_self_included():
    index = np.arange(10)
    allowed = Mask(window=3).allowed(index[:, None], index[None, :])
    assert allowed.sum(1).tolist() == [1, 2] + [3] * 8


def test_sinks_stay_visible_to_later_queries_only():
    index = np.arange(8)
    allowed = Mask(window=2, sinks=2).allowed(index[:, None], index[None, :])
    assert np.flatnonzero(allowed[7]).tolist() == [0, 1, 6, 7]
    assert np.flatnonzero(allowed[0]).tolist() == [0]


def test_a_chunk_begins_anew_and_a_prefix_sees_itself_both_ways():
    index = np.arange(8)
    chunked = Mask(chunk=3).allowed(index[:, None], index[None, :])
    assert chunked.sum(1).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    prefixed = Mask(prefix=3).allowed(index[:, None], index[None, :])
    assert prefixed.sum(1).tolist() == [3, 3, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "fields",
    [
        {"window": 0},
        {"chunk": 0},
        {"window": 4, "sinks": -1},
        {"sinks": 4},
        {"window": 4, "chunk": 4},
        {"prefix": -1},
        {"prefix": 4, "window": 4},
        {"prefix": 4, "chunk": 4},
    ],
    ids=str,
)
def test_masks_without_meaning_are_refused(fields):
    with pytest.raises(UserError):
        Mask(**fields)


@given(st.integers(1, 16), masks(14), masks(14))
def test_a_mask_within_that_of_a_layer_shows_what_both_do(length, mask, layer):
    assume(not layer.prefix)  # no layer has one; without a mask of its own it is under the other
    if layer == CAUSAL:
        assert mask.within(layer) == mask
        return
    try:
        both = mask.within(layer)
    except UserError:
        assert mask != layer
        assert CAUSAL not in (mask, layer)
        assert not (mask.window and layer.window and not mask.sinks and not layer.sinks)
        return
    expected = visible(length, mask, None) & visible(length, layer, None)
    np.testing.assert_array_equal(visible(length, both, None), expected)
