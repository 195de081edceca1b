"""Flags with values that their fields can't have, and with names that are none here."""

from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.values import flag_text, some_fields
from lengthwise.app.command import cli
from lengthwise.common.synonyms import FIELDS
from lengthwise.configs.resolve import load

_SYNONYMS = sorted({name for names in FIELDS.values() for name in names.split()})


@KINDS.register("flags")
def config_flag(seed: int, folder: Path) -> Case:
    """One to three flags of random fields, now and then by another name."""
    rng = np.random.default_rng(seed)
    arguments = [_flag(rng, name) for name in some_fields(rng)]

    def run() -> None:
        command = cli.parse(["main.py", "--config=base", *arguments])
        assert command.config is not None
        load(command.config, None, command.fields)

    return Case(" ".join(argument[:200] for argument in arguments), run)


def _flag(rng: np.random.Generator, field: str) -> str:
    """--config.FIELD=VALUE, or something like it."""
    value = flag_text(rng, field)
    if rng.random() < 0.8:
        return f"--config.{field}={value}"
    last = field.rpartition(".")[2]
    forms = (
        *(f"--{field}={value}", f"-{field}={value}", f"--config.{last}={value}", f"--{last}"),
        *(f"--config.{field}", f"--noconfig.{field}", f"--config.{field}x={value}", "--config."),
        *(f"--config.{field}.x={value}", f"--config.{field.upper()}={value}", f"{field}={value}"),
        *(f"--config.{rng.choice(_SYNONYMS)}={value}", f"--{rng.choice(_SYNONYMS)}={value}"),
        *(
            "--config",
            "--config=",
            "--mode=",
            "--num_processes=x",
            "--",
            "=",
            "--flagfile=/nowhere",
        ),
    )
    return str(rng.choice(np.array(forms, object)))
