"""Lower bound on the bytes that a chip receives in a step, by the mesh view.

Parameters are cut over the (data, context) devices of a slice: the S - 1 of S parts that a device
lacks come to it when it computes with them, forward and backward, and as many are summed into the
one that it keeps. Devices that share rows get the keys and values of whole rows and sum their
gradients, and what they recompute they get again. All in bfloat16. What is a number or a vector
(norms, losses, counts) is left out: it takes no time.
"""

from dataclasses import dataclass

from lengthwise.model.flops import matmul_parameters
from lengthwise.model.spec import ModelSpec
from lengthwise.train.programs.execution import BucketExecution

_BYTES = 2


@dataclass(frozen=True)
class Need:
    """Bytes that one purpose needs."""

    kind: str  # of collective, as the compiler names it
    purpose: str
    bytes: float  # received


def least_traffic(
    model: ModelSpec, length: int, batch: int, execution: BucketExecution
) -> list[Need]:
    """Needs of a step by purpose; those of zero bytes are left out."""
    view, parts = execution.view, execution.microbatches
    shards = view.data * view.context
    others = 1 - 1 / shards
    D, V = model.embed_dim, model.embedding_rows
    kv_channels = model.num_kv_heads * model.head_dim
    block = matmul_parameters(model)
    matrices = parts * others * _BYTES * model.layers * block / view.tensor
    table = parts * others * _BYTES * V * D
    tokens = batch * length / (view.row_shards * view.context)  # of a chip, in a step
    if tokens / parts >= V:
        embedding = [
            Need("all-gather", "embedding", table),
            Need("reduce-scatter", "gradient of the embedding", table),
        ]
    else:  # ids of all devices, then each token from all that have a part of its channels
        sent = others * _BYTES * tokens * D
        embedding = [
            Need("all-gather", "ids of tokens", 4 * (shards - 1) * tokens),
            Need("all-to-all", "tokens looked up, and their gradients", 2 * sent),
        ]
    keys = _BYTES * (view.context - 1) * tokens * 2 * kv_channels * model.layers / view.tensor
    # "none" keeps the whole rows that it has.
    passes = 1 if execution.remat == "none" else 2
    sums = 4 if execution.remat in ("none", "dots") else 5  # of activations, a layer
    over_tensor = 2 * (1 - 1 / view.tensor) * _BYTES * tokens * D * sums * model.layers
    kept = (parts * model.layers * block / view.tensor + 2 * parts * V * D) / shards
    needs = [
        Need("all-gather", "matrices, forward and backward", 2 * matrices),
        Need("reduce-scatter", "gradients of matrices", matrices),
        *embedding,
        Need("all-gather", "unembedding", table),
        Need("reduce-scatter", "gradient of the unembedding", table),
        Need("all-gather", "keys and values of whole rows", passes * keys),
        Need("reduce-scatter", "gradients of keys and values", keys),
        Need("all-reduce", "activations over tensor", over_tensor),
        Need("all-reduce", "gradients over slices", 2 * (1 - 1 / view.slices) * _BYTES * kept),
    ]
    return [need for need in needs if need.bytes]
