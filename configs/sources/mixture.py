"""Code, prose and pages as three domains of one corpus."""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.source = "jsonl"
    config.data.mixture = (
        {"domain": "code", "source": "stdlib"},
        {"domain": "prose", "path": "corpora/prose.jsonl.gz"},
        {"domain": "pages", "path": "corpora/pages.jsonl.zst", "field": "html"},
    )
    return config
