import pytest

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.losses.methods import (
    GROUPS,
    check_methods,
    every_setting,
    method,
    parts,
    setting,
    without_rope,
)
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import RopeScaling
from tests.eval.planted import eval_config

L_TRAIN, SINKS = 64, 4


def at(name, context=256, multiplier=2.0):
    return setting(name, multiplier, context, L_TRAIN, SINKS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", Setting(RopeScaling("linear", 8.0))),
        ("dynamic", Setting(RopeScaling("dynamic", 2.0, original_length=64))),
        ("yarn", Setting(RopeScaling("yarn", 8.0, original_length=64))),
        ("power", Setting(RopeScaling("power"))),
        ("window", Setting(mask=Mask(window=64))),
        ("chunks", Setting(mask=Mask(chunk=64))),
        ("lambda", Setting(mask=Mask(window=60, sinks=4))),
        (
            "lambda+ceiling",
            Setting(RopeScaling("none", ceiling=63), Mask(window=60, sinks=4)),
        ),
        ("yarn + log_n", Setting(RopeScaling("yarn", 8.0, original_length=64, log_n=64))),
        ("ntk+window", Setting(RopeScaling("ntk", 2.0), Mask(window=64))),
    ],
)
def test_names_say_how_the_model_is_run(name, expected):
    assert at(name) == expected


@pytest.mark.parametrize("context", [128, 130, 256, 1024])
def test_string_halves_the_longest_distance_and_the_factor_follows_it(context):
    scaling = at("string+linear", context, multiplier=1.0).scaling
    shifted = [d - scaling.shift + scaling.shift_kept for d in range(scaling.shift, context)]
    longest = max(*shifted, scaling.shift - 1)
    assert longest < (context + scaling.shift_kept + 1) / 2
    assert longest < scaling.factor * L_TRAIN <= longest + 2


def test_up_to_the_training_length_every_method_is_the_plain_model():
    for group in GROUPS:
        for name in group:
            one = method(name, 2.0, L_TRAIN, SINKS, lambda setting: setting)
            assert one.setting_at(L_TRAIN) == Setting()
            assert one.setting_at(L_TRAIN + 1) != Setting()


def test_all_passes_are_known_beforehand():
    config = eval_config(methods=("yarn", "lambda+ceiling"), sinks=SINKS)
    tested = every_setting(config, L_TRAIN, (256, 64, 32, 2 * L_TRAIN))
    assert [length for length, how in tested if how == Setting()] == [32, 64, 128, 256]
    assert (128, at("lambda+ceiling", 128)) in tested
    assert (256, at("yarn", 256, multiplier=1.0)) in tested
    assert len(tested) == 4 + 2 * 2


def test_without_rope_masks_and_queries_remain():
    assert without_rope(("ntk", "lambda", "lambda+ceiling", "log_n", "string")) == (
        "lambda",
        "log_n",
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"methods": ("yarm",)}, "'yarm', which is unknown"),
        ({"methods": ("yarn+linear",)}, "yarn and linear"),
        ({"methods": ("lambda", "lambda")}, "twice"),
        ({"methods": ("plain",)}, "always scored"),
        ({"methods": ("lambda",), "sinks": L_TRAIN}, r"eval\.sinks"),
        ({"methods": ("log_n+ntk",), "multipliers": ()}, r"eval\.multipliers"),
    ],
)
def test_methods_without_meaning_are_refused(changes, word):
    with pytest.raises(UserError, match=word):
        check_methods(eval_config(**changes), L_TRAIN)
    check_methods(eval_config(methods=("window",), sinks=L_TRAIN, multipliers=()), L_TRAIN)


def test_parts_of_a_name():
    assert parts("yarn + log_n") == ("yarn", "log_n")
