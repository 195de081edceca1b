"""The decoder that a user asks for: its one declaration."""

from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.settings import section, setting
from lengthwise.common.trees import as_tree, check_fields, flatten
from lengthwise.model.layer_pattern import scheme_names
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.positions.settings import PositionSettings

ATTENTION_WEIGHTS = ("softmax", "lssa", "lssar")
QK_NORMS = ("none", "head", "full")
NORMS = ("rms", "layer")
NORM_PLACEMENTS = ("pre", "post", "both")
ATTENTION_BIASES = ("none", "qkv", "all")
MLPS = ("gated", "plain")
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "relu")
LAYER_EXECUTIONS = ("auto", "unroll", "scan")
# Fields that change neither parameters nor function: how it is computed, and what only training
# draws. Every other field, any new one too, is part of what weights mean: see `meaning`.
EXECUTION = ("compute_dtype", "attention", "attention_block", "layer_execution", "remat")
_TRAINING = ("dropout",)
REMAT_POLICIES = ("none", "dots", "full", "offload")
COMPUTE_DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class BlockConfig:
    """Variants of norms, attention and MLP that published families of models have.

    Raises:
      UserError: a field has no meaning, or doesn't go with another; names it.
    """

    norm: str = setting("rms", choices=NORMS)  # rms | layer (with mean and bias)
    norm_epsilon: float = setting(1e-6, "(0, 1)")  # added to the mean square
    norm_offset: float = setting(0.0, "[0, 1]")  # scale = offset + parameter; Gemma: 1
    # pre: of what a branch reads | post: of what it adds | both
    norm_placement: str = setting("pre", choices=NORM_PLACEMENTS)
    parallel: bool = False  # attention and MLP read the same input, and both are added to it
    attention_bias: str = setting("none", choices=ATTENTION_BIASES)  # none | qkv | all
    attention_scale: float = setting(0.0, "[0, inf)")  # factor on scores; 0: 1 / sqrt(head_dim)
    mlp: str = setting("gated", choices=MLPS)  # gated: (act(x gate) * (x up)) down | plain
    mlp_bias: bool = False  # biases of the MLP's matrices
    activation: str = setting("silu", choices=ACTIVATIONS)  # silu | gelu (erf) | gelu_tanh | relu
    residual_scale: float = setting(1.0, "(0, inf)")  # factor on what a branch adds

    def __post_init__(self) -> None:
        check_fields(self, "model.block")
        if self.parallel and self.norm_placement != "pre":
            raise UserError(
                f"model.block.parallel goes with norm_placement='pre', not with "
                f"{self.norm_placement!r}"
            )


@dataclass(frozen=True)
class ModelConfig:
    """Shape and execution of a decoder; `ModelSpec` has what vocabulary and platform add.

    The fields of EXECUTION choose how the same function is computed; they change neither parameters
    nor checkpoints.

    Raises:
      UserError: a field has no meaning; names it.
    """

    layers: int = setting(6, "[1, 10000]")  # decoder blocks
    embed_dim: int = setting(256, "[1, inf)")  # channels
    num_heads: int = setting(8, "[1, inf)")  # query heads
    num_kv_heads: int = setting(4, "[1, inf)")  # key and value heads; divides num_heads
    head_dim: int = setting(32, "[2, inf)")  # channels
    mlp_dim: int = setting(768, "[1, inf)")  # hidden channels of the MLP
    positions: PositionSettings = section(PositionSettings)
    # schemes, and masks, of successive layers, repeated, such as ('rope/window:size=512', 'rope');
    # (): scheme in all
    layer_pattern: tuple[str, ...] = ()
    # of the weights, in layers whose scheme is scaled; those of a phase and of a method come on top
    rope_scaling: RopeScaling = section(RopeScaling)
    block: BlockConfig = section(BlockConfig)
    # RMSNorm on queries and keys before RoPE: none | head (a head at a time) | full (all heads)
    qk_norm: str = setting("head", choices=QK_NORMS)
    # keys are mixed with those of the preceding tokens, by a learned share a key/value head
    smeared_keys: bool = False
    # scores -> cap * tanh(scores / cap); 0: off
    attention_softcap: float = setting(0.0, "[0, inf)")
    attention_weights: str = setting("softmax", choices=ATTENTION_WEIGHTS)  # softmax | lssa | lssar
    # logits -> cap * tanh(logits / cap); 0: off
    logit_softcap: float = setting(0.0, "[0, inf)")
    dropout: float = setting(0.0, "[0, 1)")  # share of channels after embedding, attention and MLP
    tie_embeddings: bool = True  # the output projection is the embedding, transposed
    embedding_scale: float = setting(1.0, "(0, inf)")  # factor on embeddings
    embedding_norm: bool = False  # the norm of the blocks on embeddings too (BLOOM)
    logit_scale: float = setting(1.0, "(0, inf)")  # factor on logits, before the soft cap
    # rows of the embedding; those without a token are never generated; 0: one a token
    vocab_rows: int = setting(0, "[0, inf)")
    # auto | float32 | bfloat16; auto: float32 on a CPU
    compute_dtype: str = setting("auto", choices=COMPUTE_DTYPES)
    attention: str = "auto"  # auto | dense | blockwise | splash (TPU) | cudnn (GPU)
    # queries and keys a blockwise block; 0: by batch and heads
    attention_block: int = setting(0, "[0, inf)")
    # auto | unroll | scan; auto: unroll on a CPU
    layer_execution: str = setting("auto", choices=LAYER_EXECUTIONS)
    # what the backward pass recomputes of a block: nothing, all but its matmuls (dots), all of it
    # (full), or all, from an input that waits in the memory of the host (offload)
    remat: str = setting("none", choices=REMAT_POLICIES)

    def __post_init__(self) -> None:
        check_fields(self, "model")
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"model.num_heads={self.num_heads} must be a multiple of "
                f"model.num_kv_heads={self.num_kv_heads}"
            )
        if self.rope_scaling.extras:
            raise UserError(
                f"model.rope_scaling has {self.rope_scaling.extras}, which a phase or a method "
                "has, and not a model; move it to phase.rope_scaling"
            )

    def tree(self) -> dict[str, Any]:
        """The fields as flags nest, of position schemes those in use."""
        tree = as_tree(self)
        used = {self.positions.scheme, *scheme_names(self.layer_pattern)}
        positions = tree["positions"].items()
        return tree | {
            "positions": {name: of for name, of in positions if name in used or name not in SCHEMES}
        }

    def meaning(self) -> dict[str, Any]:
        """The fields that decide the function of given weights, by dotted name."""
        fields = {n: v for n, v in self.tree().items() if n not in (*EXECUTION, *_TRAINING)}
        return flatten(fields)
