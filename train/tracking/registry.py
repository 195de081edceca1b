"""The registry of trackers: a file each in train/tracking/trackers."""

from typing import Any

from lengthwise.common.registry import Registry

TRACKERS: Registry[Any] = Registry("tracker", "lengthwise.train.tracking.trackers")
