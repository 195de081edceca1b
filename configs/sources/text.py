"""The UTF-8 files of a folder: a document a file."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "text"
    config.data.path = "corpora/notes"
    config.data.pattern = "*.md"
    return config
