"""Initial weights from a Hugging Face folder (`train.init_from`)."""

import contextlib
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.model.huggingface.folder import WeightFolder, is_weight_folder, leaf_shapes
from lengthwise.model.huggingface.hub import is_hub_name, weight_folder_path
from lengthwise.model.huggingface.load import load_params
from lengthwise.model.huggingface.meaning import differing, meaning
from lengthwise.model.spec import ModelSpec

_FIELD = "train.init_from"


def named_folder(init_from: str) -> Path | None:
    """The folder of weights that train.init_from names; None: it names a run, or nothing.

    Raises:
      UserError: a name of the hub that can't be downloaded.
    """
    if not init_from or not (user_path(init_from, _FIELD).exists() or is_hub_name(init_from)):
        return None
    path = weight_folder_path(init_from, _FIELD)
    return path if _has_weights(path) else None


def _has_weights(path: Path) -> bool:
    """Whether a folder is meant as one of weights, be it damaged or of another kind."""
    kinds = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt", "*.pth")
    return is_weight_folder(path) or any(any(path.glob(kind)) for kind in kinds)


def check_folder(path: Path, model: ModelSpec) -> list[str]:
    """Checks that a folder has the weights of a model, before any is read.

    Returns what makes another function of the weights here, as "field: there -> here".

    Raises:
      UserError: another model, or see `WeightFolder`.
    """
    with contextlib.closing(WeightFolder(path)) as folder:
        _ = folder.tensors
        there = ModelSpec.of(folder.model, model.vocab_size, model.platform)
        changes = differing(meaning(there), meaning(model))
        shapes = (leaf_shapes(each) for each in (there, model))
        saved, expected = (
            {name: shape for name, shape in each.items() if not name.startswith("positions.")}
            for each in shapes
        )
    if saved == expected:
        return changes
    raise UserError(
        f"{_FIELD}={path} holds another model: {'; '.join(changes[:4])} (there -> here); "
        f"--config=configs/huggingface.py:{path} has its values"
    )


def weights_of_folder(
    path: Path, model: ModelSpec, abstract_params: dict[str, Any]
) -> dict[str, Any]:
    """Reads the weights of a folder, for a model of the same shapes.

    What it learns for its position scheme, "positions", is left out. What makes another function of
    the same weights is printed.

    Args:
      abstract_params: ShapeDtypeStructs with shardings.

    Raises:
      UserError: see `check_folder`.
    """
    for line in check_folder(path, model):
        print(f"{_FIELD}: {line} (there -> here)")
    wanted = {name: of for name, of in abstract_params.items() if name != "positions"}
    with contextlib.closing(WeightFolder(path)) as folder:
        return load_params(folder, wanted)
