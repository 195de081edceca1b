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
from lengthwise.model.huggingface.settings import ExportConfig
from lengthwise.train.config import CONFIG_VERSION, TrainConfig


@dataclasses.dataclass(frozen=True)
class RunConfig(TrainConfig):
    """A run: its training, its data and its scoring."""

    data: DataConfig = section(DataConfig)
    eval: EvalConfig = section(EvalConfig)
    generate: GenerateConfig = section(GenerateConfig)
    export: ExportConfig = section(ExportConfig)

    @property
    def resolved(self) -> dict[str, Any]:
        """The plain dict that the work directory keeps."""
        return {"version": CONFIG_VERSION, "extensions": extensions(), **as_tree(self)}


def get_config() -> ConfigDict:
    """Every field with its default, as flags nest."""
    return as_flags(default_tree(RunConfig))


def as_flags(tree: dict[str, Any]) -> ConfigDict:
    """A tree of fields as flags take it; None stands for an integer that is left open."""

    def flag(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: flag(each) for name, each in value.items()}
        if isinstance(value, list):
            return tuple(value)
        return placeholder(int) if value is None else value

    return ConfigDict(flag(tree)).lock()
