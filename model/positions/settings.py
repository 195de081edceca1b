"""Registry of the position schemes by name, and their settings in a config."""

from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.model.positions.scheme import InputScheme, LayerScheme, Scheme
from lengthwise.model.positions.schemes.abacus import Abacus
from lengthwise.model.positions.schemes.alibi import Alibi
from lengthwise.model.positions.schemes.clex import Clex
from lengthwise.model.positions.schemes.cope import Cope
from lengthwise.model.positions.schemes.fire import Fire
from lengthwise.model.positions.schemes.kerple import Kerple
from lengthwise.model.positions.schemes.learned import Learned
from lengthwise.model.positions.schemes.none import NoPositions
from lengthwise.model.positions.schemes.rope import Rope
from lengthwise.model.positions.schemes.seqpe import SeqPE
from lengthwise.model.positions.schemes.sinusoidal import Sinusoidal
from lengthwise.model.positions.schemes.t5 import T5Buckets

_WITHOUT_SETTINGS = {"none": NoPositions(), "alibi": Alibi()}
# Fields of PositionSettings.
_WITH_SETTINGS = (
    "rope",
    "clex",
    "t5",
    "kerple",
    "fire",
    "cope",
    "seqpe",
    "learned",
    "sinusoidal",
    "abacus",
)
NAMES = (*_WITHOUT_SETTINGS, *_WITH_SETTINGS)


@dataclass(frozen=True)
class PositionSettings:
    """Scheme of a decoder, and the settings of each scheme that has some."""

    scheme: str  # one of NAMES
    randomized: int  # range that sorted positions are sampled from, whatever the scheme; 0: off
    rope: Rope
    clex: Clex
    t5: T5Buckets
    kerple: Kerple
    fire: Fire
    cope: Cope
    seqpe: SeqPE
    learned: Learned
    sinusoidal: Sinusoidal
    abacus: Abacus

    def named(self, name: str, field: str) -> Scheme:
        """The scheme `name`, which the config's `field` asks for; UserError where unknown."""
        if name not in NAMES:
            raise UserError(f"{field}={name!r} is unknown; choose one of {', '.join(NAMES)}")
        scheme: Scheme = _WITHOUT_SETTINGS.get(name) or getattr(self, name)
        return scheme

    def resolve(
        self, layer_pattern: tuple[str, ...]
    ) -> tuple[InputScheme | None, tuple[LayerScheme, ...]]:
        """(the scheme at the input, that of each layer of one period of the pattern).

        An empty pattern gives `scheme` to every layer. A pattern names schemes of layers alone; a
        scheme at the input goes with a pattern, or else with NoPE layers.

        Raises:
          UserError: an unknown scheme, or `scheme` has no place in the pattern.
        """
        chosen = self.named(self.scheme, "model.positions.scheme")
        layers: list[LayerScheme] = []
        for name in layer_pattern:
            scheme = self.named(name, "an item of model.layer_pattern")
            if not isinstance(scheme, LayerScheme):
                raise UserError(
                    f"model.layer_pattern names {name!r}, which works at the input and not in a "
                    "layer; make it model.positions.scheme, or leave it out"
                )
            layers.append(scheme)
        if isinstance(chosen, InputScheme):
            return chosen, tuple(layers) or (NoPositions(),)
        assert isinstance(chosen, LayerScheme)
        if layers and chosen not in layers:
            raise UserError(
                f"model.positions.scheme={self.scheme!r} is not in model.layer_pattern="
                f"{layer_pattern}; set it to one of the pattern's schemes"
            )
        return None, tuple(layers) or (chosen,)
