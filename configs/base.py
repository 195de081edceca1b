"""The config of a run: every section, each declared where it is used.

Other configs are short differences from `get_config()`. Any field can be set on the command line:
`--config.model.layers=6`. docs/config.md lists them all.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from lengthwise.common.registry import extensions
from lengthwise.common.settings import default_tree, section
from lengthwise.common.trees import as_tree
from lengthwise.data.config import DataConfig
from lengthwise.eval.config import EvalConfig, GenerateConfig
from lengthwise.train.config import CONFIG_VERSION, TrainConfig


@dataclasses.dataclass(frozen=True)
class RunConfig(TrainConfig):
    """A run: its training, its data and its scoring."""

    data: DataConfig = section(DataConfig)
    eval: EvalConfig = section(EvalConfig)
    generate: GenerateConfig = section(GenerateConfig)

    @property
    def resolved(self) -> dict[str, Any]:
        """The plain dict that the work directory keeps."""
        return {"version": CONFIG_VERSION, "extensions": extensions(), **as_tree(self)}


def get_config() -> ConfigDict:
    """Every field with its default, as flags nest."""
    return ConfigDict(_with_placeholders(default_tree(RunConfig))).lock()


def _with_placeholders(tree: dict[str, Any]) -> dict[str, Any]:
    """None stands for an integer that is left open."""
    return {
        name: _with_placeholders(value)
        if isinstance(value, dict)
        else (placeholder(int) if value is None else value)
        for name, value in tree.items()
    }
