"""The settings of a decoder."""

from dataclasses import dataclass, fields

from errors import UserError

LAYER_EXECUTIONS = ("unroll", "scan")
REMAT_POLICIES = ("none", "full")
COMPUTE_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class ModelConfig:
    """Shape and execution of a decoder. Hashable: a static argument of compiled functions.

    The last five fields choose how the same function is computed; they change neither parameters
    nor checkpoints.
    """

    vocab_size: int  # token ids, the end of text included
    layers: int  # decoder blocks
    embed_dim: int  # channels of the residual stream
    num_heads: int  # query heads
    num_kv_heads: int  # key and value heads; divides num_heads
    head_dim: int  # channels a head; even, for RoPE
    mlp_dim: int  # hidden channels of SwiGLU
    rope_theta: float  # base of the RoPE wavelengths
    qk_norm: bool  # RMSNorm on queries and keys, a head at a time, before RoPE
    attention_softcap: float | None  # scores -> cap * tanh(scores / cap); None: off
    logit_softcap: float | None  # logits -> cap * tanh(logits / cap); None: off
    dropout: float  # share of channels dropped after the embedding, attention and MLP
    tie_embeddings: bool  # the output projection is the embedding, transposed
    compute_dtype: str  # "float32" or "bfloat16": activations and matmul operands
    attention: str  # backend of model.attention, resolved: never "auto"
    attention_block: int  # tokens a block of the blockwise backend; 0: from batch and heads
    layer_execution: str  # "unroll" or "scan" over the stacked blocks
    remat: str  # "none", or "full": recompute each block in the backward pass

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
        if self.head_dim % 2:
            raise UserError(f"model.head_dim must be even for RoPE, got {self.head_dim}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout must be in [0, 1), got {self.dropout}")
        for name in ("attention_softcap", "logit_softcap"):
            cap = getattr(self, name)
            if cap is not None and not cap > 0:
                raise UserError(f"model.{name} must be positive or None, got {cap}")
        choices = {
            "compute_dtype": COMPUTE_DTYPES,
            "layer_execution": LAYER_EXECUTIONS,
            "remat": REMAT_POLICIES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(
                    f"model.{name}={getattr(self, name)!r} is unknown; known: {', '.join(known)}"
                )

    @property
    def residual_scale(self) -> float:
        """Factor on the initial output matrices of attention and MLP: 1 / sqrt(2 * layers).

        Keeps the variance of the residual stream at initialization independent of depth (GPT-2).
        """
        return (2 * self.layers) ** -0.5
