"""Trees of flags: nested dicts that become settings objects, and back.

A tree nests as the flags do. Its templates are resolved first, then objects are built from it, each
value checked; `as_tree` gives back what `build` takes.
"""

import copy
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.common.settings import default_of, hints, item_class
from lengthwise.common.synonyms import called_here

T = TypeVar("T")


def resolve_overlays(cls: type, tree: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a tree in which all items of `overlays` are whole and stand for their templates.

    Raises:
      UserError: an item is no dict, or names a field that its template has not.
    """
    return _resolved(cls, tree, tree, "")


def _resolved(
    cls: type, section: Mapping[str, Any], root: Mapping[str, Any], where: str
) -> dict[str, Any]:
    resolved = {name: copy.deepcopy(value) for name, value in section.items()}
    for field in dataclasses.fields(cls):
        metadata, name = field.metadata, f"{where}{field.name}"
        if "template" in metadata:
            at = metadata["template"]
            template = section if at == "." else _section(root, at)
            item = item_class(cls, field.name)
            base = {each.name: template[each.name] for each in dataclasses.fields(item)}
            base |= {each: _named_default(item, each) for each in metadata["reset"]}
            changes: Sequence[Any] = section[field.name] or (({},) if metadata["declares"] else ())
            items = [overlay(base, each, f"{name}[{i}]") for i, each in enumerate(changes)]
            for i, change in enumerate(changes):
                if metadata["naming"] and metadata["naming"] not in change:
                    raise UserError(f"{name}[{i}]={change!r} must name its {metadata['naming']}")
            resolved[field.name] = items
            if metadata["declares"]:
                resolved.pop(at, None)
        elif "registry" not in metadata and dataclasses.is_dataclass(default_of(cls, field)):
            nested = type(default_of(cls, field))
            resolved[field.name] = _resolved(nested, section[field.name], root, f"{name}.")
    return resolved


def _section(root: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    return functools.reduce(lambda section, name: section[name], at.split("."), root)


def _named_default(cls: type, name: str) -> Any:
    return next(default_of(cls, each) for each in dataclasses.fields(cls) if each.name == name)


def overlay(base: Mapping[str, Any], change: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`base` with the fields of `change` put over it.

    Raises:
      UserError: `change` is no dict, or names a field that `base` has not.
    """
    if not isinstance(change, Mapping):
        raise UserError(f"{where}={change!r} must be a dict of the fields that it overrides")
    merged = copy.deepcopy(dict(base))
    for name, value in change.items():
        if name not in merged:
            raise UserError(
                f"{where}.{name} is no field; choose one of {', '.join(sorted(merged))}"
            )
        if isinstance(merged[name], dict):
            merged[name] = overlay(merged[name], value, f"{where}.{name}")
        else:
            merged[name] = value
    return merged


def as_tree(settings: Any) -> dict[str, Any]:
    """The tree of a settings object, as flags nest, without templates: what `build` takes."""
    tree: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if "registry" in field.metadata:
            tree |= {name: dict(section) for name, section in value.sections}
        else:
            tree[field.name] = _plain(value)
    return tree


def values_of(settings: Any, component: str) -> tuple[Any, ...]:
    """The values of a section, and those of its `component` where that has settings.

    For keys and fingerprints: what other components have decides nothing.
    """
    values: list[Any] = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if "registry" not in field.metadata:
            values.append(value)
        elif section := value.section(component):
            values.append(section)
    return tuple(values)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return as_tree(value)
    if isinstance(value, tuple):
        items = [_plain(each) for each in value]
        return items if items and isinstance(items[0], dict) else tuple(items)
    return value


def build(cls: type[T], tree: Mapping[str, Any], where: str = "") -> T:
    """The settings object of a tree, nested ones too; every value is checked.

    where: the section's dotted name, for errors.

    Raises:
      UserError: a value of another type than its field's, or outside of its range or choices; a
        field that there is none of.
    """
    values, rest, types = {}, dict(tree), hints(cls)  # type: ignore[arg-type]
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = f"{where}.{field.name}" if where else field.name
        if "registry" in field.metadata:
            registry = field.metadata["registry"]
            sections = {n: rest.pop(n) for n in list(rest) if n in registry.names()}
            values[field.name] = registry.settings(sections, where)
            continue
        if field.name not in rest:
            values[field.name] = default_of(cls, field)
            continue
        value = rest.pop(field.name)
        if "template" in field.metadata:
            item = item_class(cls, field.name)
            value = tuple(build(item, each, f"{name}[{i}]") for i, each in enumerate(value))
        else:
            value = _typed(types[field.name], value, name)
            check_value(value, name, field.metadata)
        values[field.name] = value
    if rest:
        known = ", ".join(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        name = next(iter(rest))
        raise UserError(f"{where}.{name} is no field; choose one of {known}".lstrip("."))
    return cls(**values)


def _typed(wanted: Any, value: Any, where: str) -> Any:
    """`value` as the annotation `wanted` of a field says: a dataclass, a tuple or a scalar."""
    if dataclasses.is_dataclass(wanted) and isinstance(value, Mapping):
        return build(wanted, value, where)  # type: ignore[arg-type]
    if get_origin(wanted) is tuple and isinstance(value, list | tuple):
        item = get_args(wanted)[0]
        if dataclasses.is_dataclass(item):
            for i, each in enumerate(value):
                _check_complete(item, each, f"{where}[{i}]")
        return tuple(_typed(item, each, f"{where}[{i}]") for i, each in enumerate(value))
    if isinstance(wanted, UnionType):  # int | None
        if value is None and NoneType in get_args(wanted):
            return None
        wanted = next(each for each in get_args(wanted) if each is not NoneType)
    if type(value) is int and abs(value) >= 1 << 64:  # no float, no array and no seed holds it
        raise UserError(
            f"{where} is a number of {value.bit_length()} bits, more than the 64 it may"
        )
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        name = "dict" if dataclasses.is_dataclass(wanted) else getattr(wanted, "__name__", wanted)
        raise UserError(
            f"{where}={value!r} has the type {type(value).__name__}, but must be of type {name}"
        )
    return value


def _check_complete(cls: Any, item: Any, where: str) -> None:
    """Raises UserError when `item`, a dict that a user wrote out, lacks fields or has others."""
    fields = dataclasses.fields(cls)
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    names = [field.name for field in fields]
    if isinstance(item, Mapping) and not required <= set(item) <= set(names):
        raise UserError(f"{where}={dict(item)!r} must have the fields {', '.join(names)}")


def check_value(value: Any, where: str, metadata: Mapping[str, Any]) -> None:
    """Raises UserError for a number that is not finite or outside of the field's interval, a string
    that is none of its choices, and an address in place of a path."""
    is_many = isinstance(value, tuple)
    interval = metadata.get("within") or "(-inf, inf)"
    choices = metadata.get("choices", ())
    for each in value if is_many else (value,):
        is_number = isinstance(each, int | float) and not isinstance(each, bool)
        if is_number and not (math.isfinite(each) and contains(interval, each)):
            name = f"one of {where}" if is_many else where
            raise UserError(f"{name} is {each}, but must lie in {interval}")
        if choices and isinstance(each, str) and each not in choices:
            name = f"{where} holds {each!r}, which" if is_many else f"{where}={each!r}"
            here = called_here(each, choices)
            raise UserError(f"{name} is unknown{here}; choose one of {', '.join(choices)}")
        if metadata.get("path"):
            user_path(each, where)


def check_fields(settings: Any, where: str) -> None:
    """Checks every value of a settings object that was made in Python. Raises UserError."""
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{where}.{field.name}"
        if dataclasses.is_dataclass(value) and "registry" not in field.metadata:
            check_fields(value, name)
        elif "template" in field.metadata:
            for i, item in enumerate(value):
                check_fields(item, f"{name}[{i}]")
        elif "registry" not in field.metadata:
            check_value(value, name, field.metadata)


def contains(interval: str, value: float) -> bool:
    """Whether `value` lies in an interval in the usual notation, such as "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    return above and (value <= high if interval[-1] == "]" else value < high)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens a config to {dotted name: value}; items of a list of sections go by number."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
