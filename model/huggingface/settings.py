"""Settings of `--mode=export`.

Nothing here imports jax, so that a wrong flag is refused at once.
"""

from dataclasses import dataclass

from lengthwise.common.settings import setting


@dataclass(frozen=True)
class ExportConfig:
    """Where a model is exported to, and how."""

    path: str = setting("", path=True)  # a new folder for config.json, weights and tokenizer
    # a `model_type` such as qwen3; empty: that of train.init_from, or the plainest that fits
    family: str = ""
    # of the weights
    dtype: str = setting("float32", choices=("float32", "bfloat16", "float16"))
    # tokens of the longest sequences that config.json says the model is for; 0: of train.init_from,
    # or of the training
    positions: int = setting(0, "[0, inf)")
