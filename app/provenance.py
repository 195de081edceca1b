"""What made a run: the code's version, the command, the day."""

from __future__ import annotations

import datetime
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def provenance() -> dict[str, str]:
    """Title of a fact -> its text. Without a git checkout the code's version is the package's."""
    return {
        "Date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "Code": _code(),
        "Command": shlex.join(["python", *_program(), *sys.argv[1:]]),
    }


def _program() -> list[str]:
    """main.py, or a module by its name, as it was started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return [sys.argv[0]]
    return ["-m", spec.name.removesuffix(".__main__")]


def _code() -> str:
    if (_ROOT / ".git").exists():
        git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
        try:
            done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return "a git checkout, but no git to ask"
        if not done.returncode:
            return done.stdout.strip()
    try:
        return f"lengthwise {version('lengthwise')}"
    except PackageNotFoundError:
        return "no git checkout, not installed"
