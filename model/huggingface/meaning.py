"""Comparison of two decoders: the fields by which equal weights would compute another function."""

import json
import math
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.trees import as_tree, flatten
from lengthwise.model.huggingface.layers import layers_of
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec


def whole_scaling(model: ModelSpec, scaling: RopeScaling) -> RopeScaling:
    """A model's own scaling of RoPE, or that of a phase where it has none.

    Raises UserError: there are both, which no config.json has.
    """
    if UNSCALED not in (model.rope_scaling, scaling):
        raise UserError(
            f"model.rope_scaling={model.rope_scaling.kind!r} with phase.rope_scaling="
            f"{scaling.kind!r} on top can't be expressed by transformers, which has one"
        )
    return scaling if model.rope_scaling == UNSCALED else model.rope_scaling


def meaning(model: ModelSpec, scaling: RopeScaling = UNSCALED) -> dict[str, Any]:
    """The function of a decoder, by dotted name: layers one by one, defaults as what they mean.

    scaling: of the phase of a training, on top of the model's own; not both.
    """
    scaling = whole_scaling(model, scaling)
    fields = {
        f"model.{name}": value
        for name, value in model.meaning().items()
        if not name.startswith(("positions.", "layer_pattern", "rope_scaling"))
    }
    at_input = model.input_scheme
    fields |= {
        "model.vocab_rows": model.embedding_rows,
        "model.block.attention_scale": model.block.attention_scale or model.head_dim**-0.5,
        "model.positions.randomized": model.positions.randomized,
        "model.positions.scheme": None if at_input is None else at_input.name,
    }
    rotates = False
    for number, (scheme, mask) in enumerate(layers_of(model)):
        at = f"model.layer_pattern[{number}]"
        fields |= {f"{at} scheme": scheme.name, f"{at} mask": str(mask)}
        fields |= {f"{at} {scheme.name}.{name}": v for name, v in as_tree(scheme).items()}
        if scaling.kind == "none":
            fields.pop(f"{at} rope.scaled", None)
        rotates |= scheme.name == "rope"
    if rotates:
        tree = as_tree(scaling) | {"attention_factor": scaling.temperature}
        del tree["mscale"], tree["mscale_all_dim"]  # which decide that
        if scaling.kind == "by_parts":  # one formula
            tree["kind"] = "llama3"
        tree["low_turns"], tree["high_turns"] = scaling.turns
        fields |= {f"rope_scaling.{name}": value for name, value in tree.items()}
    return dict(json.loads(json.dumps(flatten(fields))))


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Fields with other values, as "field: one -> other"."""
    names = dict.fromkeys((*one, *other))
    return [
        f"{name}: {one.get(name)!r} -> {other.get(name)!r}"
        for name in names
        if not _equal(one.get(name), other.get(name))
    ]


def _equal(one: Any, other: Any) -> bool:
    """Whether values are equal, but for the rounding of a number that is written as another."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
