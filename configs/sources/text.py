"""The UTF-8 files of a folder: a document a file."""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.data.source = "text"
    config.data.path = "corpora/notes"
    config.data.pattern = "*.md"
    return config
