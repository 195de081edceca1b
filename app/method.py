"""How a method that is named runs a model."""

from __future__ import annotations

from pathlib import Path

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Setting
from lengthwise.eval.losses.methods import PLAIN, parts, setting
from lengthwise.eval.losses.results import load_results
from lengthwise.model.spec import ModelSpec


def setting_by_name(
    name: str, longest: int, field: str, model: ModelSpec, l_train: int, workdir: Path, sinks: int
) -> Setting:
    """How a method runs texts of up to `longest` tokens: plain up to L_train.

    Its multiplier is that which scoring in the work directory chose, else 1.

    Args:
      field: that names the method, for errors.
      sinks: first tokens that masks keep.

    Raises:
      UserError: the model can't be run by it.
    """
    if name in ("", PLAIN):
        return Setting()
    needs_rope = any(part.needs_rope for part in parts(name, field))
    if needs_rope and not any(scheme.scalable for scheme in model.schemes):
        raise UserError(
            f"{field}={name!r} changes RoPE, which {model.position_scheme!r} is not; choose a mask "
            "or log_n, or leave it empty"
        )
    path = workdir / "eval" / "results.json"
    chosen = load_results(path).multipliers.get(name, 1.0) if path.is_file() else 1.0
    beyond = max(longest, l_train + 1)  # a wrong one is told of at any length
    found = setting(name, chosen, beyond, l_train, sinks, field)
    model.check(beyond, found.mask, found.scaling)
    return found if longest > l_train else Setting()
