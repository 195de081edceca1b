"""Published peak figures of TPU chips.

HBM and its bandwidth, the bandwidth of the links between chips and the size of a slice, as Google's
pages on each version of Cloud TPU give them; the peak of matmuls is that of `train.machine.peak`.
"""

from dataclasses import dataclass

from lengthwise.common.errors import UserError
from lengthwise.train.machine.peak import PUBLISHED_BF16

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    kind: str  # jax's device_kind
    hbm_bytes: int
    hbm_bytes_per_second: float
    link_bytes_per_second: float  # of all links to other chips of the slice
    slice_chips: int  # of the largest slice

    @property
    def flops_per_second(self) -> float:
        """Dense bf16."""
        return PUBLISHED_BF16[self.kind]


CHIPS = {
    chip.kind: chip
    for chip in (
        Chip("TPU v5 lite", 16 * GIB, 819e9, 1600e9 / 8, 256),
        Chip("TPU v5", 95 * GIB, 2765e9, 4800e9 / 8, 6144),
        Chip("TPU v6 lite", 32 * GIB, 1640e9, 3584e9 / 8, 256),
    )
}


def chip_of(kind: str) -> Chip:
    """Figures of a chip by jax's device_kind. Raises UserError for an unknown one."""
    if kind not in CHIPS:
        raise UserError(f"mesh.topology has chips {kind!r}; plans are made for {', '.join(CHIPS)}")
    return CHIPS[kind]
