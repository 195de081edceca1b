"""JSON lines, plain or compressed (.gz, .zst): a document a line, related ones by site."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "jsonl"
    config.data.path = "corpora/dump-*.jsonl*"
    config.data.field = "text"
    config.data.group_field = "site"
    return config
