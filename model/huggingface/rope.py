"""RoPE of a config.json, as `rope_parameters`, and as `rope_theta` with `rope_scaling`.

Files are read in either and written in both, with equal values: a reader that knows one alone finds
the same base and scaling.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lengthwise.common.errors import UserError
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling

LAYER_TYPES = ("full_attention", "sliding_attention")
_TYPES = ("default", "linear", "dynamic", "yarn", "llama3", "longrope", "su")


class RotarySettings(NamedTuple):
    """RoPE of a model, or of one type of its layers."""

    theta: float
    share: float  # of a head's channels that are turned
    scaling: RopeScaling


def read_rope(
    fields: Fields, theta: float, share: float = 1.0, layer_type: str = ""
) -> RotarySettings:
    """RoPE of a config.json, of one type of layers where it tells them apart.

    A `rope_scaling` that isn't empty counts, then `rope_parameters`; a base inside of it counts
    before the one beside it. So transformers does.

    Args:
      theta, share: where the file has none.

    Raises:
      UserError: a type of scaling that isn't served, or numbers that it can't have.
    """
    chosen = fields.section("rope_scaling") or fields.section("rope_parameters")
    if chosen is not None and set(LAYER_TYPES) & chosen.content.keys():
        chosen = chosen.section(layer_type or LAYER_TYPES[0])
    base = fields.number("rope_theta", theta)
    turned = fields.number("partial_rotary_factor", share)
    if chosen is None:
        return RotarySettings(base, turned, UNSCALED)
    base = chosen.number("rope_theta", base)
    turned = chosen.number("partial_rotary_factor", turned)
    return RotarySettings(base, turned, _scaling(chosen, fields))


def _scaling(chosen: Fields, fields: Fields) -> RopeScaling:
    kind = chosen.content.get("rope_type", chosen.content.get("type", "default"))
    if kind not in _TYPES:
        raise UserError(
            f"{fields.path}: the RoPE type {kind!r} isn't served; known: {', '.join(_TYPES)}"
        )
    if kind == "default":
        return UNSCALED
    longest = fields.whole("max_position_embeddings", None)
    known = fields.whole("original_max_position_embeddings", longest)
    original = chosen.whole("original_max_position_embeddings", known)
    if kind == "dynamic":
        original = longest
    if original is None and kind != "linear":
        raise UserError(f"{fields.path} has no max_position_embeddings, which its RoPE needs")
    ratio = longest / original if longest and original else None
    factor = chosen.number("factor", ratio if kind in ("yarn", "longrope", "su") else None)
    if factor is None:
        raise UserError(f"{fields.path}: RoPE of type {kind!r} needs a factor")
    if kind == "linear":
        return RopeScaling("linear", factor)
    if kind == "dynamic":
        return RopeScaling("dynamic", factor, original)
    if kind == "llama3":
        low, high = chosen.number("low_freq_factor", 1.0), chosen.number("high_freq_factor", 4.0)
        return RopeScaling("llama3", factor, original, low_turns=low, high_turns=high)
    given = chosen.number("attention_factor", None)
    if kind == "yarn":
        low, high = chosen.number("beta_slow", 1.0), chosen.number("beta_fast", 32.0)
        scales = chosen.number("mscale", 0.0), chosen.number("mscale_all_dim", 0.0)
        if given or not all(scales):
            scales = 0.0, 0.0  # one alone has no effect
        return RopeScaling(
            "yarn",
            factor,
            original,
            low_turns=low,
            high_turns=high,
            truncate=chosen.flag("truncate", True),
            attention_factor=given or 0.0,
            mscale=scales[0],
            mscale_all_dim=scales[1],
        )
    divisors = [chosen.content.get(name) for name in ("short_factor", "long_factor")]
    for each in divisors:
        if not isinstance(each, list) or not all(type(x) in (int, float) for x in each):
            raise UserError(f"{fields.path}: longrope needs the lists short_factor, long_factor")
    short, long = (tuple(map(float, each)) for each in divisors)  # type: ignore[arg-type]
    return RopeScaling(
        "longrope",
        factor,
        original,
        short_factors=short,
        long_factors=long,
        attention_factor=given or 0.0,
    )


def write_rope(rope: RotarySettings, positions: int) -> dict[str, Any]:
    """The fields of a config.json: the length that it bounds, and RoPE in both spellings.

    Args:
      positions: tokens of the longest sequences that the model is for.

    Raises:
      UserError: a scaling that transformers has none of; names it.
    """
    parameters = scaling_fields(rope.scaling)
    if rope.scaling.kind == "dynamic":
        positions = rope.scaling.original_length  # by which that counts
    turned = {} if rope.share == 1 else {"partial_rotary_factor": rope.share}
    return {
        "max_position_embeddings": positions,
        "rope_theta": rope.theta,
        "rope_scaling": None if rope.scaling.kind == "none" else parameters,
        "rope_parameters": {"rope_theta": rope.theta, **turned, **parameters},
        **turned,
    }


def scaling_fields(scaling: RopeScaling) -> Mapping[str, Any]:
    """A scaling as transformers has it.

    Raises:
      UserError: it has none of it.
    """
    if scaling.extras:
        raise UserError(f"rope_scaling with {scaling.extras} can't be expressed by transformers")
    low, high = scaling.turns
    original = {"original_max_position_embeddings": scaling.original_length}
    match scaling.kind:
        case "none":
            return {"rope_type": "default"}
        case "linear":
            return {"rope_type": "linear", "factor": scaling.factor}
        case "dynamic":
            return {"rope_type": "dynamic", "factor": scaling.factor}
        case "llama3" | "by_parts":  # one formula
            turns = {"low_freq_factor": low, "high_freq_factor": high}
            return {"rope_type": "llama3", "factor": scaling.factor, **turns, **original}
        case "yarn":
            turns = {"beta_slow": low, "beta_fast": high}
            on_scores = {"attention_factor": scaling.temperature}
            return {
                "rope_type": "yarn",
                "factor": scaling.factor,
                **turns,
                **on_scores,
                **({} if scaling.truncate else {"truncate": False}),
                **original,
            }
        case "longrope":
            return {
                "rope_type": "longrope",
                "factor": scaling.factor,
                "short_factor": list(scaling.short_factors),
                "long_factor": list(scaling.long_factors),
                "attention_factor": scaling.temperature,
                **original,
            }
    raise UserError(
        f"rope_scaling.kind={scaling.kind!r} can't be expressed by transformers; it has linear, "
        "dynamic, yarn, llama3 and longrope"
    )
