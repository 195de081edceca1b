"""All frequencies lowered, by a factor or by a raised base; see `model.positions.rope_scaling`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.common.settings import setting
from lengthwise.eval.methods.part import FREQUENCIES, METHODS, Lengths, Part


@dataclass(frozen=True)
class Scaled(Part):
    """A scaling whose factor is multiplier * longest distance / L_train where it is not given."""

    group: ClassVar[str] = FREQUENCIES

    factor: float = setting(0.0, "[0, inf)")  # 0: by the length

    @property
    def by_factor(self) -> bool:
        return self.factor == 0

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        by_length = max(1.0, lengths.multiplier * lengths.longest / lengths.l_train)
        return {"kind": self.name, "factor": self.factor or by_length}


@METHODS.register("linear")
@dataclass(frozen=True)
class Linear(Scaled):
    """Position interpolation (arXiv:2306.15595)."""

    title: ClassVar[str] = "Linear (PI)"
    phrase: ClassVar[str] = "linear RoPE scaling"
    note: ClassVar[str] = "position interpolation: RoPE positions divided by the factor"


@METHODS.register("ntk")
@dataclass(frozen=True)
class Ntk(Scaled):
    """NTK-aware scaling (bloc97, 2023)."""

    title: ClassVar[str] = "NTK-aware"
    phrase: ClassVar[str] = "NTK-aware RoPE scaling"
    note: ClassVar[str] = (
        "RoPE base raised so that the lowest frequency is interpolated by the factor"
    )


@METHODS.register("dynamic")
@dataclass(frozen=True)
class Dynamic(Scaled):
    """Dynamic NTK scaling (emozilla, 2023), which follows the length by itself."""

    title: ClassVar[str] = "Dynamic NTK"
    phrase: ClassVar[str] = "dynamic NTK scaling"
    note: ClassVar[str] = "RoPE base raised with the length of the sequence"

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        factor = self.factor or lengths.multiplier
        return {"kind": self.name, "factor": factor, "original_length": lengths.l_train}
