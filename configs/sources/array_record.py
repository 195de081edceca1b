"""ArrayRecord files whose records are texts; with a field they are JSON objects."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "array_record"
    config.data.path = "corpora/pages.array_record*"
    config.data.field = ""
    return config
