"""Queries scaled by the log of their position."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lengthwise.eval.methods.part import METHODS, QUERIES, Lengths, Part


@METHODS.register("log_n")
@dataclass(frozen=True)
class LogN(Part):
    """Attention over more keys than L_train stays as sharp (arXiv:2202.12172)."""

    group: ClassVar[str] = QUERIES
    needs_rope: ClassVar[bool] = False
    title: ClassVar[str] = "log n"
    phrase: ClassVar[str] = "queries scaled by log n"
    note: ClassVar[str] = "queries beyond L_train grow with the log of their position"

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        return {"log_n": lengths.l_train}
