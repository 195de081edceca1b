"""The registry of position schemes: a file each in model/positions/schemes."""

from typing import Any

from lengthwise.common.registry import Registry

SCHEMES: Registry[Any] = Registry("position scheme", "lengthwise.model.positions.schemes")
