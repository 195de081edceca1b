"""Work directory: locked by one process at a time, of one config for its life."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.common.trees import flatten
from lengthwise.train.config import CONFIG_VERSION
from lengthwise.train.machine.processes import check_shared, is_first_process

# What a resumed run may change, beside the steps of its last phase; all else must stay as it was
# at the first start.
# The scores' own settings are free only where nothing is compared with scores from before.
LATER_STEPS = ("stopping.", "anomaly.", "optimizer.schedule_steps")  # what decides those to come
FREE_ON_RESUME = (
    *("train.", "profile.", "generate.", *LATER_STEPS),
    *("data.workers", "data.verify", "data.store", "eval.compare"),
    "extensions",  # modules may move; what they register is compared by its settings
)
FREE_IN_SCORING = (*FREE_ON_RESUME, "eval.")


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Locks the work directory; the lock ends with the process, however that ends.

    Of the processes of one run the first one holds it, for all.

    Raises:
      UserError: another run holds it, it can't be written, or not all processes see it.
    """
    if not is_first_process():
        check_shared(workdir)
        yield
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as error:
        raise UserError(f"--workdir={workdir} can't be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip()
            raise UserError(
                f"--workdir={workdir} is in use by process {owner}; wait for it or choose another"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        check_shared(workdir)
        yield


def contradictions(
    saved: Mapping[str, Any], config: Mapping[str, Any], free: tuple[str, ...]
) -> list[str]:
    """Fields that differ between two resolved configs but may not, as "name: saved -> asked".

    free: prefixes of names that may differ, as the last phase's steps may.
    """
    before, now = flatten(saved), flatten(config)
    free = (*free, f"phases.{len(saved['phases']) - 1}.steps")
    return [
        f"{name}: {before.get(name)!r} -> {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.startswith(free)
    ]


def training_fingerprint(config: Mapping[str, Any]) -> str:
    """Fingerprint of a resolved config that is equal for configs which differ in their seed alone.

    A field of `seeds` that is set is a setting like others.
    """
    free = tuple(name for name in FREE_IN_SCORING if name not in LATER_STEPS)
    decides = {
        name: value
        for name, value in flatten(json.loads(json.dumps(config))).items()
        if name == "train.init_from" or not (name == "seed" or name.startswith(free))
        if not (name.startswith("seeds.") and value is None)
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def read_config(workdir: Path) -> dict[str, Any] | None:
    """The resolved config of a work directory; None where there is none yet.

    Raises:
      UserError: the file is broken, or of another version.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
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
) -> None:
    """Checks `config` against the directory's own, where it has one.

    Raises:
      UserError: the directory belongs to another config; names the fields.
    """
    saved = read_config(workdir)
    if saved is None:
        return
    # Through JSON, so that tuples and lists compare alike.
    differing = contradictions(saved, json.loads(json.dumps(config, allow_nan=False)), free)
    if differing:
        raise UserError(
            f"--workdir={workdir} belongs to another config: {'; '.join(differing)} "
            "(saved -> asked); use the saved values or another --workdir"
        )


def claim_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Checks `config` against the directory's own and records it. For the first process.

    Raises:
      UserError: see `check_config` and `atomic_write`.
    """
    check_config(workdir, config)
    write_json(workdir / "config.json", config)
