"""Position schemes and masks of the layers, as the layer pattern places them."""

from typing import Any, NamedTuple

from lengthwise.common.errors import UserError
from lengthwise.common.trees import build
from lengthwise.model.attention.mask_registry import MASKS
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.layer_pattern import parts, scheme_names
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import InputScheme, LayerScheme
from lengthwise.model.positions.settings import PositionSettings

_FIELD = "an item of model.layer_pattern"


class Layers(NamedTuple):
    """Schemes and masks of a decoder: at the input, and of each layer of a period."""

    input_scheme: InputScheme | None
    schemes: tuple[LayerScheme, ...]
    masks: tuple[Mask, ...]


def layers_of(settings: PositionSettings, pattern: tuple[str, ...]) -> Layers:
    """The schemes and masks of a period of the pattern.

    An empty pattern gives `scheme` to every layer, under no mask of its own. A pattern names
    schemes of layers alone; a scheme at the input goes with a pattern, or else with NoPE layers.

    Raises:
      UserError: an unknown scheme or mask, a field that it can't have, or `scheme` has no place in
        the pattern.
    """
    chosen = settings.schemes.make(settings.scheme, "model.positions.scheme")
    schemes: list[LayerScheme] = []
    masks: list[Mask] = []
    for entry in pattern:
        scheme_text, _, mask_text = entry.partition("/")
        name, fields = parts(scheme_text)
        cls = SCHEMES.named(name, _FIELD)
        given = dict(settings.schemes.section(name)) | fields
        scheme = build(cls, given, f"model.layer_pattern: {name}")
        if not isinstance(scheme, LayerScheme):
            raise UserError(
                f"model.layer_pattern names {name!r}, which works at the input and not in a "
                "layer; make it model.positions.scheme, or leave it out"
            )
        schemes.append(scheme)
        masks.append(_mask(mask_text) if mask_text else CAUSAL)
    if isinstance(chosen, InputScheme):
        return Layers(chosen, tuple(schemes) or (SCHEMES["none"](),), tuple(masks) or (CAUSAL,))
    assert isinstance(chosen, LayerScheme)
    if schemes and settings.scheme not in scheme_names(pattern):
        raise UserError(
            f"model.positions.scheme={settings.scheme!r} is not in model.layer_pattern="
            f"{pattern}; set it to one of the pattern's schemes"
        )
    return Layers(None, tuple(schemes) or (chosen,), tuple(masks) or (CAUSAL,))


def _mask(text: str) -> Mask:
    name, fields = parts(text)
    kind: Any = build(MASKS.named(name, _FIELD), fields, f"model.layer_pattern: {name}")
    mask: Mask = kind.mask()
    return mask
