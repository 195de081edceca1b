"""Documents that are token ids already, of a vocabulary of 50,304 whose id 0 ends a document."""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.data.source = "parquet"
    config.data.path = "corpora/ids"
    config.data.field = "input_ids"
    config.data.tokenizer = "ids:50304:0"
    return config
