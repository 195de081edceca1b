"""The quickstart: the embedded corpus as bytes, minutes on two cores (configs/bytes.py)."""

from lengthwise.configs.bytes import get_config

__all__ = ["get_config"]
