"""The registry of optimizers: a file each in train/step/optimizers."""

from typing import Any

from lengthwise.common.registry import Registry

OPTIMIZERS: Registry[Any] = Registry("optimizer", "lengthwise.train.step.optimizers")
