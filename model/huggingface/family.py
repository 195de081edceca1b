"""Contract of a family of models, and the registry of families by `model_type`.

To add a family: one file in `families/`, and its case in tests/parity/families.py.
"""

from typing import Any, ClassVar

from lengthwise.common.registry import Registry
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.table import Entry
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec


class Family:
    """A codec between a config.json and our fields, and a table between the tensors."""

    name: ClassVar[str]  # the `model_type`
    architecture: ClassVar[str]  # transformers' class
    dropped: ClassVar[tuple[str, ...]] = ("*.rotary_emb.inv_freq",)  # tensors that nothing reads
    prefix: ClassVar[str] = ""  # of tensors, which some files leave out
    begins: ClassVar[bool] = True  # its tokenizer's template counts, which may put a BOS first

    def settings(self, fields: Fields) -> dict[str, Any]:
        """The fields of `ModelConfig` that a config.json means, as flags nest.

        Raises:
          UserError: a field with a value that isn't served.
        """
        raise NotImplementedError

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        """The fields of a config.json that mean a model, as well as they can.

        What they can't express is found by reading them again, see `export`.

        Args:
          scaling: of RoPE, whatever `model.rope_scaling` says.
          positions: tokens of the longest sequences that it is for.
        """
        raise NotImplementedError

    def table(self, model: ModelSpec) -> list[Entry]:
        """The leaves of a model and the tensors that they are in."""
        raise NotImplementedError


FAMILIES: Registry[type[Family]] = Registry(
    "family of models", "lengthwise.model.huggingface.families"
)
