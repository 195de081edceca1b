"""Layers of a model one by one, as transformers lists them, and as a layer pattern repeats them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.positions.scheme import LayerScheme
from lengthwise.model.spec import ModelSpec


class Layer(NamedTuple):
    """Position scheme and mask of one layer."""

    scheme: LayerScheme
    mask: Mask

    @property
    def rotates(self) -> bool:
        return self.scheme.name == "rope"


def layers_of(model: ModelSpec) -> list[Layer]:
    """Every layer of a model, the first one first."""
    schemes, masks = model.layer_schemes, model.layer_masks(CAUSAL)
    period = list(zip(schemes, masks, strict=True))
    return [Layer(*period[number % len(period)]) for number in range(model.layers)]


def shortest_pattern(entries: Sequence[str]) -> tuple[str, ...]:
    """The shortest layer pattern that gives these entries, a layer each; (): plain ones."""
    period = next(
        n
        for n in range(1, len(entries) + 1)
        if all(entry == entries[number % n] for number, entry in enumerate(entries))
    )
    pattern = tuple(entries[:period])
    return () if period == 1 and not set(":/") & set(pattern[0]) else pattern


def windowed(entry: str, window: int | None) -> str:
    """An entry of a layer pattern under a window; None: under none."""
    return entry if window is None else f"{entry}/window:size={window}"


def one_window(model: ModelSpec) -> int | None:
    """The widest window of the layers; None: none has one."""
    windows = [layer.mask.window for layer in layers_of(model) if layer.mask.window]
    return max(windows, default=None)


def layer_types(model: ModelSpec) -> list[str]:
    """transformers' words for the masks of the layers."""
    return [
        "sliding_attention" if layer.mask.window else "full_attention" for layer in layers_of(model)
    ]


def rope_of(model: ModelSpec, windowed_layers: bool | None = None) -> Any:
    """The first RoPE of the layers, of those with or without a window; None: there is none."""
    return next(
        (
            layer.scheme
            for layer in layers_of(model)
            if layer.rotates
            and (windowed_layers is None or windowed_layers == (layer.mask.window is not None))
        ),
        None,
    )
