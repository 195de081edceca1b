"""RoPE scaling that belongs to a model: layers, what comes on top, what it excludes."""

import math

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.transformer import position_tables
from tests.model.decoder_reference import PLAIN, changed, position_settings

THETA, PAIRS = 100.0, 4  # of decoder_reference
LINEAR = RopeScaling("linear", 4.0)
YARN = RopeScaling("yarn", 4.0, original_length=64)
DYNAMIC = RopeScaling("dynamic", 4.0, original_length=8)
FACTORS = {"short_factors": (1.0,) * PAIRS, "long_factors": (2.0,) * PAIRS}
LONGROPE = RopeScaling("longrope", 4.0, original_length=8, **FACTORS)


def frequencies(config, key="rope", scaling=UNSCALED, trained=UNSCALED, length=8):
    """Radians a position, and the temperature, read off the tables."""
    tables = position_tables(config, scaling, trained, length)[key]
    size = float(tables.cos_high[0, 0])
    angle = np.arctan2(np.float64(tables.sin_low[1]), np.float64(tables.cos_low[1]))
    return angle, size


def plain(divisor=1.0):
    return THETA ** (-np.arange(PAIRS) / PAIRS) / divisor


def test_a_models_own_scaling_is_the_first_of_three():
    config = changed(PLAIN, rope_scaling=LINEAR)
    found, temperature = frequencies(config)
    np.testing.assert_allclose(found, plain(4), rtol=1e-6)
    assert temperature == 1
    found, temperature = frequencies(changed(PLAIN, rope_scaling=YARN))
    assert temperature == pytest.approx(0.1 * math.log(4) + 1)
    # r = 64 f / (2 pi) of the scaled frequencies: llama3 looks at what it gets.
    top = RopeScaling("llama3", 2.0, original_length=64, low_turns=0.5, high_turns=2.0)
    turns = 64 * plain(8) / (2 * math.pi)
    share = np.clip((turns - 0.5) / 1.5, 0, 1)
    found, _ = frequencies(config, trained=RopeScaling("linear", 2.0), scaling=top)
    np.testing.assert_allclose(found, plain(8) * (share + (1 - share) / 2), rtol=1e-6)


def test_it_applies_to_the_layers_that_the_pattern_says():
    """As in Gemma 3: not to those with a window."""
    pattern = ("rope:theta=50.0,scaled=False/window:size=5", "rope")
    config = changed(PLAIN, rope_scaling=YARN, layer_pattern=pattern)
    local, temperature = frequencies(config)
    np.testing.assert_allclose(local, 50.0 ** (-np.arange(PAIRS) / PAIRS), rtol=1e-6)
    assert temperature == 1
    full, temperature = frequencies(config, "rope_2")
    np.testing.assert_allclose(full, frequencies(changed(PLAIN, rope_scaling=YARN))[0])
    assert temperature > 1


@pytest.mark.parametrize("own", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
def test_it_follows_the_length(own):
    config = changed(PLAIN, rope_scaling=own)
    np.testing.assert_allclose(frequencies(config, length=8)[0], plain(), rtol=1e-6)
    assert (frequencies(config, length=9)[0][1:] < plain()[1:] * 0.99).all()


def test_it_is_part_of_what_weights_mean():
    before, after = PLAIN.meaning(), changed(PLAIN, rope_scaling=LINEAR).meaning()
    assert {name for name in after if before[name] != after[name]} == {
        "rope_scaling.kind",
        "rope_scaling.factor",
    }


@pytest.mark.parametrize(
    ("own", "added"),
    [(DYNAMIC, LINEAR), (DYNAMIC, DYNAMIC), (LONGROPE, DYNAMIC), (LONGROPE, LONGROPE)],
)
def test_lengths_are_not_counted_twice(own, added):
    config = changed(PLAIN, rope_scaling=own)
    for pair in ((added, UNSCALED), (UNSCALED, added)):
        with pytest.raises(UserError, match=r"model\.rope_scaling.*would count it twice"):
            position_tables(config, *pair, 8)
    with pytest.raises(UserError, match="would count it twice"):
        config.check(8, scaling=added)
    position_tables(changed(PLAIN, rope_scaling=LONGROPE), LINEAR, UNSCALED, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": position_settings(scheme="alibi")},
        {"layer_pattern": ("rope:scaled=False",)},
        {"positions": position_settings(rope={"scaled": False})},
    ],
)
def test_a_model_without_scaled_rope_has_none(changes):
    with pytest.raises(UserError, match=r"model\.rope_scaling\.kind='linear' applies to no layer"):
        changed(PLAIN, rope_scaling=LINEAR, **changes)


@pytest.mark.parametrize("extra", [{"ceiling": 4}, {"shift": 4}, {"log_n": 8}])
def test_distances_and_queries_are_no_models(extra):
    with pytest.raises(UserError, match=r"move it to phase\.rope_scaling"):
        changed(PLAIN, rope_scaling=RopeScaling("none", **extra))
