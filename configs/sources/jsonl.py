"""JSON lines, plain or compressed (.gz, .zst): a document a line, related ones by site."""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.data.source = "jsonl"
    config.data.path = "corpora/dump-*.jsonl*"
    config.data.field = "text"
    config.data.group_field = "site"
    return config
