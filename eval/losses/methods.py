"""Methods of running one checkpoint beyond its training length, by name.

A name is one part or several joined by "+", each with settings if need be: "yarn+log_n" is YaRN
with log-n scaled queries, "lambda+ceiling" LM-Infinite, "self_extend:window=128,group_size=8"
SelfExtend.
The parts are in `eval/methods/kinds`. Up to L_train every method is the plain model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lengthwise.common.entries import entry
from lengthwise.common.errors import UserError
from lengthwise.common.synonyms import called_here
from lengthwise.common.trees import build
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import Method, ScorerFactory, Setting
from lengthwise.eval.methods.part import METHODS, Lengths, Part
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.positions.rope_scaling import RopeScaling

PLAIN = "plain"
SHUFFLED = "shuffled positions"


def parts(name: str, where: str = "eval.methods") -> tuple[Part, ...]:
    """The parts that a method's name joins.

    where: the field that holds it, for errors.

    Raises:
      UserError: an unknown part, a setting that it has not, or two parts of a group.
    """
    made: list[Part] = []
    for text in re.split(r"\+(?=\s*[a-z])", name):
        part, fields = entry(text, where, "yarn:factor=4+log_n")
        if part not in METHODS:
            raise UserError(
                f"{where} names {part!r}, which is unknown{called_here(part, METHODS.names())}; "
                f"choose from {', '.join(METHODS.names())}, alone or joined by +"
            )
        cls = METHODS[part]
        made.append(build(cls, fields, f"{where}: {part}"))
    for number, one in enumerate(made):
        for other in made[number + 1 :]:
            if one.group == other.group:
                raise UserError(
                    f"{where} joins {one.name} and {other.name} in {name!r}, which exclude each "
                    "other; try them one at a time"
                )
    return tuple(made)


def without_rope(names: Sequence[str]) -> tuple[str, ...]:
    """Methods that a model without RoPE can be run by."""
    return tuple(name for name in names if not any(part.needs_rope for part in parts(name)))


def plain_method(make_scorer: ScorerFactory) -> Method:
    """The model as trained, at any length. At c = L_train this is truncation."""
    return Method(PLAIN, lambda context: Setting(), make_scorer)


def shuffled_control(make_scorer: ScorerFactory) -> Method:
    """The plain model with permuted position ids: a model that uses order must get worse."""
    return Method(SHUFFLED, lambda context: Setting(shuffled=True), make_scorer)


def method(
    name: str, multiplier: float, l_train: int, sinks: int, make_scorer: ScorerFactory
) -> Method:
    """The method called `name` in eval.methods; multiplier: m, where it has a factor."""

    def setting_at(context: int) -> Setting:
        if context <= l_train:
            return Setting()
        return setting(name, multiplier, context, l_train, sinks)

    return Method(name, setting_at, make_scorer)


def chosen_methods(
    names: Sequence[str],
    chosen: Mapping[str, float],
    config: EvalConfig,
    l_train: int,
    make_scorer: ScorerFactory,
) -> list[Method]:
    """The plain method, then those named. chosen: name -> m, where there was a choice."""
    return [
        plain_method(make_scorer),
        *(
            method(
                name,
                chosen.get(name, multipliers(name, config)[0]),
                l_train,
                config.sinks,
                make_scorer,
            )
            for name in names
        ),
    ]


def multipliers(name: str, config: EvalConfig) -> tuple[float, ...]:
    """Candidate multipliers of a method; 1 alone where it has no factor."""
    return config.multipliers if any(part.by_factor for part in parts(name)) else (1.0,)


def every_setting(
    config: EvalConfig, l_train: int, contexts: Sequence[int]
) -> list[tuple[int, Setting]]:
    """(length, setting) of every pass of `evaluate`, up to numbers that programs don't contain."""
    lengths = sorted({*contexts})
    tested = [(length, Setting()) for length in lengths]
    for name in config.methods:
        m = multipliers(name, config)[0]
        beyond = [length for length in lengths if length > l_train]
        tested += [(n, setting(name, m, n, l_train, config.sinks)) for n in beyond]
    return tested


def check_methods(config: EvalConfig, l_train: int) -> None:
    """Raises UserError for methods that `evaluate` would refuse."""
    if len(set(config.methods)) < len(config.methods) or PLAIN in config.methods:
        raise UserError(
            f"eval.methods={config.methods} names a method twice; 'plain' is always scored"
        )
    for name in config.scorer_methods:
        if name not in config.methods:
            raise UserError(
                f"eval.scorer_methods names {name!r}, which eval.methods does not; add it there"
            )
    for name in config.methods:
        if not multipliers(name, config):
            raise UserError(
                f"eval.multipliers is empty, but {name!r} of eval.methods has a factor; give one"
            )
        setting(name, 1.0, 2 * l_train, l_train, config.sinks)


def setting(
    name: str,
    multiplier: float,
    context: int,
    l_train: int,
    sinks: int,
    where: str = "eval.methods",
) -> Setting:
    """Setting of a method at a context beyond L_train, both in tokens."""
    lengths = Lengths(context, l_train, context, multiplier, sinks)
    joined = parts(name, where)
    for part in joined:
        shorter = min(lengths.longest, part.longest(lengths))
        lengths = lengths._replace(longest=shorter)
    fields = {k: v for part in joined for k, v in part.scaling(lengths).items()}
    masks = [mask for part in joined if (mask := part.mask(lengths)) is not None]
    return Setting(scaling=RopeScaling(**fields), mask=masks[0] if masks else CAUSAL)
