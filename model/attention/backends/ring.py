"""Slots of a cache layer that forgets: those of its sinks, then a ring of its last tokens."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.model.attention.masks import Mask

_NO_TOKEN = 2**30  # later than every query, so that masks hide the slot


class Ring(NamedTuple):
    """Token i is in slot i where it is a sink, else in leading + (i - sinks) mod size. Static.

    Passes of up to `step` tokens that begin at most `step` tokens back find all that the window
    shows, since size >= window - 1 + step.
    """

    sinks: int
    leading: int  # slots for them, whole blocks
    size: int  # slots of the ring, whole blocks

    def slots(self, index: jax.Array) -> jax.Array:
        """Slots of tokens."""
        in_ring = self.leading + (index - self.sinks) % self.size
        return jnp.where(index < self.sinks, index, in_ring)

    def tokens(self, last_B: jax.Array) -> jax.Array:
        """Tokens of the slots behind a pass with the last tokens last_B, int32 [B, slots]."""
        slots_R = np.arange(self.size)[None]
        last_B1 = last_B[:, None]
        in_ring_BR = last_B1 - (last_B1 - self.sinks - slots_R) % self.size
        in_ring_BR = jnp.where(in_ring_BR >= self.sinks, in_ring_BR, _NO_TOKEN)
        leading = np.arange(self.leading)
        leading = np.where(leading < self.sinks, leading, _NO_TOKEN).astype(np.int32)
        leading_BP = jnp.broadcast_to(jnp.asarray(leading)[None], (last_B.shape[0], self.leading))
        return jnp.concatenate([leading_BP, in_ring_BR], axis=1)

    def check(self, mask: Mask, tokens: int) -> None:
        """Raises ValueError for a pass of so many tokens that it would overwrite what it needs."""
        if _reach(mask) - 1 + tokens > self.size:
            raise ValueError(f"a pass of {tokens} tokens under {mask} needs more than {self}")


def ring_slots(mask: Mask, capacity: int, step: int, block: int) -> int:
    """Slots of a layer under `mask` for rows of up to `capacity` tokens.

    step: most tokens of a pass, and that one begins before the end of the row so far; 0: unknown.
    """
    if not step or type(mask) is not Mask or not mask.limited:
        return capacity
    slots = _whole(mask.sinks, block) + _whole(_reach(mask) - 1 + step, block)
    return min(slots, capacity)


def ring_of(mask: Mask, slots: int, capacity: int, block: int) -> Ring | None:
    """The ring of a layer with so many slots; None: each token of the row has its own."""
    if slots == capacity:
        return None
    leading = _whole(mask.sinks, block)
    return Ring(mask.sinks, leading, slots - leading)


def _reach(mask: Mask) -> int:
    """Keys that a query sees, sinks aside, at most."""
    reach = mask.window or mask.chunk
    assert reach is not None
    return reach


def _whole(tokens: int, block: int) -> int:
    return -(-tokens // block) * block
