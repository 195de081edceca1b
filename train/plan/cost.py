"""Estimated cost of a bucket's step for a chip, by which executions are ranked.

The compiler's own figures replace memory and traffic for those that are compiled. Factors of memory
are set by what it said of some (docs/plans/README.md has both figures side by side).
"""

from dataclasses import dataclass

from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import forward_flops, parameter_count
from lengthwise.model.spec import ModelSpec
from lengthwise.train.plan.chips import Chip
from lengthwise.train.plan.communication import least_traffic
from lengthwise.train.programs.execution import BucketExecution

_STATE_BYTES = 12  # of a parameter and its two moments, float32
_GRADIENT_BYTES = 4
_LOGITS_BYTES = 3 * 2**28  # see model.token_losses: logits, their gradient and a copy
_FORWARDS = {"none": 3.0, "dots": 3.1, "full": 4.0, "offload": 4.0}  # a backward pass is two


@dataclass(frozen=True)
class Cost:
    """Cost of one step on one chip."""

    hbm_bytes: float  # at the peak
    flops: float  # recomputation included
    hbm_traffic: float  # bytes
    link_traffic: float  # bytes received

    def seconds(self, chip: Chip) -> dict[str, float]:
        """Seconds of each part at the chip's peak; the longest bounds the step."""
        return {
            "compute": self.flops / chip.flops_per_second,
            "hbm": self.hbm_traffic / chip.hbm_bytes_per_second,
            "interconnect": self.link_traffic / chip.link_bytes_per_second,
        }


def cost(model: ModelSpec, length: int, batch: int, execution: BucketExecution) -> Cost:
    """Estimates a step of `batch` rows of `length` tokens."""
    view, parts = execution.view, execution.microbatches
    shards = view.data * view.context
    D, F, C = model.embed_dim, model.mlp_dim // view.tensor, model.head_dim
    H, K = model.num_heads // view.tensor, max(1, model.num_kv_heads // view.tensor)
    parameters = parameter_count(model)
    own = parameters / view.tensor  # of a chip once they are gathered
    tokens = batch * length / (view.row_shards * view.context)  # of a chip, in a step
    at_a_time = tokens / parts
    matmuls = 2 * D + (2 * H + 2 * K) * C + 3 * F
    kept = {
        "none": 3 * matmuls + 6 * D + 2 * (view.context - 1) * K * C,  # whole rows of keys, values
        "dots": matmuls + 2.5 * D,
        "full": D,
        "offload": 0,
    }
    layer = 2 * at_a_time * (3 * matmuls + 6 * D)  # while it is recomputed and differentiated
    # Keys and values of whole rows, and gradients; in another order too, where that is not undone.
    row_arrays = 6 if execution.remat in ("none", "dots") else 4
    row_keys = row_arrays * at_a_time * view.context * K * C * 2
    memory = (
        (_STATE_BYTES + _GRADIENT_BYTES * (2 if parts > 1 else 1)) * own / shards
        + 2 * at_a_time * model.layers * kept[execution.remat]
        + layer
        + row_keys
        + 2 * 2 * (own - 2 * model.embedding_rows * D) / model.layers
        + 8 * model.embedding_rows * D
        + _LOGITS_BYTES
    )
    again = execution.remat in ("full", "offload")
    devices = view.devices
    flops = _FORWARDS[execution.remat] * forward_flops(model, length, batch, CAUSAL) / devices
    passes = 3 if again else 2
    hbm = parts * own * 2 * 2 * (passes + 1) + 2.5 * _STATE_BYTES * own / shards
    hbm += tokens * model.layers * (matmuls + 4 * D) * 2 * 2 * passes
    received = sum(need.bytes for need in least_traffic(model, length, batch, execution))
    return Cost(memory, flops, hbm, received)
