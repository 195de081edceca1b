"""Documents of web-like lengths, the same everywhere: pip install -r requirements-corpora.txt"""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "aws_docs"
    config.data.tokenizer = "train:bpe:8192"
    return config
