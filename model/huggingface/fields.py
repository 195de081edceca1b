"""The fields of a config.json, each checked when it is read."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError

# transformers' names of activations -> ours.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
}
_REQUIRED: Any = object()


class Fields:
    """Typed access to a config.json. A field that is absent has the default that is asked for, and
    so has one that is null, but where `null` says otherwise."""

    def __init__(self, content: Mapping[str, Any], path: Path):
        self.content, self.path = content, path

    def refuse(self, name: str, why: str) -> UserError:
        """An error that names a field and its value."""
        return UserError(f"{self.path}: {name}={self.content.get(name)!r} {why}")

    def _value(self, name: str, default: Any, null: Any, kinds: tuple[type, ...]) -> Any:
        value = self.content.get(name, default)
        if value is None and name in self.content:
            value = default if null is _REQUIRED else null
        if value is _REQUIRED:
            raise UserError(f"{self.path} has no {name}; take the config.json of the model")
        # bool is an int: only where flags are meant may it stand for one.
        if value is not None and (type(value) not in kinds):
            raise self.refuse(name, f"must be of type {kinds[0].__name__}")
        return value

    def whole(self, name: str, default: Any = _REQUIRED, null: Any = _REQUIRED) -> Any:
        """A positive whole number; or the default."""
        value = self._value(name, default, null, (int,))
        if value is not None and value < 1:
            raise self.refuse(name, "must be positive")
        return value

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """A finite number, as a float; or the default."""
        value = self._value(name, default, _REQUIRED, (float, int))
        if value is not None and not math.isfinite(value):
            raise self.refuse(name, "is no finite number")
        return value if value is None else float(value)

    def positive(self, name: str, default: Any = _REQUIRED) -> Any:
        """A number above 0."""
        value = self.number(name, default)
        if value <= 0:
            raise self.refuse(name, "must be positive")
        return value

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        value: bool = self._value(name, default, _REQUIRED, (bool,))
        return value

    def activation(self, name: str, default: str) -> str:
        """Our name of an activation."""
        value = self._value(name, default, _REQUIRED, (str,))
        if value not in ACTIVATIONS:
            raise self.refuse(name, f"is no activation here; known: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[value]

    def section(self, name: str) -> "Fields | None":
        """The fields of a nested dict; None where there is none, or it is empty."""
        value = self.content.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.refuse(name, "must be a dict")
        return Fields(value, self.path) if value else None

    def items(self, name: str, count: int) -> Sequence[Any] | None:
        """A list of `count` items; None where there is none."""
        value = self.content.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) < count:
            raise self.refuse(name, f"must be a list of {count} items, one a layer")
        return value[:count]

    def only(self, name: str, allowed: Any, default: Any) -> None:
        """Checks that a field has the one value that is served."""
        if (value := self.content.get(name, default)) != allowed:
            raise UserError(
                f"{self.path}: {name}={value!r} isn't served, only {allowed!r} is; there is no "
                "such decoder here"
            )
