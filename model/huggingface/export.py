"""Writes a decoder as a folder that transformers and vLLM load."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.common.trees import build
from lengthwise.model.config import ModelConfig
from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.folder import CONFIG, INDEX, SINGLE, leaf_shapes
from lengthwise.model.huggingface.meaning import differing, meaning, whole_scaling
from lengthwise.model.huggingface.safetensors import DTYPES, write_safetensors
from lengthwise.model.huggingface.table import Tensor, tensors_of
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec

# The first that can express a model is its family: the plainest and best known come first.
_ORDER = ("llama", "qwen3", "mistral", "smollm3", "qwen2")
EXPORT_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_SHARD_BYTES = 10 << 30


def expressed(
    name: str, model: ModelSpec, scaling: RopeScaling, positions: int
) -> tuple[dict[str, Any], list[str]]:
    """The config.json of a model in a family, and what of the model it can't express.

    Reading it again tells what it can: no family keeps a list of what it has not.
    """
    family = FAMILIES[name]()
    try:
        scaling = whole_scaling(model, scaling)
        config = json.loads(json.dumps(family.config(model, scaling, positions)))
        settings = family.settings(Fields(config, Path(CONFIG)))
    except UserError as error:
        return {}, [str(error)]
    again = ModelSpec.of(build(ModelConfig, settings, "model"), model.vocab_size, model.platform)
    own = dataclasses.replace(model, rope_scaling=UNSCALED)
    return config, differing(meaning(own, scaling), meaning(again))


def choose_family(
    wanted: str, model: ModelSpec, scaling: RopeScaling, positions: int
) -> tuple[str, dict[str, Any]]:
    """A family that can express a model, and its config.json.

    Args:
      wanted: a `model_type`; "": any.

    Raises:
      UserError: none can, or not that one; names the fields.
    """
    names = (wanted,) if wanted else (*_ORDER, *(n for n in FAMILIES.names() if n not in _ORDER))
    nearest: tuple[str, list[str]] | None = None
    for name in names:
        config, missing = expressed(name, model, scaling, positions)
        if not missing:
            return name, config
        if nearest is None or len(missing) < len(nearest[1]):
            nearest = name, missing
    assert nearest is not None
    shown = "; ".join(nearest[1][:3]) + ("; ..." if len(nearest[1]) > 3 else "")
    raise UserError(
        f"no folder of transformers can hold this model: as {nearest[0]}, the nearest, it would "
        f"have {shown} (here -> there)"
    )


def write_weights(
    directory: Path,
    name: str,
    model: ModelSpec,
    leaf: Callable[[str], np.ndarray],
    dtype: str,
    shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Writes the weights: model.safetensors, or several files and their index.

    Args:
      name: of a family that can express the model.
      leaf: a parameter by its dotted name, float32.
      dtype: a name of EXPORT_DTYPES.
    """
    tensors = tensors_of(FAMILIES[name]().table(model), leaf_shapes(model))
    stored = DTYPES[EXPORT_DTYPES[dtype]]
    groups = list(_groups(tensors, stored.itemsize, shard_bytes))
    where: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = SINGLE if len(groups) == 1 else f"model-{number:05}-of-{len(groups):05}.safetensors"
        where |= dict.fromkeys(group, file)
        arrays = {each: (stored, tensors[each].shape) for each in group}
        write_safetensors(
            directory / file, arrays, lambda each: assembled(tensors[each], leaf).astype(stored)
        )
    if len(groups) > 1:
        total = sum(math.prod(each.shape) for each in tensors.values()) * stored.itemsize
        index = {"metadata": {"total_size": total}, "weight_map": where}
        write_json(directory / INDEX, index)


def write_config(
    directory: Path, name: str, config: Mapping[str, Any], dtype: str, tokens: Mapping[str, Any]
) -> None:
    """Writes config.json and generation_config.json, the last files of a folder.

    Args:
      tokens: bos_token_id, eos_token_id and pad_token_id.
    """
    family: type[Family] = FAMILIES[name]
    write_json(directory / "generation_config.json", {"do_sample": False, **tokens})
    write_json(
        directory / CONFIG,
        {
            "architectures": [family.architecture],
            "model_type": name,
            **config,
            **tokens,
            "dtype": dtype,
            "torch_dtype": dtype,
        },
    )


def assembled(tensor: Tensor, leaf: Callable[[str], np.ndarray]) -> np.ndarray:
    """A tensor of theirs, put together from leaves of ours, float32."""
    result = np.empty(tensor.shape, np.float32)
    for entry, layer, rows in tensor.parts:
        values = leaf(entry.ours) if layer is None else leaf(entry.ours)[layer]
        result[rows] = values.T if entry.transposed else values
    return result


def _groups(tensors: Mapping[str, Tensor], itemsize: int, most: int) -> Iterator[list[str]]:
    """Names of the tensors of each file, of `most` bytes at most but for one larger tensor."""
    group: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        more = math.prod(tensor.shape) * itemsize
        if group and size + more > most:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    yield group
