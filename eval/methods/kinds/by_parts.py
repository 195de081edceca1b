"""Slow channel pairs interpolated, fast ones left: NTK by parts, YaRN, Llama 3."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.kinds.interpolation import Scaled
from lengthwise.eval.methods.part import METHODS, Lengths


@dataclass(frozen=True)
class _ByParts(Scaled):
    low_turns: float = setting(0.0, "[0, inf)")  # up to which a pair is interpolated; 0: 1
    high_turns: float = setting(0.0, "[0, inf)")  # from which a pair is left alone; 0: by kind

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return super().scaling(lengths) | {
            "original_length": lengths.l_train,
            "low_turns": self.low_turns,
            "high_turns": self.high_turns,
        }


@METHODS.register("by_parts")
@dataclass(frozen=True)
class ByParts(_ByParts):
    """YaRN's section 3.2 (arXiv:2309.00071)."""

    title: ClassVar[str] = "NTK by parts"
    phrase: ClassVar[str] = "NTK-by-parts RoPE scaling"
    note: ClassVar[str] = "slow RoPE channels interpolated, fast ones kept, those between mixed"


@METHODS.register("yarn")
@dataclass(frozen=True)
class Yarn(_ByParts):
    """YaRN as its authors' code has it (arXiv:2309.00071)."""

    title: ClassVar[str] = "YaRN"
    phrase: ClassVar[str] = "YaRN"
    note: ClassVar[str] = "like NTK by parts, and sharper attention"

    temperature: float = setting(0.0, "[0, inf)")  # on cos and sin; 0: 0.1 ln factor + 1
    truncate: bool = True  # the ramp begins and ends at whole indices

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        own = {"attention_factor": self.temperature, "truncate": self.truncate}
        return super().scaling(lengths) | own


@METHODS.register("llama3")
@dataclass(frozen=True)
class Llama3(_ByParts):
    """Llama 3.1's scaling (arXiv:2407.21783)."""

    title: ClassVar[str] = "Llama 3"
    phrase: ClassVar[str] = "Llama 3's RoPE scaling"
    note: ClassVar[str] = "like NTK by parts, with more channels interpolated"
