"""Parquet files, as the Hugging Face Hub has them: a document a row."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "parquet"
    config.data.path = "corpora/hub/data"
    config.data.field = "content"
    config.data.empty_documents = "skip"
    return config
