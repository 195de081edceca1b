"""Documents of web-like lengths, the same everywhere: pip install -r requirements-corpora.txt"""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.data.source = "aws_docs"
    config.data.tokenizer = "train:bpe:8192"
    return config
