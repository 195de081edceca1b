"""Methods of running one checkpoint beyond its training length, by name.

A name is one part or several joined by "+": a RoPE scaling, a mask, a mapping of far distances,
scaled queries. "yarn+log_n" is YaRN with log-n scaled queries, "lambda+ceiling" is LM-Infinite. Up
to L_train every method is the plain model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lengthwise.common.errors import UserError
from lengthwise.common.synonyms import called_here
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import Method, ScorerFactory, Setting
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.positions.rope_scaling import RopeScaling

PLAIN = "plain"
SHUFFLED = "shuffled positions"

# RoPE scalings, beyond L_train with factor m * context / L_train, m chosen on the selection split.
BY_FACTOR = ("linear", "ntk", "dynamic", "by_parts", "yarn", "llama3")
WITHOUT_FACTOR = ("truncated", "power")
MASKS = ("window", "lambda", "chunks")
DISTANCES = ("ceiling", "string")
QUERIES = ("log_n",)
GROUPS = (BY_FACTOR + WITHOUT_FACTOR, MASKS, DISTANCES, QUERIES)
NEED_ROPE = {*BY_FACTOR, *WITHOUT_FACTOR, *DISTANCES}


def parts(name: str) -> tuple[str, ...]:
    """Splits a method's name into its parts.

    Raises:
      UserError: an unknown part, or two of a group.
    """
    names = tuple(part.strip() for part in name.split("+"))
    for part in names:
        if not any(part in group for group in GROUPS):
            all_parts = [each for group in GROUPS for each in group]
            raise UserError(
                f"eval.methods names {part!r}, which is unknown{called_here(part, all_parts)}; "
                f"choose from {', '.join(all_parts)}, alone or "
                "joined by +"
            )
    for group in GROUPS:
        both = [part for part in names if part in group]
        if len(both) > 1:
            raise UserError(
                f"eval.methods joins {' and '.join(both)} in {name!r}, which exclude each other; "
                "try them one at a time"
            )
    return names


def without_rope(names: Sequence[str]) -> tuple[str, ...]:
    """Methods that a model without RoPE can be run by."""
    return tuple(name for name in names if not NEED_ROPE & set(parts(name)))


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
    return config.multipliers if set(parts(name)) & set(BY_FACTOR) else (1.0,)


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


def setting(name: str, multiplier: float, context: int, l_train: int, sinks: int) -> Setting:
    """Setting of a method at a context beyond L_train, both in tokens."""
    names = parts(name)
    return Setting(
        scaling=_scaling(names, multiplier, context, l_train),
        mask=_mask(names, l_train, sinks),
    )


def _scaling(names: tuple[str, ...], multiplier: float, context: int, l_train: int) -> RopeScaling:
    near = max(1, l_train // 16)
    longest = context  # distance that the frequencies have to bring into the trained range
    if {"window", "chunks", "ceiling"} & set(names):
        longest = l_train
    elif "string" in names:
        # Near distances end at shift - 1 and shifted ones at context - 1 - shift + near: this
        # shift makes the longest of them all the shortest.
        longest = -(-(context + near) // 2)
    kind = next((part for part in names if part in GROUPS[0]), "none")
    scaling = RopeScaling("none")
    if kind == "dynamic":  # follows the length by itself
        scaling = RopeScaling(kind, multiplier, original_length=l_train)
    elif kind in BY_FACTOR:
        factor = max(1.0, multiplier * longest / l_train)
        original = 0 if kind in ("linear", "ntk") else l_train
        scaling = RopeScaling(kind, factor, original_length=original)
    elif kind == "truncated":
        scaling = RopeScaling(kind, original_length=l_train)
    elif kind == "power":
        scaling = RopeScaling(kind)
    return replace(
        scaling,
        ceiling=l_train - 1 if "ceiling" in names else 0,  # the longest distance in training
        shift=longest if "string" in names else 0,
        shift_kept=near if "string" in names else 0,
        log_n=l_train if "log_n" in names else 0,
    )


def _mask(names: tuple[str, ...], l_train: int, sinks: int) -> Mask:
    """A mask that never shows more than L_train keys."""
    if "window" in names:
        return Mask(window=l_train)
    if "chunks" in names:
        return Mask(chunk=l_train)
    if "lambda" in names:
        if not 0 <= sinks < l_train:
            raise UserError(
                f"eval.sinks is {sinks}, but the Lambda mask shows {l_train} tokens in all; "
                f"choose 0 to {l_train - 1}"
            )
        return Mask(window=l_train - sinks, sinks=sinks)
    return CAUSAL
