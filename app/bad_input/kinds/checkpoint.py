"""Checkpoints of which one file was cut, changed, emptied or removed."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case, SilentLossError
from lengthwise.app.bad_input.kinds.work_directory import damage
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.restore import restore_newest
from lengthwise.train.mesh import abstract_like
from lengthwise.train.step.update import TrainState

_STEPS = (4, 8)
_MEANING: dict[str, Any] = {"tokens": {}, "model": {}}
_HOST = {"fingerprint": "of the data", "meaning": _MEANING}


def _state(step: int) -> TrainState:
    weights = np.random.default_rng(step).normal(size=(16, 3)).astype(np.float32)
    return TrainState({"w": jnp.asarray(weights)}, (jnp.int32(step),))


@functools.cache
def _template() -> Path:
    """The folder of two checkpoints; made once."""
    directory = Path(tempfile.mkdtemp()) / "checkpoints"
    atexit.register(shutil.rmtree, directory.parent, ignore_errors=True)
    checkpoints = Checkpoints(directory)
    for step in _STEPS:
        checkpoints.save(step, _state(step), _HOST, score=float(step))
        checkpoints.wait()
    checkpoints.close()
    return directory


@KINDS.register("checkpoints")
def checkpoint(seed: int, folder: Path) -> Case:
    """One damaged file of two checkpoints, which are restored as when a run goes on."""
    rng = np.random.default_rng(seed)
    directory = folder / "checkpoints"
    shutil.copytree(_template(), directory)
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    path = files[int(rng.integers(len(files)))]
    what = damage(rng, path)
    return Case(f"{path.relative_to(directory)} {what}", lambda: _restore(directory))


def _restore(directory: Path) -> None:
    """Restores the newest whole one. Raises SilentLossError where it is not what was saved."""
    checkpoints = Checkpoints(directory)
    abstract = _state(0)
    setup = SimpleNamespace(
        meaning=lambda step: _MEANING,
        fingerprint=lambda: _HOST["fingerprint"],
        phases=SimpleNamespace(total_steps=max(_STEPS), end_at=lambda ends: None),
        blueprint=SimpleNamespace(
            abstract_state=abstract_like(abstract, jax.tree.map(lambda x: x.sharding, abstract))
        ),
    )
    run: Any = SimpleNamespace(setup=setup, checkpoints=checkpoints)
    restored = restore_newest(run, max(_STEPS))
    checkpoints.close()
    if restored is None:
        raise SilentLossError("none was found, and the run would begin anew")
    state, host = restored
    saved = _state(int(state.opt_state[0]))
    if int(state.opt_state[0]) not in _STEPS or host["fingerprint"] != _HOST["fingerprint"]:
        raise SilentLossError(f"step {int(state.opt_state[0])} was restored")
    if not np.array_equal(state.params["w"], saved.params["w"]):
        raise SilentLossError("other weights were restored")
