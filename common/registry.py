"""Registries: components by name, each added by one file, in the tree or outside of it.

    @SCHEMES.register("mine")
    @dataclass(frozen=True)
    class Mine(LayerScheme):
        strength: float = setting(1.0, "(0, inf)")  # of what

A file of the registry's folder is imported only when its component is asked for. Names and settings
are read from its source before that, so that neither `--help` nor a refused flag waits for jax.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.settings import Declared, declared_fields, field_comments
from lengthwise.common.synonyms import called_here
from lengthwise.common.trees import build

T = TypeVar("T")
_EVALUATED = {"__builtins__": {}, "tuple": tuple, "range": range, "setting": lambda *a, **k: (a, k)}
_ALL: list["Registry[Any]"] = []


class Registry(Generic[T]):
    """Components of one kind by name.

    Args:
      kind: in words, for errors, such as "position scheme".
      folder: dotted name of the package whose files register components of this tree.
    """

    def __init__(self, kind: str, folder: str):
        self.kind = kind
        self.folder = folder
        self._registered: dict[str, T] = {}
        self._sources: dict[str, tuple[str, dict[str, Declared] | None]] | None = None
        _ALL.append(self)

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that gives a class its `name`, or files another object under it.

        Raises ValueError where another component has the name.
        """

        def registered(component: T) -> T:
            taken = self._registered.get(name)
            if name in self._declared_here() and not self._is_ours(component):
                raise ValueError(f"{self.kind} {name!r} is one of Lengthwise's own; rename yours")
            if taken is not None and _origin(taken) != _origin(component):
                raise ValueError(f"{self.kind} {name!r} is registered twice; rename one of them")
            if isinstance(component, type):
                component.name = name  # type: ignore[attr-defined]
            self._registered[name] = component
            return component

        return registered

    def names(self) -> tuple[str, ...]:
        """All names: those of the folder, then those from outside."""
        return tuple(dict.fromkeys((*self._declared_here(), *self._registered)))

    def __contains__(self, name: str) -> bool:
        return name in self._declared_here() or name in self._registered

    def declared(self, name: str) -> dict[str, Declared]:
        """The settings of a component, its file unimported where that can be."""
        if name not in self._registered:
            _, declared = self._declared_here()[name]
            if declared is not None:
                return declared
        component = self[name]
        return declared_fields(component) if dataclasses.is_dataclass(component) else {}  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> T:
        """The component of a name that there is; its file is imported."""
        if name not in self._registered:
            importlib.import_module(self._declared_here()[name][0])
        return self._registered[name]

    def named(self, name: str, where: str) -> T:
        """The component that the field `where` names. Raises UserError where there is none."""
        if name not in self:
            here = called_here(name, self.names())
            raise UserError(
                f"{where}={name!r} is unknown{here}; choose one of {', '.join(self.names())}"
            )
        return self[name]

    def import_all(self) -> dict[str, T]:
        """Every component by name."""
        return {name: self[name] for name in self.names()}

    def extensions(self) -> tuple[str, ...]:
        """Names of the modules outside of this tree that have registered components."""
        origins = (_origin(c)[0] for c in self._registered.values() if not self._is_ours(c))
        return tuple(dict.fromkeys(origins))

    def settings(self, sections: Mapping[str, Mapping[str, Any]], where: str) -> "Components[T]":
        """The settings of components as a config has them; see `components`.

        Raises UserError: a section is none, or has a field that its component has not.
        """
        for name, of in sections.items():
            if not isinstance(of, Mapping):
                raise UserError(f"{where}.{name}={of!r} must be a dict of settings")
            if unknown := sorted(set(of) - set(self.declared(name))):
                raise UserError(
                    f"{where}.{name}.{unknown[0]} is no field; choose one of "
                    f"{', '.join(self.declared(name))}"
                )
        items = (
            (name, tuple((each, _hashable(value)) for each, value in sorted(dict(of).items())))
            for name, of in sorted(sections.items())
        )
        return Components(self, where, tuple(items))

    def _is_ours(self, component: T) -> bool:
        return _origin(component)[0].startswith(f"{self.folder}.")

    def _declared_here(self) -> dict[str, tuple[str, dict[str, Declared] | None]]:
        """Name -> (module, settings or None where only an import can tell), of the folder."""
        if self._sources is None:
            self._sources = {}
            spec = importlib.util.find_spec(self.folder)
            for folder in (spec and spec.submodule_search_locations) or ():
                for file in sorted(Path(folder).glob("*.py")):
                    module = (
                        self.folder if file.stem == "__init__" else f"{self.folder}.{file.stem}"
                    )
                    for name, declared in _registered_in(file.read_text()).items():
                        self._sources[name] = module, declared
        return self._sources


