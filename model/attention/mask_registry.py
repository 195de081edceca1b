"""The registry of masks of layers: a file each in model/attention/mask_kinds.

A registered class has a method `mask()` that gives a `masks.Mask`, or a subclass of it with another
`first_key`.
"""

from typing import Any

from lengthwise.common.registry import Registry

MASKS: Registry[Any] = Registry("layer mask", "lengthwise.model.attention.mask_kinds")
