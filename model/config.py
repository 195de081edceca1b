"""The settings of a decoder."""

from dataclasses import dataclass, fields

from lengthwise.common.errors import UserError
from lengthwise.model.attention.softplus import KINDS as ATTENTION_WEIGHTS
from lengthwise.model.positions.scheme import Dims, InputScheme, LayerScheme, Scheme

LAYER_EXECUTIONS = ("unroll", "scan")
REMAT_POLICIES = ("none", "dots", "full", "offload")
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
    head_dim: int  # channels a head
    mlp_dim: int  # hidden channels of SwiGLU
    input_scheme: InputScheme | None  # positions that are added to the embeddings
    layer_schemes: tuple[LayerScheme, ...]  # positions in the layers: one period of the pattern
    randomized: int  # positions are drawn from 0 ... this - 1; 0: they count up from 0
    qk_norm: bool  # RMSNorm on queries and keys, a head at a time, before RoPE
    attention_softcap: float | None  # scores -> cap * tanh(scores / cap); None: off
    attention_weights: str  # "softmax", or "lssa" or "lssar" of model.attention.softplus
    logit_softcap: float | None  # logits -> cap * tanh(logits / cap); None: off
    dropout: float  # share of channels dropped after the embedding, attention and MLP
    tie_embeddings: bool  # the output projection is the embedding, transposed
    compute_dtype: str  # "float32" or "bfloat16": activations and matmul operands
    attention: str  # backend of model.attention, resolved: never "auto"
    attention_block: int  # tokens a block of the blockwise backend; 0: from batch and heads
    layer_execution: str  # "unroll" or "scan" over the stacked blocks
    # What the backward pass recomputes of a block: "none", all but its matmuls ("dots"), all of it
    # ("full"), or all, from an input that waits in the memory of the host ("offload").
    remat: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("attention_block", "randomized") else 1
            if field.type is int and value < least:
                raise UserError(f"model.{field.name} must be at least {least}, got {value}")
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"model.num_heads={self.num_heads} must be a multiple of "
                f"model.num_kv_heads={self.num_kv_heads}"
            )
        if not self.layer_schemes or self.layers % len(self.layer_schemes):
            raise UserError(
                f"model.layers={self.layers} must be a multiple of the {len(self.layer_schemes)} "
                "layers of model.layer_pattern"
            )
        names = [scheme.name for scheme in self.schemes]
        if len(set(names)) < len(names):  # tables and parameters go by the name
            raise ValueError(f"one position scheme with two settings in {self.schemes}")
        for scheme in self.schemes:
            scheme.check(self.dims)
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout must be in [0, 1), got {self.dropout}")
        for name in ("attention_softcap", "logit_softcap"):
            cap = getattr(self, name)
            if cap is not None and not cap > 0:
                raise UserError(f"model.{name} must be positive or None, got {cap}")
        choices = {
            "attention_weights": ATTENTION_WEIGHTS,
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
    def dims(self) -> Dims:
        return Dims(self.embed_dim, self.num_heads, self.num_kv_heads, self.head_dim)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Each position scheme once, that at the input first."""
        at_input = () if self.input_scheme is None else (self.input_scheme,)
        return tuple(dict.fromkeys((*at_input, *self.layer_schemes)))

    @property
    def random(self) -> bool:
        """Whether training draws random numbers."""
        drawn = self.randomized > 0 or any(scheme.random for scheme in self.schemes)
        return self.dropout > 0 or drawn

    def span(self, length: int) -> int:
        """Sequences of `length` tokens have positions below this."""
        return self.randomized or length

    def check_length(self, length: int) -> None:
        """Raises UserError for sequences that there are no positions for."""
        if self.randomized and length > self.randomized:
            raise UserError(
                f"model.positions.randomized={self.randomized} is a range too small for sequences "
                f"of {length} tokens; widen it"
            )
        for scheme in self.schemes:
            if self.span(length) > scheme.longest:
                raise UserError(
                    f"the position scheme {scheme.name!r} has {scheme.longest} positions, but "
                    f"sequences of {length} tokens need {self.span(length)}; {scheme.remedy}"
                )

    def learns_per_layer(self, scheme: Scheme) -> bool:
        """Whether each layer with the scheme has parameters of its own for it."""
        return isinstance(scheme, LayerScheme) and scheme.per_layer

    def scheme_layers(self, scheme: Scheme) -> int:
        """Layers that have the scheme."""
        return self.layers // len(self.layer_schemes) * self.layer_schemes.count(scheme)

    @property
    def position_scheme(self) -> str:
        """The schemes in words: "rope", "rope/rope/rope/none", "abacus + fire", "randomized t5"."""
        names = [scheme.name for scheme in self.layer_schemes]
        layers = names[0] if len(set(names)) == 1 else "/".join(names)
        words = "randomized " if self.randomized else ""
        if self.input_scheme is None:
            return words + layers
        return words + self.input_scheme.name + ("" if layers == "none" else f" + {layers}")

    @property
    def cache_block(self) -> int:
        """Tokens of a cache, and queries to it, that attention takes at a time."""
        return self.attention_block or 512

    @property
    def residual_scale(self) -> float:
        """Factor on the initial output matrices of attention and MLP: 1 / sqrt(2 * layers).

        Keeps the variance of the residual stream at initialization independent of depth (GPT-2).
        """
        return (2 * self.layers) ** -0.5
