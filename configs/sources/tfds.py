"""The standard library through TFDS: python -m lengthwise.data.sources.tfds corpora/tfds"""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "tfds"
    config.data.tfds_name = "embedded_stdlib"
    config.data.tfds_split = "train"
    config.data.path = "corpora/tfds"
    config.data.field = "text"
    config.data.group_field = "group"
    return config
