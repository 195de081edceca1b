"""Documents that are token ids already, of a vocabulary of 50,304 whose id 0 ends a document."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "parquet"
    config.data.path = "corpora/ids"
    config.data.field = "input_ids"
    config.data.tokenizer = "ids:50304:0"
    return config
