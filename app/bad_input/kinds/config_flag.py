"""A flag of any field with a value that it can't have, on the command line."""

from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.values import flag_text, some_fields
from lengthwise.app.config_file import override
from lengthwise.configs import base
from lengthwise.configs.resolve import load


@KINDS.register("flags")
def config_flag(seed: int, folder: Path) -> Case:
    """One to three flags of random fields."""
    rng = np.random.default_rng(seed)
    arguments = [f"--config.{name}={flag_text(rng, name)}" for name in some_fields(rng)]

    def run() -> None:
        load(override(base.get_config(), arguments), None)

    return Case(" ".join(argument[:200] for argument in arguments), run)
