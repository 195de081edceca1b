"""Parameters read from a folder of weights, each process the shards of its own devices."""

from typing import Any

import jax
import numpy as np

from lengthwise.model.huggingface.folder import WeightFolder
from lengthwise.model.huggingface.table import LeafRows

Index = tuple[slice, ...]


def load_params(folder: WeightFolder, abstract: Any) -> dict[str, Any]:
    """The parameters of a folder's model, float32.

    Beside the shards that a process holds it takes a few megabytes and one leaf's share of them.

    Args:
      abstract: a tree of ShapeDtypeStruct, with shardings or without.

    Raises:
      UserError: see `WeightFolder.tensors`.
    """
    sources: dict[str, dict[int | None, tuple[str, LeafRows]]] = {}
    for name, tensor in folder.tensors.items():
        for part in tensor.parts:
            sources.setdefault(part.entry.ours, {})[part.layer] = name, part

    def leaf(path: Any, of: jax.ShapeDtypeStruct) -> jax.Array:
        parts = sources[jax.tree_util.keystr(path, simple=True, separator=".")]

        def shard(index: Any) -> np.ndarray:
            if None in parts:
                return _read(folder, *parts[None], index, of.shape)
            layers = range(of.shape[0])[index[0]]
            result = np.empty((len(layers), *_sizes(index[1:], of.shape[1:])), np.float32)
            for number, layer in enumerate(layers):
                result[number] = _read(folder, *parts[layer], index[1:], of.shape[1:])
            return result

        if of.sharding is None:
            return jax.numpy.asarray(shard((slice(None),) * len(of.shape)))
        return jax.make_array_from_callback(of.shape, of.sharding, shard)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(leaf, abstract)
    return params


def _sizes(index: Index, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(len(range(size)[each]) for each, size in zip(index, shape, strict=True))


def _read(
    folder: WeightFolder, name: str, part: LeafRows, index: Index, shape: tuple[int, ...]
) -> np.ndarray:
    """A part of one layer of a leaf, float32."""
    rows, columns = (index[-1], index[0]) if part.entry.transposed else (index[0], index[-1])
    if len(shape) == 1:
        columns = slice(None)
    values = folder.read(name, part.rows[rows], columns)
    return (values.T if part.entry.transposed else values).astype(np.float32)
