"""Settings of positions: the scheme of a decoder, and the augmentation of a phase.

Nothing here imports jax, so that a wrong flag is refused at once.
"""

from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components
from lengthwise.common.settings import components, setting
from lengthwise.model.positions.registry import SCHEMES

MAX_POSITION = 2**20  # the largest position, and the longest sequence
KINDS = ("none", "pose", "shift", "e2_llm", "clex")
_SCHEMES = {"clex": ("clex",), "shift": ("learned", "sinusoidal")}  # all others are RoPE's


@dataclass(frozen=True)
class ContextExtension:
    """Settings of a phase: how the positions of its training sequences are augmented."""

    kind: str = setting("none", choices=KINDS)  # none | pose | shift | e2_llm | clex
    target_length: int = 0  # tokens of the longer context
    chunks: int = 2  # of pose, that skip positions between each other

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(
                f"phase.positions.kind={self.kind!r} is unknown; choose one of {', '.join(KINDS)}"
            )

    @property
    def random(self) -> bool:
        """Whether the compiled step samples the positions, and so needs a key."""
        return self.kind in ("pose", "shift")

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names of the position schemes that the kind applies to."""
        return _SCHEMES.get(self.kind, ("rope",))

    def check(self, longest: int) -> None:
        """Raises UserError for a target length that rows of `longest` tokens leave no room for."""
        if self.kind == "none":
            return
        least = longest + 1 if self.random else 2 * longest
        if self.target_length < least:
            raise UserError(
                f"phase.positions.target_length={self.target_length} must be at least {least} for "
                f"{self.kind!r} and training sequences of {longest} tokens"
            )
        if self.target_length > MAX_POSITION:
            raise UserError(
                f"phase.positions.target_length={self.target_length} is beyond the {MAX_POSITION} "
                "positions that there are"
            )
        if self.kind == "pose" and self.chunks < 2:
            raise UserError(f"phase.positions.chunks={self.chunks} must be at least 2 for 'pose'")


@dataclass(frozen=True)
class PositionSettings:
    """Scheme of a decoder, and the settings of each scheme that has some."""

    # In the layers: none | rope | clex | alibi | t5 | kerple | fire | cope | seqpe; or added to the
    # embeddings: learned | sinusoidal | abacus. See docs/positions.md.
    scheme: str = "rope"
    # range that sorted positions are sampled from, whatever the scheme; 0: off
    randomized: int = setting(0, "[0, 1048576]")
    schemes: Components[Any] = components(SCHEMES, "model.positions")
