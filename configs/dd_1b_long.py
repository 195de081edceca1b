"""dd_1b, then a phase of documents of 131,072 and 1,048,576 tokens: 2^20 tokens a step."""

from ml_collections import ConfigDict

from configs import dd_1b


def get_config() -> ConfigDict:
    config = dd_1b.get_config()
    long = {
        "steps": 2000,
        "tokens_per_step": 1 << 20,
        "layout": {"smallest_bucket": 1 << 17, "largest_bucket": 1 << 20},
        "rope_scaling": {"kind": "yarn", "factor": 128.0, "original_length": 8192},
    }
    config.phases = ({}, long)
    return config
