"""Settings: frozen dataclasses whose fields are declared once.

    layers: int = setting(6, "[1, inf)")  # decoder blocks

Default, range and choices stand in the field, its unit in the comment behind it or above it. The
tree of flags, their checks, `--help` and docs/config.md derive from these declarations.
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Declared:
    """One field of the tree, for people."""

    default: Any
    comment: str  # unit and meaning
    within: str  # interval of each number, such as "[0, 1)"; "": any finite one
    choices: tuple[str, ...]  # of each string; (): any


def setting(
    default: Any, within: str = "", choices: Sequence[str] = (), *, path: bool = False
) -> Any:
    """A field with a default and the values that it may take.

    within: an interval in the usual notation, such as "[0, 1)", for each number of the field.
    choices: for each string of the field.
    path: whether each string may be a path, which must be a local one.
    """
    return dataclasses.field(
        default=default, metadata={"within": within, "choices": tuple(choices), "path": path}
    )


def section(cls: type[T]) -> T:
    """A nested section with the defaults of its class."""
    nested: T = dataclasses.field(default_factory=cls)
    return nested


def overlays(
    template: str, *, declares: bool = False, naming: str = "", reset: Sequence[str] = ()
) -> Any:
    """A tuple of items of one class, each written as a dict that overrides fields of a template.

    template: dotted name of a section; "." stands for the section of the field itself.
    declares: the template is a section of flags beside the field, and stands for one item where
    there are none. naming: a field that each item must override. reset: fields that have their
    default in the items, whatever the template says.
    """
    metadata = {
        "template": template,
        "declares": declares,
        "naming": naming,
        "reset": tuple(reset),
    }
    return dataclasses.field(default=(), metadata=metadata)


def components(registry: Any, where: str) -> Any:
    """The settings of all components of a registry, a section each beside the other fields.

    where: dotted name of the section that they stand in, for errors.
    """
    empty = functools.partial(registry.settings, {}, where)
    return dataclasses.field(default_factory=empty, metadata={"registry": registry})


def default_tree(cls: type) -> dict[str, Any]:
    """Nested defaults of a settings class, {name: value or dict}, as flags nest."""
    tree: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if "registry" in field.metadata:
            registry = field.metadata["registry"]
            for name in registry.names():
                declared = registry.declared(name)
                if declared and name in {each.name for each in dataclasses.fields(cls)}:
                    raise ValueError(f"{registry.kind} {name!r} is a field beside it; rename yours")
                if declared:
                    tree[name] = {each: of.default for each, of in declared.items()}
            continue
        if field.metadata.get("declares"):
            tree[field.metadata["template"]] = default_tree(item_class(cls, field.name))
        default = default_of(cls, field)
        is_section = dataclasses.is_dataclass(default)
        tree[field.name] = default_tree(type(default)) if is_section else default
    return tree


def declarations(cls: type, prefix: str = "") -> Iterator[tuple[str, Declared]]:
    """(dotted name, declaration) of every field of the tree that is no section."""
    notes = comments(cls)
    for field in dataclasses.fields(cls):
        name, metadata = prefix + field.name, field.metadata
        if "registry" in metadata:
            for component in metadata["registry"].names():
                for of, declared in metadata["registry"].declared(component).items():
                    yield f"{prefix}{component}.{of}", declared
            continue
        if metadata.get("declares"):
            template = f"{prefix}{metadata['template']}."
            yield from declarations(item_class(cls, field.name), template)
        default = default_of(cls, field)
        if dataclasses.is_dataclass(default):
            yield from declarations(type(default), f"{name}.")
        else:
            within, choices = metadata.get("within", ""), metadata.get("choices", ())
            yield name, Declared(default, notes.get(field.name, ""), within, choices)


def declared_fields(cls: type) -> dict[str, Declared]:
    """The fields of one class that has no sections."""
    return dict(declarations(cls))


def default_of(cls: type, field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        raise TypeError(f"{cls.__name__}.{field.name} needs a default: it is a setting")
    return field.default


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def item_class(cls: type, name: str) -> Any:
    return get_args(hints(cls)[name])[0]


@functools.cache
def comments(cls: type) -> dict[str, str]:
    """The comment of each field: behind it, else the lines above it. Own fields and inherited."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            source = textwrap.dedent(inspect.getsource(base))
            notes |= field_comments(source, ast.parse(source).body[0])
    return notes


def field_comments(source: str, definition: ast.stmt) -> dict[str, str]:
    """The same of one class definition in a source text."""
    assert isinstance(definition, ast.ClassDef)
    lines = source.splitlines()
    notes = {}
    for node in definition.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        last = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        behind = [last.partition("#")[2].strip()]
        above: list[str] = []
        number = node.lineno - 2
        while lines[number].strip().startswith("#"):
            above.insert(0, lines[number].strip().lstrip("# "))
            number -= 1
        notes[node.target.id] = " ".join(filter(None, [*above, *behind]))
    return notes
