"""Positions encoded digit by digit by a small transformer (SeqPE; Li et al., arXiv:2506.13277).

The encoder is a pre-norm transformer over the decimal digits of a position and a last token, whose
output is the position's embedding. Two losses shape the embeddings of all positions, also of those
that no training sequence reaches: of a few candidates the nearest position must have the most
similar embedding, and a stretch of far positions must be to itself as the first positions are.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, LayerScheme, Parameter, Terms
from lengthwise.model.positions.settings import MAX_POSITION

_SAMPLES = 32  # pivots of the contrastive loss, and stretches of the distillation, in a step
_CANDIDATES = 32  # candidates a pivot, and positions a stretch
_NEAR = 128  # tokens: how far from the pivot the near candidates lie
_BASE = 10

Params = dict[str, jax.Array]


class Encoded(NamedTuple):
    """Channels that queries and keys get for their positions: [B or 1, L, heads, P]."""

    q: jax.Array
    k: jax.Array


@SCHEMES.register("seqpe")
@dataclass(frozen=True)
class SeqPE(LayerScheme):
    """Scores gain q_p[i] k_p[j] / sqrt(C): linear maps of the positions' embeddings, a head each.

    The maps are shared by all layers ("attn_scalar" and "single" in the authors' code).
    """

    per_layer: ClassVar[bool] = False
    beyond_span: ClassVar[bool] = False
    random: ClassVar[bool] = True

    layers: int = setting(2, "[1, inf)")  # of the encoder of digits
    width: int = setting(64, "[1, inf)")  # its channels
    # its attention heads, by which the losses compare embeddings too
    heads: int = setting(4, "[1, inf)")
    digits: int = setting(6, "[1, 9]")  # decimal digits of a position
    regularized: int = setting(16_384, "[1, inf)")  # the losses draw positions below this
    contrastive_weight: float = setting(0.1, "[0, inf)")  # of that loss
    distillation_weight: float = setting(0.1, "[0, inf)")  # of that loss

    @property
    def longest(self) -> int:
        return min(_BASE**self.digits, MAX_POSITION)

    @property
    def remedy(self) -> str:
        return "raise model.positions.seqpe.digits"

    def check(self, dims: Dims) -> None:
        if min(self.layers, self.width, self.heads, self.digits) < 1 or self.width % self.heads:
            raise UserError(
                "model.positions.seqpe needs layers, heads and digits of at least 1 and a width "
                f"that is a multiple of heads, got {self}"
            )
        if not 2 * _NEAR < self.regularized <= self.longest:
            raise UserError(
                f"model.positions.seqpe.regularized={self.regularized} must lie between "
                f"{2 * _NEAR} and the {self.longest} positions of {self.digits} digits"
            )

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        E, N = self.width, self.layers

        def normal(*shape: int) -> Parameter:
            return Parameter(shape, (None,) * len(shape), _normal)

        def ones(*shape: int) -> Parameter:
            return Parameter(shape, (None,) * len(shape), lambda _, s: jnp.ones(s, jnp.float32))

        def zeros(*shape: int) -> Parameter:
            return Parameter(shape, (None,) * len(shape), lambda _, s: jnp.zeros(s, jnp.float32))

        maps = {"q": dims.num_heads, "k": dims.num_kv_heads}
        return {
            "digit": normal(_BASE, E),
            "place": normal(self.digits, E),
            "last": normal(E),
            "attention_in": normal(N, E, 3 * E),
            "attention_in_bias": zeros(N, 3 * E),
            "attention_out": normal(N, E, E),
            "attention_out_bias": zeros(N, E),
            "mlp_in": normal(N, E, 4 * E),
            "mlp_in_bias": zeros(N, 4 * E),
            "mlp_out": normal(N, 4 * E, E),
            "mlp_out_bias": zeros(N, E),
            "norm_scale": ones(2 * N + 1, E),
            "norm_bias": zeros(2 * N + 1, E),
            "out": normal(E, E),
            "out_bias": zeros(E),
            **{
                f"{name}_map": Parameter(
                    (E, heads, dims.head_dim), (None, "score_heads", None), _normal
                )
                for name, heads in maps.items()
            },
        }

    def score_channels(self, head_dim: int) -> int:
        return 2 * head_dim  # those of the tokens and as many of their positions

    def pair_flops(self, dims: Dims) -> int:
        return 2 * dims.num_heads * dims.head_dim

    def prepare(self, params: Params, tables: Any, positions_BL: jax.Array, span: int) -> Encoded:
        """Encodes the positions 0 ... span - 1 once, whatever the rows; those of the rows, where
        they are fewer."""
        few = positions_BL.size < span
        encoded_S = positions_BL.reshape(-1) if few else jnp.arange(span)
        embeddings_SE = self.encode(params, encoded_S)

        def at_positions(weights_EHP: jax.Array) -> jax.Array:
            mapped_SHP = jnp.einsum("se,ehp->shp", embeddings_SE, weights_EHP)
            if few:
                outside_S11 = ((encoded_S < 0) | (encoded_S >= span))[:, None, None]
                mapped_SHP = jnp.where(outside_S11, jnp.nan, mapped_SHP)
                return mapped_SHP.reshape(*positions_BL.shape, *mapped_SHP.shape[1:])
            return mapped_SHP.at[positions_BL].get(
                mode="fill", fill_value=jnp.nan, wrap_negative_indices=False
            )

        return Encoded(at_positions(params["q_map"]), at_positions(params["k_map"]))

    def terms(self, params: Params, shared: Encoded, q_BLHC: jax.Array, k_BLKC: jax.Array) -> Terms:
        C, P = q_BLHC.shape[-1], shared.q.shape[-1]
        # Attention divides by sqrt(C + P), but the scale of the scores is that of C channels.
        q = jnp.concatenate((q_BLHC, _rows(shared.q, q_BLHC)), -1) * math.sqrt((C + P) / C)
        return Terms(q, jnp.concatenate((k_BLKC, _rows(shared.k, k_BLKC)), -1))

    def encode(self, params: Params, positions_N: jax.Array) -> jax.Array:
        """Embeddings [N, E] of int positions [N]."""
        places = _BASE ** jnp.arange(self.digits - 1, -1, -1)
        digits_ND = positions_N[:, None] // places[None] % _BASE
        x_NDE = params["digit"][digits_ND] + params["place"][None]
        last_N1E = jnp.broadcast_to(params["last"][None, None], (len(positions_N), 1, self.width))
        x_NDE = jnp.concatenate((x_NDE, last_N1E), axis=1)
        N, D, E = x_NDE.shape
        causal = jnp.tril(jnp.ones((D, D), bool))[None, None]

        def block(x_NDE: jax.Array, p: Params) -> tuple[jax.Array, None]:
            qkv = _dense(_norm(x_NDE, p["norm_scale"][0], p["norm_bias"][0]), p, "attention_in")
            q, k, v = qkv.reshape(N, D, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
            scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
            mixed = jax.nn.softmax(jnp.where(causal, scores, -1e30), axis=-1) @ v
            mixed_NDE = mixed.transpose(0, 2, 1, 3).reshape(N, D, E)
            x_NDE += _dense(mixed_NDE, p, "attention_out")
            hidden = _dense(_norm(x_NDE, p["norm_scale"][1], p["norm_bias"][1]), p, "mlp_in")
            return x_NDE + _dense(jax.nn.gelu(hidden, approximate=True), p, "mlp_out"), None

        layers = {
            name: value if name.startswith(("attention", "mlp")) else value[:-1].reshape(-1, 2, E)
            for name, value in params.items()
            if name.startswith(("attention", "mlp", "norm"))
        }
        x_NDE, _ = jax.lax.scan(block, x_NDE, layers)
        last_NE = _norm(x_NDE[:, -1], params["norm_scale"][-1], params["norm_bias"][-1])
        return _dense(last_NE, params, "out")

    def penalty(self, params: Params, key: jax.Array, length: int) -> jax.Array:
        """The weighted sum of the two losses.

        Raises:
          UserError: no positions beyond a batch of this length are regularized.
        """
        if self.regularized < 2 * length:
            raise UserError(
                f"model.positions.seqpe.regularized={self.regularized} must be at least twice the "
                f"longest training sequence, {length} tokens"
            )
        # One call: each would add seconds of compilation on a CPU.
        uniform = jax.random.uniform(key, (7, _SAMPLES, _CANDIDATES))
        samples = (
            *self.sample_candidates(uniform[:5]),
            *self.sample_stretches(uniform[5:], length),
        )
        # In one pass: encoding is what costs.
        everything = self.encode(params, jnp.concatenate([x.reshape(-1) for x in samples]))
        ends = np.cumsum([x.size for x in samples])[:-1]
        pivots, candidates, near, far = (
            part.reshape(*x.shape, self.heads, -1)
            for part, x in zip(jnp.split(everything, ends), samples, strict=True)
        )
        nearest = jnp.argmin(jnp.abs(samples[1] - samples[0][:, None]), axis=1)
        return self.contrastive_weight * contrastive_loss(
            pivots, candidates, nearest
        ) + self.distillation_weight * distillation_loss(near, far)

    def sample_candidates(self, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Pivots [N] and other positions for each, [N, M], from [5, N, M] numbers in [0, 1).

        The candidates of a pivot are from anywhere, or near it, or differ from it in one digit, a
        third of the pivots each; none is the pivot.
        """
        pivots = _whole(uniform[0, :, 0], 0, self.regularized)
        from_pivot = pivots[:, None]
        anywhere = (from_pivot + _whole(uniform[1], 1, self.regularized)) % self.regularized
        step = _whole(uniform[2], -_NEAR, _NEAR)
        step = jnp.where(step >= 0, step + 1, step)
        near = from_pivot + step
        near = jnp.where((near < 0) | (near >= self.regularized), from_pivot - step, near)
        place = _BASE ** _whole(uniform[3], 0, self.digits)
        digit = from_pivot // place % _BASE
        other = (digit + _whole(uniform[4], 1, _BASE)) % _BASE
        edited = from_pivot + (other - digit) * place
        edited = jnp.where(edited >= self.regularized, anywhere, edited)
        kind = jnp.arange(len(pivots))[:, None] % 3
        return pivots, jnp.select([kind == 0, kind == 1], [anywhere, near], edited)

    def sample_stretches(self, uniform: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
        """Positions [N, M] below `length` and those a stretch further on, one for each N, from
        [2, N, M] numbers in [0, 1)."""
        starts = _whole(uniform[0, :, :1], length, self.regularized - length + 1)
        near = _whole(uniform[1], 0, length)
        return near, near + starts


def contrastive_loss(
    pivot_NHE: jax.Array, others_NMHE: jax.Array, nearest_N: jax.Array
) -> jax.Array:
    """Cross-entropy of the nearest candidate under the embeddings' products, by head."""
    logits_NHM = jnp.einsum("nhe,nmhe->nhm", pivot_NHE, others_NMHE)
    chosen = jnp.take_along_axis(logits_NHM, nearest_N[:, None, None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits_NHM, axis=-1) - chosen)


def distillation_loss(near_NMHE: jax.Array, far_NMHE: jax.Array) -> jax.Array:
    """Symmetric KL between similarities among near and among far positions, by head.

    The gradient reaches the far ones alone. The mean over all pairs, as the authors have it.
    """

    def among_themselves(x_NMHE: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(jnp.einsum("nihe,njhe->nhij", x_NMHE, x_NMHE), axis=-1)

    teacher = jax.lax.stop_gradient(among_themselves(near_NMHE))
    student = among_themselves(far_NMHE)
    return jnp.mean((jnp.exp(teacher) - jnp.exp(student)) * (teacher - student))


def _whole(uniform: jax.Array, low: int, high: int) -> jax.Array:
    """int32 in [low, high) from numbers in [0, 1)."""
    return low + jnp.minimum((uniform * (high - low)).astype(jnp.int32), high - low - 1)


def _rows(x_1LHP: jax.Array, like_BLHC: jax.Array) -> jax.Array:
    return jnp.broadcast_to(x_1LHP, (len(like_BLHC), *x_1LHP.shape[1:])).astype(like_BLHC.dtype)


def _dense(x: jax.Array, params: Params, name: str) -> jax.Array:
    return x @ params[name] + params[f"{name}_bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def _norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """LayerNorm."""
    centered = x - x.mean(-1, keepdims=True)
    x = centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
    shape = (1,) * (x.ndim - 1) + (-1,)
    return x * scale.reshape(shape) + bias.reshape(shape)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 0.02 * jax.random.normal(key, shape, jnp.float32)
