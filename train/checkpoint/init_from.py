"""Initial weights from another run (`train.init_from`)."""

from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.trees import as_tree
from lengthwise.model.config import ModelConfig
from lengthwise.train.checkpoint.checkpoints import Checkpoints, shapes_by_name
from lengthwise.train.machine.workdir import read_config

Shapes = dict[str, tuple[int, ...]]

# The fields that decide which parameters there are, and their shapes.
SHAPE_FIELDS = (
    "layers",
    "embed_dim",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "mlp_dim",
    "qk_norm",
    "smeared_keys",
    "tie_embeddings",
    "block",
    "embedding_norm",
    "vocab_rows",
)


def weights_of(
    workdir: Path, abstract_params: dict[str, Any], model: ModelConfig
) -> dict[str, Any]:
    """Restores the newest weights of another work directory, for a model of the same shapes.

    Its position scheme may be another: then what it learned for it, "positions", is left out.

    Args:
      abstract_params: ShapeDtypeStructs with shardings.
      model: the settings behind them, for the message.

    Raises:
      UserError: no checkpoint there, or one of another model; names the fields.
    """
    directory = workdir / "checkpoints"
    if not directory.is_dir():
        raise UserError(f"train.init_from={workdir} has no checkpoints; give a --workdir of a run")
    source = Checkpoints(directory, read_only=True)
    try:
        step = source.latest_step()
        if step is None:
            raise UserError(
                f"train.init_from={workdir} holds no finished checkpoint; "
                "give a --workdir of a run that saved one"
            )
        source.host(step)  # of a format that this code reads
        saved, expected = source.parameter_shapes(step), shapes_by_name(abstract_params)
        differences = _differences(workdir, _positions(saved)[1], _positions(expected)[1], model)
        if differences:
            raise UserError(
                f"train.init_from={workdir} holds another model: {'; '.join(differences)} "
                "(there -> here); use its values or weights of another run"
            )
        if _positions(saved)[0] != _positions(expected)[0]:
            abstract_params = {k: v for k, v in abstract_params.items() if k != "positions"}
        weights: Any = source.restore_params(step, abstract_params)
        return dict(weights)
    finally:
        source.close()


def _positions(shapes: Shapes) -> tuple[Shapes, Shapes]:
    """(parameters of position schemes, the rest)."""
    learned = {n: shape for n, shape in shapes.items() if n.startswith("positions.")}
    return learned, {n: shape for n, shape in shapes.items() if n not in learned}


def _differences(workdir: Path, saved: Shapes, expected: Shapes, model: ModelConfig) -> list[str]:
    """The fields that make the models differ, or, where none does, the first such parameter."""
    if saved == expected:
        return []
    there, here = (read_config(workdir) or {}).get("model", {}), as_tree(model)
    fields = [
        f"model.{name}: {there[name]!r} -> {here[name]!r}"
        for name in SHAPE_FIELDS
        if name in there and there[name] != here[name]
    ]
    parameters = [
        f"shape of {name}: {saved.get(name)} -> {expected.get(name)}"
        for name in sorted(saved.keys() | expected.keys())
        if saved.get(name) != expected.get(name)
    ]
    return fields or parameters[:1]
