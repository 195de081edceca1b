"""The least that a chip must receive from others in a step, as its view of the devices has it.

Parameters are cut over the (data, context) devices of a slice: the S - 1 of S parts that a device
lacks come to it when it computes with them, forward and backward, and as many are summed into the
one that it keeps. Devices that share rows get the keys and values of whole rows and sum their
gradients, and what they recompute they get again. All in bfloat16. What is a number or a vector
(norms, losses, counts) is left out: it takes no time.
"""

from model.config import ModelConfig
from train.execution import BucketExecution

_BYTES = 2


def least_traffic(
    model: ModelConfig, length: int, batch: int, execution: BucketExecution
) -> dict[str, float]:
    """Bytes by what they are for; parts that the view has none of are left out."""
    view, parts = execution.view, execution.microbatches
    shards = view.data * view.context
    others = 1 - 1 / shards
    D, F, V, H = model.embed_dim, model.mlp_dim, model.vocab_size, model.num_heads
    kv_channels = model.num_kv_heads * model.head_dim
    block = D * (2 * H * model.head_dim + 2 * kv_channels + 3 * F)
    matrices = parts * others * _BYTES * model.layers * block / view.tensor
    table = parts * others * _BYTES * V * D
    tokens = batch * length / (view.row_shards * view.context)  # of a chip, in a step
    if tokens / parts >= V:
        looked_up, scattered = table, table
    else:  # ids of all devices, and then each token from all that have a part of its channels
        scattered = others * _BYTES * tokens * D
        looked_up = scattered + 4 * (shards - 1) * tokens
    keys = _BYTES * (view.context - 1) * tokens * 2 * kv_channels * model.layers / view.tensor
    # "none" keeps the whole rows that it has.
    passes = 1 if execution.remat == "none" else 2
    sums = 4 if execution.remat in ("none", "dots") else 5  # of activations, a layer
    over_tensor = 2 * (1 - 1 / view.tensor) * _BYTES * tokens * D * sums * model.layers
    kept = (parts * model.layers * block / view.tensor + 2 * parts * V * D) / shards
    found = {
        "matrices of blocks gathered, forward and backward": 2 * matrices,
        "their gradients summed into parts": matrices,
        "embeddings looked up": looked_up,
        "their gradients summed into parts or sent back": scattered,
        "unembedding gathered": table,
        "its gradient summed into parts": table,
        "keys and values gathered to whole rows": passes * keys,
        "their gradients summed into columns": keys,
        "activations summed over tensor": over_tensor,
        "gradients summed over slices": 2 * (1 - 1 / view.slices) * _BYTES * kept,
    }
    return {name: size for name, size in found.items() if size}
