"""The registry of scorers: a file each in eval/scorers."""

from typing import Any

from lengthwise.common.registry import Registry

SCORERS: Registry[Any] = Registry("scorer", "lengthwise.eval.scorers")
