"""Rotary position embedding (Su et al., arXiv:2104.09864)."""

from dataclasses import dataclass
from typing import ClassVar

import flax.struct
import jax

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.attention.biases import FarField
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.rotation import (
    RopeAngles,
    RopeTables,
    far_angles,
    rope_angles,
    rope_tables,
    rotate,
)
from lengthwise.model.positions.scheme import Dims, LayerScheme, Terms


@flax.struct.dataclass
class RopeShared:
    """Angles that all layers share; the far ones are for pairs `boundary` or more tokens apart."""

    near: RopeAngles
    far_q: RopeAngles | None
    far_k: RopeAngles | None
    boundary: int = flax.struct.field(pytree_node=False)


@SCHEMES.register("rope")
@dataclass(frozen=True)
class Rope(LayerScheme):
    """Rotates queries and keys, so that their product depends on the distance alone."""

    scalable: ClassVar[bool] = True

    theta: float = setting(10_000.0, "(1, inf)")  # base of the wavelengths
    rotary_share: float = setting(1.0, "(0, 1]")  # share of a head's channels that are turned
    scaled: bool = True  # model.rope_scaling applies

    @property
    def takes_model_scaling(self) -> bool:
        return self.scaled

    def rotary_dim(self, head_dim: int) -> int:
        """Number of rotated channels, rounded down to whole pairs (GPT-NeoX, arXiv:2204.06745)."""
        return 2 * int(head_dim * self.rotary_share / 2)

    def check(self, dims: Dims) -> None:
        if dims.head_dim % 2:
            raise UserError(f"model.head_dim must be even for RoPE, got {dims.head_dim}")
        if not self.theta > 1:
            raise UserError(f"model.positions.rope.theta must be above 1, got {self.theta}")
        if not 0 < self.rotary_share <= 1 or self.rotary_dim(dims.head_dim) < 2:
            raise UserError(
                f"model.positions.rope.rotary_share={self.rotary_share} must rotate between 2 and "
                f"all {dims.head_dim} channels of a head"
            )

    def tables(
        self, dims: Dims, scaling: RopeScaling, trained: RopeScaling, length: int
    ) -> RopeTables:
        rotary_dim = self.rotary_dim(dims.head_dim)
        own = dims.rope_scaling if self.scaled else UNSCALED
        return rope_tables(rotary_dim, self.theta, scaling, trained, own=own, length=length)

    def has_far_field(self, tables: RopeTables) -> bool:
        return tables.far is not None

    def prepare(
        self,
        params: dict[str, jax.Array],
        tables: RopeTables,
        positions_BL: jax.Array,
        span: int,
    ) -> RopeShared:
        near = rope_angles(positions_BL, tables)
        if tables.far is None:
            return RopeShared(near, None, None, 0)
        return RopeShared(near, *far_angles(positions_BL, tables), tables.far.boundary)

    def terms(
        self, params: dict[str, jax.Array], shared: RopeShared, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        q_near, k_near = rotate(q_BLHC, shared.near), rotate(k_BLKC, shared.near)
        if shared.far_q is None or shared.far_k is None:
            return Terms(q_near, k_near)
        q_far, k_far = rotate(q_BLHC, shared.far_q), rotate(k_BLKC, shared.far_k)
        return Terms(q_near, k_near, far=FarField(q_far, k_far, shared.boundary))
