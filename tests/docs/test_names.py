"""What the documents, notebooks, scripts and docstrings name is there: files, links, modules."""

import ast
import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from lengthwise.app.command.config_file import field_names
from lengthwise.configs import base

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "configs", "data", "model", "train", "eval", "app", "experiments", "benchmarks")
FOLDERS = (*ROOMS, "docs", "launch", "lengthwise", "notebooks", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SCRIPTS = [ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "pyproject.toml"]
SCRIPTS += sorted([*ROOT.glob("launch/*"), *ROOT.glob("requirements*.txt")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
SOURCES = [ROOT / "main.py"]
SOURCES += sorted(path for folder in (*ROOMS, "tests") for path in (ROOT / folder).rglob("*.py"))

PATH = re.compile(
    rf"(?<![\w/.$}}-])(?:{'|'.join(FOLDERS)})/[\w./*-]*(?:\.(?:py|md|sh|ipynb|j2)|/)(?!\w)"
)
MODULE = re.compile(r"python3? -m ((?:lengthwise|tests)[\w.]*)")
DOTTED = re.compile(rf"`((?:lengthwise\.)?(?:{'|'.join(ROOMS)})(?:\.\w+)+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
# Folders of a work directory, beside rooms of the same name.
OF_RUNS = {"eval/", "data/"}


def text_of(path):
    """The prose of a file: of a notebook its cells, of Python its docstrings and comments."""
    text = path.read_text("utf-8")
    if path.name == "CHANGELOG.md":  # the first column of its tables has what is gone
        return re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    if path.suffix == ".py":
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
        comments = re.findall(r"(?:^|\s)#\s.*", text)
        return "\n".join([*(ast.get_docstring(node) or "" for node in nodes), *comments])
    return text


def missing_paths(text):
    for found in PATH.findall(text):
        name = found.removesuffix(".")
        if name not in OF_RUNS and not any(ROOT.glob(name)) and not re.search("[A-Z]{2}", name):
            yield name


def file_of(module):
    """The file of a module or package; None: there is none."""
    path = ROOT / module.removeprefix("lengthwise.").replace(".", "/")
    if module == "lengthwise":
        path = ROOT / "lengthwise"
    files = (path.with_suffix(".py"), path / "__main__.py", path / "__init__.py")
    return next((file for file in files if file.exists()), None)


def missing_modules(text):
    for found in MODULE.findall(text):
        name = found.rstrip(".")
        if file_of(name) is None and not re.search("[A-Z]{2}", name):
            yield f"python -m {name}"


@cache
def fields():
    return set(field_names(base.get_config()))


def missing_names(text):
    """`train.mesh.device_order`: a module with such a name in it, or a field of the config."""
    for name in DOTTED.findall(text):
        parts = name.removeprefix("lengthwise.").split(".")
        module, attribute = ".".join(parts[:-1]), parts[-1]
        file = file_of(module)
        defined = file and re.search(
            rf"^(?:def|class) {attribute}\b|^{attribute}\b.*=|import .*\b{attribute}\b",
            file.read_text("utf-8"),
            re.MULTILINE,
        )
        if not defined and file_of(".".join(parts)) is None and name not in fields():
            yield name


@pytest.mark.parametrize(
    "path", [*PAGES, *SCRIPTS, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_and_modules_of_a_document_exist(path):
    text = text_of(path)
    assert [*missing_paths(text), *missing_modules(text), *missing_names(text)] == []


def test_files_and_modules_of_docstrings_exist():
    wrong = []
    for path in SOURCES:
        text = "" if path == Path(__file__) else text_of(path)
        missing = [*missing_paths(text), *missing_modules(text), *missing_names(text)]
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in missing]
    assert not wrong, "\n".join(wrong)


def test_no_class_name_stands_twice():
    files = defaultdict(list)
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] in ROOMS:
            for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE):
                files[name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in files.items() if len(where) > 1} == {}


def anchors(path):
    """Of the headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    wrong = []
    for target, anchor in LINK.findall(path.read_text("utf-8")):
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


PLANTED = {
    missing_paths: (
        "`data/nowhere.py`, data/config.py, data/*/config.py, `configs/dd.py:1b`, `tests/tinier/`",
        ["data/nowhere.py", "tests/tinier/"],
    ),
    missing_modules: (
        "python -m lengthwise.beam, python -m lengthwise.app.beam, python -m lengthwise.data.NAME",
        ["python -m lengthwise.beam"],
    ),
    missing_names: (
        "`train.mesh.device_order`, `train.mesh.nothing`, `data.workers`, `eval.losses.targets`",
        ["train.mesh.nothing"],
    ),
}


@pytest.mark.parametrize("room", [each for each in ROOMS if each not in ("common", "benchmarks")])
def test_each_room_leads_to_its_decisions_in_one_hop(room):
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text("utf-8")))
    assert f"docs/design.md#{room}" in docstring
    assert room in anchors(ROOT / "docs" / "design.md")


@pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)
def test_what_is_missing_is_named(check):
    text, missing = PLANTED[check]
    assert list(check(text)) == missing
