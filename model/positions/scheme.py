"""Contract of position schemes: frozen dataclasses whose methods the decoder calls.

An `InputScheme` adds to the embeddings, once; a `LayerScheme` changes queries, keys or scores, in
each layer that the layer pattern assigns to it. Settings are static. Parameters lie under
"positions" in the decoder's tree. Arrays that depend on settings alone and are large or must be
exact are tables: host arrays, and operands of the compiled step.

To add a scheme: one file in `schemes/`, named as the config names it, and nothing else.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax

from lengthwise.model.attention.biases import Bias, ContextBias, FarField
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.settings import MAX_POSITION

BIASES = (None, "linear", "block", "context")  # kinds of a bias, the least demanding first


class Dims(NamedTuple):
    """What a scheme may know of its decoder."""

    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_scaling: RopeScaling = UNSCALED  # the model's own


class Parameter(NamedTuple):
    """Declaration of a learned float32 array of a scheme."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]  # logical names, see train.mesh
    init: Callable[[jax.Array, tuple[int, ...]], jax.Array]  # (key, shape) -> values


class Terms(NamedTuple):
    """Operands of a layer's attention."""

    q_BLHC: jax.Array
    k_BLKC: jax.Array
    bias: Bias | ContextBias | None = None
    far: FarField | None = None

    def of_last(self, tokens: int) -> "Terms":
        """With the queries of the rows' last tokens alone; 0: of all."""
        if not tokens:
            return self
        far = self.far
        if far is not None:
            far = dataclasses.replace(far, q_BLHC=far.q_BLHC[:, -tokens:])
        return self._replace(q_BLHC=self.q_BLHC[:, -tokens:], far=far)


@dataclass(frozen=True)
class Scheme:
    """Contract of both kinds of scheme."""

    name: ClassVar[str]
    scalable: ClassVar[bool] = False  # RoPE scalings have a meaning
    reads_positions: ClassVar[bool] = True  # False: permuted position ids change nothing
    beyond_span: ClassVar[bool] = True  # False: there are no position ids beyond a row's length
    random: ClassVar[bool] = False  # training samples random numbers for it

    def check(self, dims: Dims) -> None:
        """Raises UserError for a decoder that the scheme can't serve."""

    @property
    def takes_model_scaling(self) -> bool:
        """Whether model.rope_scaling applies to its layers."""
        return False

    @property
    def longest(self) -> int:
        """Number of positions: 0 ... longest - 1."""
        return MAX_POSITION

    @property
    def remedy(self) -> str:
        """The way out for longer sequences, in words."""
        return "choose shorter ones"

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        """Learned arrays by name: of one layer, or those that there are once."""
        return {}

    def tables(self, dims: Dims, scaling: RopeScaling, trained: RopeScaling, length: int) -> Any:
        """Host arrays that `prepare` takes, a pytree of fixed shapes; None: it needs none.

        scaling comes on top of `trained`, that under which the parameters were trained; length:
        tokens of the sequence, which some scalings follow.
        """

    def parameter_count(self, dims: Dims) -> int:
        """Learned numbers, of one layer or of the input."""
        return sum(math.prod(p.shape) for p in self.parameters(dims).values())

    def penalty(
        self, params: dict[str, jax.Array], key: jax.Array, length: int
    ) -> jax.Array | None:
        """Auxiliary loss of training, in nats/token, at a batch of this length; None: none.

        params: of the scheme; key: of the step.
        """
        return None

    def score_channels(self, head_dim: int) -> int:
        """Channels of the queries and keys that attention gets, a head."""
        return head_dim

    def token_flops(self, dims: Dims) -> int:
        """Forward matmul FLOPs a token, in one layer or at the input, that NoPE doesn't have."""
        return 0

    def pair_flops(self, dims: Dims) -> int:
        """The same for a pair of a query and a key that it sees; all heads of a layer."""
        return 0


class InputScheme(Scheme):
    """Adds vectors to the token embeddings."""

    @property
    def lookback(self) -> int:
        """Number of preceding tokens that a token's vector depends on."""
        return 0

    def embed(
        self,
        params: dict[str, jax.Array],
        tables: Any,
        inputs_BL: jax.Array,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """Vectors to add to the embeddings, float32 [B or 1, L, D].

        inputs may have up to `lookback` more columns, before those that have positions: so may the
        result.

        key: of a training step, for what is random there; None at evaluation.
        """
        raise NotImplementedError


class LayerScheme(Scheme):
    """Changes the operands of attention."""

    bias: ClassVar[str | None] = None  # one of BIASES: kind of the bias of `terms`
    per_layer: ClassVar[bool] = True  # each layer has parameters of its own; else all share one set

    def has_far_field(self, tables: Any) -> bool:
        """Whether `terms` has other queries and keys for far pairs; static."""
        return False

    def prepare(
        self, params: dict[str, jax.Array], tables: Any, positions_BL: jax.Array, span: int
    ) -> Any:
        """Arrays that all layers share, a pytree; computed once a forward pass.

        params: those that all layers share; {} where each layer has its own. positions: int
        [B or 1, L], 0 ... span - 1.
        """

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        """Operands of one layer's attention.

        params: the layer's own, if any; shared: see `prepare`.
        """
        return Terms(q_BLHC, k_BLKC)
