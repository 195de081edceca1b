"""No position encoding."""

from dataclasses import dataclass
from typing import ClassVar

from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import LayerScheme


@SCHEMES.register("none")
@dataclass(frozen=True)
class NoPositions(LayerScheme):
    """NoPE: queries and keys as they are (Haviv et al., arXiv:2203.16634; Kazemnejad et al.,
    arXiv:2305.19466)."""

    reads_positions: ClassVar[bool] = False
