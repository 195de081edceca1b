"""A config file that sets fields to Python values that they can't have."""

from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.values import literal, some_fields
from lengthwise.app.command.config_file import override, read_config_file
from lengthwise.configs.resolve import load

_HEAD = """from lengthwise.configs import base

def get_config():
    config = base.get_config()
"""
_NO_SETTING = ["config.model.layers =", "return 3", "raise KeyError", "1/0", "exit()", "return"]


@KINDS.register("config files")
def config_file(seed: int, folder: Path) -> Case:
    """One to three fields, now and then a line that is no Python at all."""
    rng = np.random.default_rng(seed)
    names = some_fields(rng)
    lines = [f"config.{name} = {literal(rng)}" for name in names]
    if rng.random() < 0.1:
        lines.append(str(rng.choice(_NO_SETTING)))
    path = folder / "config.py"
    path.write_text(_HEAD + "".join(f"    {line}\n" for line in lines) + "    return config\n")

    def run() -> None:
        load(override(read_config_file(str(path)), []), None)

    return Case("; ".join(line[:200] for line in lines), run)