@dataclasses.dataclass(frozen=True)
class Components(Generic[T]):
    """The settings of the components of a registry, built into a component when it is asked for."""

    registry: Registry[T] = dataclasses.field(repr=False, compare=False)
    where: str  # the section that they stand in
    sections: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]

    def section(self, name: str) -> tuple[tuple[str, Any], ...]:
        """The settings of one component, by name; () where it has none."""
        return dict(self.sections).get(name, ())

    def make(self, name: str, field: str) -> Any:
        """An instance of the class that `field` names, with its settings, all checked.

        Raises UserError: there is no such component, or a setting that it can't have.
        """
        cls = self.registry.named(name, field)
        return build(cls, dict(self.section(name)), f"{self.where}.{name}")  # type: ignore[arg-type]


def extensions() -> list[str]:
    """Names of the modules outside of this tree that have registered components of any kind."""
    ours = (each for each in _ALL if each.folder.startswith("lengthwise."))
    return sorted({name for registry in ours for name in registry.extensions()})


def import_extensions(names: Iterable[str]) -> None:
    """Imports modules that `extensions` named, in another process maybe.

    Raises:
      UserError: one can't be imported.
    """
    for name in names:
        if name in extensions():
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # of any kind: the module is the user's
            raise UserError(
                f"the saved config has components of the module {name!r}, which can't be imported "
                f"({one_line(error)}); put the folder of its file on PYTHONPATH"
            ) from error


def _hashable(value: Any) -> Any:
    """A list, as JSON has it, as the tuple that it was."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _origin(component: object) -> tuple[str, str]:
    """Where a component is defined: module, or file where that is a script, and name."""
    component = inspect.unwrap(component)  # type: ignore[arg-type]
    module = getattr(component, "__module__", type(component).__module__)
    name = getattr(component, "__qualname__", repr(component))
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)  # of python -m
        module = spec.name if spec else getattr(main, "__file__", None) or module
    return module, name


def _registered_in(source: str) -> dict[str, dict[str, Declared] | None]:
    """Name -> settings of each class or function that a source text registers by a decorator."""
    if ".register(" not in source:
        return {}
    components: dict[str, dict[str, Declared] | None] = {}
    for node in ast.parse(source).body:
        for decorator in getattr(node, "decorator_list", ()):
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr == "register"
                and decorator.args
                and isinstance(decorator.args[0], ast.Constant)
            ):
                name = str(decorator.args[0].value)
                is_class = isinstance(node, ast.ClassDef)
                components[name] = _declared_in(source, node) if is_class else {}  # type: ignore[arg-type]
    return components


def _declared_in(source: str, definition: ast.ClassDef) -> dict[str, Declared] | None:
    """The settings of a class definition; None where a default needs more than literals."""
    notes = field_comments(source, definition)
    declared = {}
    for node in definition.body:
        is_setting = (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.unparse(node.annotation)
        )
        if not is_setting:
            continue
        assert isinstance(node, ast.AnnAssign)
        assert isinstance(node.target, ast.Name)
        if node.value is None:
            return None
        try:
            value = eval(compile(ast.Expression(node.value), "", "eval"), dict(_EVALUATED))
        except NameError:  # a constant of the module
            return None
        called = (
            isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "setting"
        )
        given, named = value if called else ((value,), {})
        default, within, choices = (*given, *("", ())[len(given) - 1 :])[:3]
        declared[node.target.id] = Declared(
            named.get("default", default),
            notes[node.target.id],
            named.get("within", within),
            tuple(named.get("choices", choices)),
        )
    return declared
