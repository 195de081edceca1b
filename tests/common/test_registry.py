"""Registries and settings: what is declared is what flags, checks and help have."""

import dataclasses
import sys
import textwrap

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.common.settings import (
    components,
    declarations,
    default_tree,
    overlays,
    section,
    setting,
)
from lengthwise.common.trees import as_tree, build, resolve_overlays, values_of

ONE = """
    raise_at_import = IMPORTED.append("one")

    @KINDS.register("one")
    @dataclass(frozen=True)
    class One:
        # tokens that the window
        # holds
        window: int = setting(1 << 4, "[1, 64]")
        kind: str = setting("near", choices=("near", "far"))  # near | far
        spans: tuple[int, ...] = tuple(range(3))  # places
"""


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """A registry whose folder has one file, and the list of files that were imported."""
    folder = tmp_path / "kinds_of_a_test"
    folder.mkdir()
    head = "from dataclasses import dataclass\nfrom lengthwise.common.settings import setting\n"
    head += "from kinds_of_a_test import IMPORTED, KINDS\n"
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text(head + textwrap.dedent(ONE))
    monkeypatch.syspath_prepend(tmp_path)
    import kinds_of_a_test

    kinds_of_a_test.KINDS = Registry("kind", "kinds_of_a_test")
    kinds_of_a_test.IMPORTED = []
    yield kinds_of_a_test.KINDS, kinds_of_a_test.IMPORTED
    for name in [name for name in sys.modules if name.startswith("kinds_of_a_test")]:
        del sys.modules[name]


def test_settings_are_read_without_an_import(kinds):
    registry, imported = kinds
    assert registry.names() == ("one",)
    declared = registry.declared("one")
    assert declared["window"].default == 16
    assert declared["window"].within == "[1, 64]"
    assert declared["window"].comment == "tokens that the window holds"
    assert declared["kind"].choices == ("near", "far")
    assert declared["spans"].default == (0, 1, 2)
    assert imported == []
    # What is read from the source is what the class has.
    assert {n: d.default for n, d in declared.items()} == dataclasses.asdict(registry["one"]())
    assert imported == ["one"]


def test_a_component_is_made_of_its_section(kinds):
    registry, _ = kinds

    @dataclasses.dataclass(frozen=True)
    class Section:
        name: str = "one"  # which
        kinds: object = components(registry, "section")

    assert default_tree(Section)["one"] == {"window": 16, "kind": "near", "spans": (0, 1, 2)}
    built = build(Section, {"one": {"window": 3}}, "section")
    assert built.kinds.make("one", "section.name").window == 3
    assert build(Section, as_tree(built), "section") == built
    assert hash(built) != hash(build(Section, {"one": {"window": 4}}, "section"))
    assert values_of(built, "one") == ("one", (("window", 3),))
    assert values_of(built, "another") == ("one",)
    wrong = build(Section, {"one": {"window": 65}}, "section")
    with pytest.raises(UserError, match=r"section.one.window is 65, but must lie in \[1, 64\]"):
        wrong.kinds.make("one", "section.name")
    with pytest.raises(UserError, match=r"section.name='two' is unknown; choose one of one"):
        built.kinds.make("two", "section.name")
    with pytest.raises(UserError, match=r"section.two is no field; choose one of name"):
        build(Section, {"two": {}}, "section")
    with pytest.raises(UserError, match=r"section.one.windo is no field; choose one of window"):
        build(Section, {"one": {"windo": 3}}, "section")
    with pytest.raises(UserError, match=r"section.one=3 must be a dict of settings"):
        build(Section, {"one": 3}, "section")


def test_a_component_from_outside(kinds):
    registry, _ = kinds

    @registry.register("mine")
    @dataclasses.dataclass(frozen=True)
    class Mine:
        strength: float = setting(1.0, "(0, inf)")  # of nothing

    assert registry.names() == ("one", "mine")
    assert registry.declared("mine")["strength"].comment == "of nothing"
    assert registry.extensions() == (__name__,)
    with pytest.raises(ValueError, match="'one' is one of Lengthwise's own"):
        registry.register("one")(Mine)
    with pytest.raises(ValueError, match="'mine' is registered twice"):
        registry.register("mine")(dataclasses.dataclass(type("Other", (), {})))


def test_a_component_with_settings_is_no_field_beside_it(kinds):
    registry, _ = kinds

    @dataclasses.dataclass(frozen=True)
    class Section:
        one: int = 1  # of as many
        kinds: object = components(registry, "section")

    with pytest.raises(ValueError, match="kind 'one' is a field beside it"):
        default_tree(Section)


@dataclasses.dataclass(frozen=True)
class Item:
    size: int = setting(2, "[1, inf)")  # tokens
    name: str = ""  # of the item


@dataclasses.dataclass(frozen=True)
class Inner:
    seed: int | None = setting(None, "[0, 9]")  # None: open
    share: float = setting(0.5, "[0, 1)")  # of all


@dataclasses.dataclass(frozen=True)
class Outer:
    items: tuple[Item, ...] = overlays("item", declares=True)
    inner: Inner = section(Inner)


def test_items_stand_for_their_template():
    tree = default_tree(Outer)
    assert tree == {
        "item": {"size": 2, "name": ""}, "items": (), "inner": {"seed": None, "share": 0.5},
    }  # fmt: skip
    tree["item"]["size"] = 7
    assert build(Outer, resolve_overlays(Outer, tree)).items == (Item(7, ""),)
    tree["items"] = ({"name": "a"}, {"size": 1})
    outer = build(Outer, resolve_overlays(Outer, tree))
    assert outer.items == (Item(7, "a"), Item(1, ""))
    assert build(Outer, as_tree(outer)) == outer
    assert [name for name, _ in declarations(Outer)] == [
        "item.size", "item.name", "items", "inner.seed", "inner.share",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"inner": {"seed": 10}}, r"inner.seed is 10, but must lie in \[0, 9\]"),
        ({"inner": {"seed": 1.5}}, "inner.seed=1.5 has the type float, but must be of type int"),
        ({"inner": {"share": float("nan")}}, "inner.share is nan"),
        ({"inner": {"shares": 1}}, "inner.shares is no field; choose one of seed, share"),
        ({"items": [{"size": 0}]}, r"items\[0\].size is 0"),
        ({"other": 1}, "other is no field"),
    ],
)
def test_a_wrong_value_is_named(tree, message):
    with pytest.raises(UserError, match=message):
        build(Outer, tree)
    assert build(Outer, {"inner": {"seed": 3, "share": 0}}).inner == Inner(3, 0.0)
