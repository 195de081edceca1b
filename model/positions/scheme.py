"""What a position scheme is: a frozen dataclass that a decoder asks what to do with positions.

A scheme works in one of two places. An `InputScheme` adds to the embeddings, once; a `LayerScheme`
changes queries, keys or scores, in each layer that the layer pattern gives to it. Its settings are
static; what it learns lies in the decoder's tree under "positions"; what depends on the settings
alone and is large or must be exact comes as tables, operands of the compiled step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax

from lengthwise.model.attention.biases import Bias, ContextBias, FarField
from lengthwise.model.positions.rope_scaling import RopeScaling

MAX_POSITION = 2**20  # the largest position, and the longest sequence
BIASES = (None, "linear", "block", "context")  # kinds of a bias, the least demanding first


class Dims(NamedTuple):
    """The sizes of a decoder that a scheme may depend on."""

    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


class Parameter(NamedTuple):
    """A learned array of a scheme, before it is made; float32."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]  # logical names, see train.mesh
    init: Callable[[jax.Array, tuple[int, ...]], jax.Array]  # (key, shape) -> values


class Terms(NamedTuple):
    """What a layer's attention is computed from."""

    q_BLHC: jax.Array
    k_BLKC: jax.Array
    bias: Bias | ContextBias | None = None
    far: FarField | None = None


@dataclass(frozen=True)
class Scheme:
    """What both kinds of scheme share."""

    name: ClassVar[str]
    scalable: ClassVar[bool] = False  # RoPE scalings have a meaning
    reads_positions: ClassVar[bool] = True  # False: permuted position ids change nothing
    beyond_span: ClassVar[bool] = True  # False: there are no position ids beyond a row's length
    random: ClassVar[bool] = False  # training draws random numbers for it

    def check(self, dims: Dims) -> None:
        """Raises UserError for a decoder that the scheme can't serve."""

    @property
    def longest(self) -> int:
        """How many positions there are: 0 ... longest - 1."""
        return MAX_POSITION

    @property
    def remedy(self) -> str:
        """What to do for longer sequences."""
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
        """What training adds to the loss in nats/token, at a batch of this length; None: nothing.

        params: what the scheme has learned; key: of the step.
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
        """How many tokens before it a token's vector depends on."""
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
        """[B or 1, L, D], float32, to be added to the embeddings.

        inputs may have up to `lookback` more columns, before those that positions are given for:
        so may the result.

        key: of a training step, for what is random there; None at evaluation.
        """
        raise NotImplementedError


class LayerScheme(Scheme):
    """Changes what attention is computed from."""

    bias: ClassVar[str | None] = None  # one of BIASES: what `terms` adds to the scores
    per_layer: ClassVar[bool] = True  # each layer has parameters of its own; else all share one set

    def has_far_field(self, tables: Any) -> bool:
        """Whether `terms` has other queries and keys for far pairs; static."""
        return False

    def prepare(
        self, params: dict[str, jax.Array], tables: Any, positions_BL: jax.Array, span: int
    ) -> Any:
        """What all layers share, a pytree of arrays; computed once a forward pass.

        params: those that all layers share, where they are not a layer's own. positions: int
        [B or 1, L], 0 ... span - 1.
        """

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        """What one layer's attention is computed from.

        params: the layer's own, if it has such; shared: see `prepare`.
        """
        return Terms(q_BLHC, k_BLKC)
