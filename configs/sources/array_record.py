"""ArrayRecord files whose records are texts; with a field they are JSON objects."""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.data.source = "array_record"
    config.data.path = "corpora/pages.array_record*"
    config.data.field = ""
    return config
