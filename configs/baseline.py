"""The quickstart's rival: the same model and budget on chunks of glued documents."""

from ml_collections import ConfigDict

from lengthwise.configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.phase.layout.name = "concat_and_chunk"
    config.phase.layout.document_mask = False
    config.phase.layout.mixture = "natural"
    config.phase.layout.shares = ()
    config.phase.curriculum.name = "natural"
    config.phase.curriculum.cycles = 1
    return config
