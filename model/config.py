"""Declaration of a decoder in a config."""

from dataclasses import dataclass, fields

from lengthwise.common.errors import UserError
from lengthwise.model.attention.softplus import KINDS as ATTENTION_WEIGHTS
from lengthwise.model.positions.settings import PositionSettings

LAYER_EXECUTIONS = ("auto", "unroll", "scan")
REMAT_POLICIES = ("none", "dots", "full", "offload")
COMPUTE_DTYPES = ("auto", "float32", "bfloat16")
_CHOICES = {
    "attention_weights": ATTENTION_WEIGHTS,
    "compute_dtype": COMPUTE_DTYPES,
    "layer_execution": LAYER_EXECUTIONS,
    "remat": REMAT_POLICIES,
}


@dataclass(frozen=True)
class ModelConfig:
    """Shape and execution of a decoder; `ModelSpec` has what vocabulary and platform add.

    The last five fields choose how the same function is computed; they change neither parameters
    nor checkpoints.

    Raises:
      UserError: a field has no meaning; names it.
    """

    layers: int  # decoder blocks
    embed_dim: int  # channels of the residual stream
    num_heads: int  # query heads
    num_kv_heads: int  # key and value heads; divides num_heads
    head_dim: int  # channels a head
    mlp_dim: int  # hidden channels of SwiGLU
    positions: PositionSettings
    layer_pattern: tuple[str, ...]  # schemes of successive layers, repeated; empty: all alike
    qk_norm: bool  # RMSNorm on queries and keys, a head at a time, before RoPE
    attention_softcap: float  # scores -> cap * tanh(scores / cap); 0: off
    attention_weights: str  # "softmax", or "lssa" or "lssar" of model.attention.softplus
    logit_softcap: float  # logits -> cap * tanh(logits / cap); 0: off
    dropout: float  # share of channels dropped after the embedding, attention and MLP
    tie_embeddings: bool  # the output projection is the embedding, transposed
    compute_dtype: str  # activations and matmul operands; auto: float32 on a CPU, else bfloat16
    attention: str  # backend of model.attention; auto: by platform, length, mask and bias
    attention_block: int  # tokens a block of the blockwise backend; 0: from batch and heads
    layer_execution: str  # over the stacked blocks; auto: unroll on a CPU, else scan
    # What the backward pass recomputes of a block: "none", all but its matmuls ("dots"), all of it
    # ("full"), or all, from an input that waits in the memory of the host ("offload").
    remat: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "attention_block" else 1
            if field.type is int and value < least:
                raise UserError(f"model.{field.name} must be at least {least}, got {value}")
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"model.num_heads={self.num_heads} must be a multiple of "
                f"model.num_kv_heads={self.num_kv_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout must be in [0, 1), got {self.dropout}")
        for name in ("attention_softcap", "logit_softcap"):
            cap = getattr(self, name)
            if not cap >= 0:
                raise UserError(f"model.{name}={cap} must be positive, or 0 for none")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(
                    f"model.{name}={getattr(self, name)!r} is unknown; known: {', '.join(known)}"
                )
