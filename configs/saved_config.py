"""The config of a work directory: read, compared with what is asked for, and recorded.

Nothing here imports jax, so that a wrong flag is refused at once.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.configs.version import deciding
from lengthwise.model.config import EXECUTION
from lengthwise.train.config import CONFIG_VERSION

# What a resumed run may change, beside the steps of its last phase; all else must stay as it was
# at the first start.
# The scores' own settings are free only where nothing is compared with scores from before.
LATER_STEPS = ("stopping.", "anomaly.", "optimizer.schedule_steps")  # what decides those to come
# How the same steps are computed, beside the microbatches of phases. The precision is none of it.
_EXECUTION = ("mesh.", *(f"model.{name}" for name in EXECUTION if name != "compute_dtype"))
FREE_ON_RESUME = (
    *("train.", "profile.", "tracking.", "generate.", "export.", *LATER_STEPS, *_EXECUTION),
    *("data.workers", "data.verify", "data.store", "eval.compare"),
    "extensions",  # modules may move; what they register is compared by its settings
)
FREE_IN_SCORING = (*FREE_ON_RESUME, "eval.")
_MICROBATCHES = re.compile(r"phases\.\d+\.microbatches")


def changes(
    saved: Mapping[str, Any], config: Mapping[str, Any], free: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Fields that differ between two resolved configs, as "name: saved -> asked".

    free: prefixes of names that may differ, as microbatches and the last phase's steps may.

    Returns: (those that may, those that may not).
    """
    before, now = deciding(saved), deciding(config)
    free = (*free, f"phases.{len(saved['phases']) - 1}.steps")
    allowed: list[str] = []
    refused: list[str] = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            is_free = name.startswith(free) or _MICROBATCHES.fullmatch(name)
            line = f"{name}: {before.get(name)!r} -> {now.get(name)!r}"
            (allowed if is_free else refused).append(line)
    return allowed, refused


def training_fingerprint(config: Mapping[str, Any]) -> str:
    """Fingerprint of a resolved config that is equal for configs which differ in their seed alone.

    A field of `seeds` that is set is a setting like others.
    """
    free = tuple(name for name in FREE_IN_SCORING if name not in LATER_STEPS)
    decides = {
        name: value
        for name, value in deciding(config).items()
        if name == "train.init_from" or not (name == "seed" or name.startswith(free))
        if not _MICROBATCHES.fullmatch(name)
        if not (name.startswith("seeds.") and value is None)
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def read_config(workdir: Path) -> dict[str, Any] | None:
    """The resolved config of a work directory; None where there is none yet.

    Raises:
      UserError: see `read_config_json`.
    """
    path = workdir / "config.json"
    return read_config_json(path) if path.exists() else None


def read_config_json(path: Path) -> dict[str, Any]:
    """The resolved config of a file.

    Raises:
      UserError: the file is broken, or of another version.
    """
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON ({error}); restore it or choose another --workdir"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("phases"), list):
        raise UserError(f"{path} is no config of a run; restore it or choose another --workdir")
    if config.get("version") != CONFIG_VERSION:
        raise UserError(
            f"{path} has version {config.get('version', 1)}, and this Lengthwise reads version "
            f"{CONFIG_VERSION}; use the Lengthwise that wrote it, or another --workdir"
        )
    return config


def check_config(
    workdir: Path, config: Mapping[str, Any], free: tuple[str, ...] = FREE_ON_RESUME
) -> list[str]:
    """Checks `config` against the directory's own, where it has one.

    Returns: the fields that differ and may, as "name: saved -> asked".

    Raises:
      UserError: the directory belongs to another config; names the fields.
    """
    saved = read_config(workdir)
    if saved is None:
        return []
    allowed, refused = changes(saved, config, free)
    if refused:
        raise UserError(
            f"--workdir={workdir} belongs to another config: {'; '.join(refused)} "
            "(saved -> asked); use the saved values, which --workdir without --config takes, or "
            "another --workdir"
        )
    return allowed


def claim_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Checks `config` against the directory's own and records it. For the first process.

    Raises:
      UserError: see `check_config` and `atomic_write`.
    """
    check_config(workdir, config)
    write_json(workdir / "config.json", config)
