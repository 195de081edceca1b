"""Fingerprint of the code that decides a training: data, model and train.

Comments, docstrings and layout of the text don't count. It is stored with a run for those who ask
whether two runs were made by one code; it refuses none, since most changes alter no result, and
those that do raise `CONFIG_VERSION`, which is among the settings of a run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("data", "model", "train")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def code_fingerprint() -> str:
    """16 hexadecimal digits."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        for file in sorted((_ROOT / room).rglob("*.py")):
            digest.update(f"{file.relative_to(_ROOT)}\n{meaning(file.read_text())}\n".encode())
    return digest.hexdigest()[:16]


def meaning(source: str) -> str:
    """The syntax tree of a source text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
