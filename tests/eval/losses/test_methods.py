import pytest

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.losses.methods import (
    check_methods,
    every_setting,
    method,
    parts,
    setting,
    without_rope,
)
from lengthwise.eval.methods.part import METHODS
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
        (
            "yarn:factor=3,low_turns=0.5,high_turns=8,temperature=1.2",
            Setting(
                RopeScaling(
                    "yarn",
                    3.0,
                    original_length=64,
                    low_turns=0.5,
                    high_turns=8.0,
                    attention_factor=1.2,
                )
            ),
        ),
        ("lambda:sinks=2,size=32", Setting(mask=Mask(window=30, sinks=2))),
        ("rerope:window=20+log_n", Setting(RopeScaling("none", ceiling=20, log_n=64))),
        (
            "self_extend:window=16,group_size=8",
            Setting(RopeScaling("none", near=16, grouped=8)),
        ),
        ("leaky_rerope:window=15,leak=4", Setting(RopeScaling("none", near=15, leak=4.0))),
        ("string:shift=30,window=4", Setting(RopeScaling("none", shift=30, shift_kept=4))),
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
    for name in METHODS.names():
        one = method(name, 2.0, L_TRAIN, SINKS, lambda setting: setting)
        assert one.setting_at(L_TRAIN) == Setting()
        assert one.setting_at(L_TRAIN + 1) != Setting()


@pytest.mark.parametrize("context", [65, 128, 256, 784])
@pytest.mark.parametrize("name", ["self_extend", "leaky_rerope"])
def test_compressed_distances_stay_within_those_of_training(name, context):
    scaling = at(name, context).scaling
    near, size, leak = scaling.near, scaling.grouped, scaling.leak
    if size:
        longest = (context - 1) // size + near - near // size
        smaller = (context - 1) // (size - 1) + near - near // (size - 1)
        assert size == 2 or smaller >= L_TRAIN  # no group is larger than it has to be
    else:
        longest = near + (context - 1 - near) / leak
        assert longest == pytest.approx(L_TRAIN - 1)
    assert near - 1 < longest < L_TRAIN


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
        ({"methods": ("self_extend+rerope",)}, "self_extend and rerope"),
        ({"methods": ("yarn:factr=4",)}, r"eval\.methods: yarn\.factr is no field"),
        ({"methods": ("yarn:factor",)}, "no FIELD=VALUE"),
        ({"methods": ("yarn:factor=four",)}, r"eval\.methods: yarn\.factor"),
        ({"methods": ("self_extend:window=8,group_size=16",)}, "groups of 16.*window=8"),
        ({"methods": ("self_extend:window=64",)}, "window=64 must be below"),
        ({"methods": ("rerope:window=64",)}, "window=64 must be below"),
        ({"methods": ("leaky_rerope:leak=0.5",)}, "leak=0.5 must be at least 1"),
        ({"methods": ("window:size=65",)}, "size=65 is beyond"),
        ({"methods": ("lambda:sinks=64",)}, "the method's sinks is 64"),
    ],
)
def test_methods_without_meaning_are_refused(changes, word):
    with pytest.raises(UserError, match=word):
        check_methods(eval_config(**changes), L_TRAIN)
    check_methods(eval_config(methods=("window",), sinks=L_TRAIN, multipliers=()), L_TRAIN)


def test_parts_of_a_name():
    assert [part.name for part in parts("yarn + log_n")] == ["yarn", "log_n"]
