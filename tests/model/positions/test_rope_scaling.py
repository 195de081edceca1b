"""Each kind of scaling against its paper's formula, one channel pair at a time in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.model.positions.rope_scaling import SCALINGS, UNSCALED, RopeScaling
from lengthwise.model.positions.rotation import rope_frequencies, rope_tables

CHANNELS, THETA, LENGTH, S = 32, 1e4, 256, 4.0  # theta's slowest pair makes 0.007 turns in LENGTH


def base(i, theta=THETA):
    return theta ** (-2 * i / CHANNELS)


def wavelength(i):
    return 2 * math.pi / base(i)


def yarn_paper(i, low, high):
    """Equations 17 to 23 of arXiv:2309.00071, with alpha = low and beta = high."""
    r = LENGTH / wavelength(i)
    gamma = 0 if r < low else 1 if r > high else (r - low) / (high - low)
    return (1 - gamma) * base(i) / S + gamma * base(i)


def yarn_code(i, low, high, theta=THETA, whole=True):
    """The authors' ramp over the index: from the pair of `high` turns to that of `low`."""

    def index(turns):
        return CHANNELS * math.log(LENGTH / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = (
        (math.floor(index(high)), math.ceil(index(low))) if whole else (index(high), index(low))
    )
    first, last = max(first, 0), min(last, CHANNELS - 1)
    ramp = min(max((i - first) / (last - first), 0), 1)
    return base(i, theta) / S * ramp + base(i, theta) * (1 - ramp)


def llama3(i, low, high):
    """Llama 3.1's reference code."""
    if wavelength(i) < LENGTH / high:
        return base(i)
    if wavelength(i) > LENGTH / low:
        return base(i) / S
    smooth = (LENGTH / wavelength(i) - low) / (high - low)
    return (1 - smooth) * base(i) / S + smooth * base(i)


def truncated(i):
    """Section 3.3 of arXiv:2308.10882."""
    b = 2 * math.pi / LENGTH
    return base(i) if base(i) >= b else 2 * math.pi / (16 * LENGTH) if base(i) > b / 8 else 0.0


DIVISORS = tuple(1 + 0.2 * i for i in range(CHANNELS // 2))
HALF = tuple(1 + 0.1 * i for i in range(CHANNELS // 2))
STRETCHED = S * 1000 / LENGTH - (S - 1)
LONGROPE = RopeScaling(
    "longrope", S, original_length=LENGTH, short_factors=HALF, long_factors=DIVISORS
)
CASES = {
    "none": (UNSCALED, base),
    "linear": (RopeScaling("linear", S), lambda i: base(i) / S),
    "ntk": (RopeScaling("ntk", S), lambda i: base(i, THETA * S ** (CHANNELS / (CHANNELS - 2)))),
    "dynamic": (
        RopeScaling("dynamic", S, original_length=LENGTH),
        lambda i: base(i, THETA * STRETCHED ** (CHANNELS / (CHANNELS - 2))),
    ),
    "by_parts": (
        RopeScaling("by_parts", S, original_length=LENGTH),
        lambda i: yarn_paper(i, 1, 32),
    ),
    "yarn": (RopeScaling("yarn", S, original_length=LENGTH), lambda i: yarn_code(i, 1, 32)),
    "yarn, own turns": (
        RopeScaling("yarn", S, original_length=LENGTH, low_turns=0.5, high_turns=8.0),
        lambda i: yarn_code(i, 0.5, 8),
    ),
    "yarn, no whole indices": (
        RopeScaling("yarn", S, original_length=LENGTH, truncate=False),
        lambda i: yarn_code(i, 1, 32, whole=False),
    ),
    "llama3": (RopeScaling("llama3", S, original_length=LENGTH), lambda i: llama3(i, 1, 4)),
    "longrope": (LONGROPE, lambda i: base(i) / DIVISORS[i]),
    "truncated": (RopeScaling("truncated", original_length=LENGTH), truncated),
    "hope": (
        RopeScaling("hope", original_length=LENGTH),
        lambda i: base(i) if wavelength(i) <= LENGTH else 0.0,
    ),
    "power": (RopeScaling("power"), lambda i: base(i) * (1 - 2 * i / CHANNELS) ** 0.5),
    "base": (RopeScaling("base", theta=500.0), lambda i: 500.0 ** (-2 * i / CHANNELS)),
    "power, own exponent": (
        RopeScaling("power", exponent=0.3),
        lambda i: base(i) * (1 - 2 * i / CHANNELS) ** 0.3,
    ),
}


@pytest.mark.parametrize(("scaling", "expected"), CASES.values(), ids=CASES)
def test_frequencies_are_the_papers(scaling, expected):
    found = rope_frequencies(CHANNELS, THETA, scaling, length=1000)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [expected(i) for i in range(CHANNELS // 2)], rtol=1e-12)


@pytest.mark.parametrize("theta", [4.0, 20.0])
def test_yarns_ramp_may_end_beyond_the_slowest_pair(theta):
    scaling = RopeScaling("yarn", S, original_length=LENGTH)
    found = rope_frequencies(CHANNELS, theta, scaling)
    expected = [yarn_code(i, 1, 32, theta) for i in range(CHANNELS // 2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_every_kind_is_compared():
    assert {scaling.kind for scaling, _ in CASES.values()} == set(SCALINGS)


@pytest.mark.parametrize("length", [1, LENGTH])
def test_dynamic_and_longrope_follow_the_length(length):
    dynamic = CASES["dynamic"][0]
    np.testing.assert_allclose(
        rope_frequencies(CHANNELS, THETA, dynamic, length=length),
        rope_frequencies(CHANNELS, THETA, UNSCALED),
        rtol=1e-12,
    )
    short = [base(i) / HALF[i] for i in range(CHANNELS // 2)]
    found = rope_frequencies(CHANNELS, THETA, LONGROPE, length=length)
    np.testing.assert_allclose(found, short, rtol=1e-12)
    with pytest.raises(ValueError, match="length"):
        rope_frequencies(CHANNELS, THETA, dynamic)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (RopeScaling("yarn", 4.0, original_length=LENGTH), 1.1386294361119891),
        (LONGROPE, math.sqrt(1 + math.log(4) / math.log(LENGTH))),
        (RopeScaling("yarn", 4.0, original_length=LENGTH, attention_factor=0.7), 0.7),
        (RopeScaling("by_parts", 4.0, original_length=LENGTH), 1.0),
        (  # DeepSeek-V2: 0.1 * 0.707 ln 4 + 1 above and 0.1 * 0.5 ln 4 + 1 below
            RopeScaling("yarn", 4.0, original_length=LENGTH, mscale=0.707, mscale_all_dim=0.5),
            (1 + 0.0707 * math.log(4)) / (1 + 0.05 * math.log(4)),
        ),
    ],
)
def test_temperature_multiplies_cos_and_sin(scaling, expected):
    tables = rope_tables(CHANNELS, THETA, scaling, length=8)
    size = np.hypot(tables.cos_high, tables.sin_high) * np.hypot(tables.cos_low, tables.sin_low)[:1]
    np.testing.assert_allclose(size, expected, rtol=1e-6)


@given(
    st.sampled_from(["by_parts", "yarn", "llama3"]),
    st.floats(1, 64),
    st.integers(16, 10**6),
    st.sampled_from([8, 64, 128]),
    st.floats(100, 1e7),
)
def test_parts_lie_between_the_plain_and_the_interpolated(kind, factor, length, channels, theta):
    scaling = RopeScaling(kind, factor, original_length=length)
    plain = rope_frequencies(channels, theta, UNSCALED)
    found = rope_frequencies(channels, theta, scaling)
    share = found / plain
    assert (share <= 1 + 1e-12).all()
    assert (share >= 1 / factor - 1e-12).all()
    assert (np.diff(share) <= 1e-12).all()  # ever more interpolated, the slower
    turns = plain * length / (2 * np.pi)
    assert (share[turns > scaling.turns[1] * 1.001] == 1).all() or kind == "yarn"


def test_scalings_come_on_top_of_each_other():
    first, second = RopeScaling("linear", 2.0), RopeScaling("llama3", S, original_length=LENGTH)
    both = rope_frequencies(CHANNELS, THETA, second, first)
    halved = [llama3(i, 1, 4) for i in range(CHANNELS // 2)]
    assert not np.allclose(both, np.array(halved) / 2)  # llama3 looks at the turns of what it gets
    r = LENGTH * np.array([base(i) / 2 for i in range(CHANNELS // 2)]) / (2 * np.pi)
    kept = np.clip((r - 1) / 3, 0, 1)
    expected = np.array([base(i) / 2 for i in range(CHANNELS // 2)]) * (kept + (1 - kept) / S)
    np.testing.assert_allclose(both, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "warp"}, "known: none, linear"),
        ({"kind": "none", "factor": 2.0}, "no factor"),
        ({"kind": "linear", "factor": 2.0, "original_length": 8}, "no original_length"),
        ({"kind": "linear", "factor": 0.0}, "positive"),
        ({"kind": "linear", "factor": math.nan}, "positive"),
        ({"kind": "yarn", "factor": 2.0}, "needs original_length"),
        ({"kind": "yarn", "factor": 0.5, "original_length": 8}, "at least 1"),
        ({"kind": "llama3", "original_length": 8, "low_turns": 5.0}, "low_turns < high_turns"),
        ({"kind": "longrope", "original_length": 8}, "short_factors"),
        ({"kind": "power", "exponent": -1.0}, "negative"),
        ({"kind": "base"}, "theta above 1"),
        ({"kind": "base", "theta": float("nan")}, "theta above 1"),
        ({"kind": "linear", "factor": 2.0, "truncate": False}, "no truncate"),
        ({"kind": "yarn", "factor": 2.0, "original_length": 8, "mscale": 1.0}, "give both"),
        ({"kind": "linear", "ceiling": 4, "shift": 4}, "not both"),
        ({"kind": "none", "shift": 4, "shift_kept": 4}, "below shift"),
        ({"kind": "none", "shift_kept": 4}, "below shift"),
        ({"kind": "none", "log_n": 1}, "at least 2"),
        ({"kind": "none", "near": 4, "ceiling": 4, "grouped": 2}, "not both"),
        ({"kind": "none", "near": 4}, "give near with"),
        ({"kind": "none", "grouped": 2}, "give near with"),
        ({"kind": "none", "near": 4, "grouped": 2, "leak": 2.0}, "give near with"),
        ({"kind": "none", "near": 4, "grouped": 5}, "between 2 and near=4"),
        ({"kind": "none", "near": 4, "leak": 0.5}, "at least 1"),
    ],
)
def test_settings_without_meaning_are_refused(fields, word):
    with pytest.raises(UserError, match=word):
        RopeScaling(**fields)


def test_longrope_wants_a_factor_a_pair():
    with pytest.raises(UserError, match=r"16 long_factors.*rotates 4 channel pairs"):
        rope_frequencies(8, THETA, LONGROPE, length=LENGTH + 1)
