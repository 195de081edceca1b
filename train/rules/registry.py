"""The registry of stopping scores: a file each in train/rules/scores."""

from typing import Any

from lengthwise.common.registry import Registry

STOPPING_SCORES: Registry[Any] = Registry("stopping score", "lengthwise.train.rules.scores")
