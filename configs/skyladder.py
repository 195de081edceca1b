"""The quickstart's rival with a growing window: SkyLadder (arXiv 2503.15450) on glued documents.

The window starts at 32 keys and reaches the row of 256 tokens after 64 % of the steps, which is the
share that the paper ramps.
"""

from ml_collections import ConfigDict

from lengthwise.configs import baseline


def get_config() -> ConfigDict:
    config = baseline.get_config()
    layout = config.phase.layout
    layout.name = "window"
    layout.window_start = 32
    layout.window_rate = (layout.largest_bucket - layout.window_start) / (0.64 * config.phase.steps)
    return config
