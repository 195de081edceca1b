import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from model.masks import Mask
from tests.model.attention_reference import visible


@given(
    st.integers(1, 12),
    st.none() | st.integers(1, 14),
    st.integers(0, 5),
    st.data(),
)
def test_allowed_is_the_spelled_out_rule(length, window, sinks, data):
    sinks = 0 if window is None else sinks
    segments = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=length, max_size=length))
    segments = None if segments is None else np.array(segments)
    expected = visible(length, window, sinks, segments)
    index = np.arange(length)
    rows = (None, None) if segments is None else (segments[:, None], segments[None, :])
    allowed = Mask(window, sinks).allowed(index[:, None], index[None, :], *rows)
    np.testing.assert_array_equal(allowed, expected)
    traced = Mask(window, sinks).allowed(
        jnp.asarray(index[:, None]), jnp.asarray(index[None, :]), *rows
    )
    np.testing.assert_array_equal(traced, expected)


def test_a_window_of_w_is_w_keys_self_included():
    index = np.arange(10)
    allowed = Mask(window=3, sinks=0).allowed(index[:, None], index[None, :])
    assert allowed.sum(1).tolist() == [1, 2] + [3] * 8


def test_sinks_stay_visible_to_later_queries_only():
    index = np.arange(8)
    allowed = Mask(window=2, sinks=2).allowed(index[:, None], index[None, :])
    assert np.flatnonzero(allowed[7]).tolist() == [0, 1, 6, 7]
    assert np.flatnonzero(allowed[0]).tolist() == [0]


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (4, -1), (None, 4)])
def test_masks_without_meaning_are_refused(window, sinks):
    with pytest.raises(UserError):
        Mask(window, sinks)
