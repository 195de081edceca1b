"""Where the position schemes of a decoder work: at the input, or in the layers."""

from lengthwise.common.errors import UserError
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import InputScheme, LayerScheme
from lengthwise.model.positions.settings import PositionSettings


def place_schemes(
    settings: PositionSettings, layer_pattern: tuple[str, ...]
) -> tuple[InputScheme | None, tuple[LayerScheme, ...]]:
    """(the scheme at the input, that of each layer of one period of the pattern).

    An empty pattern gives `scheme` to every layer. A pattern names schemes of layers alone; a
    scheme at the input goes with a pattern, or else with NoPE layers.

    Raises:
      UserError: an unknown scheme, or `scheme` has no place in the pattern.
    """
    chosen = settings.schemes.make(settings.scheme, "model.positions.scheme")
    layers: list[LayerScheme] = []
    for name in layer_pattern:
        scheme = settings.schemes.make(name, "an item of model.layer_pattern")
        if not isinstance(scheme, LayerScheme):
            raise UserError(
                f"model.layer_pattern names {name!r}, which works at the input and not in a "
                "layer; make it model.positions.scheme, or leave it out"
            )
        layers.append(scheme)
    if isinstance(chosen, InputScheme):
        return chosen, tuple(layers) or (SCHEMES["none"](),)
    assert isinstance(chosen, LayerScheme)
    if layers and chosen not in layers:
        raise UserError(
            f"model.positions.scheme={settings.scheme!r} is not in model.layer_pattern="
            f"{layer_pattern}; set it to one of the pattern's schemes"
        )
    return None, tuple(layers) or (chosen,)
