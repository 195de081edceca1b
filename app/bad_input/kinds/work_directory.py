"""A work directory of which one file was cut, changed, emptied or removed."""

import shutil
from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case, SilentLossError
from lengthwise.app.bad_input.damage import damaged
from lengthwise.app.bad_input.work_directory import READERS, intact, template


@KINDS.register("work directories")
def work_directory(seed: int, folder: Path) -> Case:
    """One damaged file, read as a run reads it when it goes on or is scored."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(READERS)))
    expected = intact(name)
    workdir = folder / "run"
    shutil.copytree(template(), workdir)
    path = workdir / name
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        path = files[int(rng.integers(len(files)))]
    what = damage(rng, path)

    def run() -> None:
        result = READERS[name](workdir)
        if result != expected:
            raise SilentLossError(f"{path.relative_to(workdir)} was read as something else")

    return Case(f"{path.relative_to(workdir)} {what}", run)


def damage(rng: np.random.Generator, path: Path) -> str:
    """Damages a file; returns in words what was done to it."""
    odds = rng.random()
    if odds < 0.1:
        path.unlink()
        return "removed"
    if odds < 0.15:
        path.unlink()
        path.mkdir()
        return "replaced by a folder"
    what, content = damaged(rng, path.read_bytes())
    path.write_bytes(content)
    return what
