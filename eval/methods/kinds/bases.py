"""Other frequencies for the slow channel pairs, whatever the length: Giraffe, HoPE."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import FREQUENCIES, METHODS, Lengths, Part


@METHODS.register("truncated")
@dataclass(frozen=True)
class Truncated(Part):
    """The truncated basis of Giraffe (arXiv:2308.10882)."""

    group: ClassVar[str] = FREQUENCIES
    title: ClassVar[str] = "Truncated basis"
    phrase: ClassVar[str] = "a truncated RoPE basis"
    note: ClassVar[str] = (
        "RoPE channels that never came round in training slowed to one frequency or stopped"
    )

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"kind": self.name, "original_length": lengths.l_train}


@METHODS.register("power")
@dataclass(frozen=True)
class Power(Part):
    """The power basis of Giraffe."""

    group: ClassVar[str] = FREQUENCIES
    title: ClassVar[str] = "Power basis"
    phrase: ClassVar[str] = "a power RoPE basis"
    note: ClassVar[str] = "RoPE channels slowed more, the slower they are"

    exponent: float = setting(0.0, "[0, inf)")  # 0: 0.5

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"kind": self.name, "exponent": self.exponent}


@METHODS.register("hope")
@dataclass(frozen=True)
class Hope(Part):
    """HoPE's position-independent low band (arXiv:2410.21216), without its training."""

    group: ClassVar[str] = FREQUENCIES
    title: ClassVar[str] = "HoPE"
    phrase: ClassVar[str] = "the low RoPE band stopped (HoPE)"
    note: ClassVar[str] = "RoPE channels that never came round in training don't turn"

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"kind": self.name, "original_length": lengths.l_train}
