"""Orbax checkpoints: asynchronous, the last two and the best kept, resumed exactly.

Orbax restores flipped bits without a word. So a checksum of every array is saved with the rest, and
compared with that of the array that comes back.
"""

import errno
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from lengthwise.common.errors import UserError, one_line
from lengthwise.train.checkpoint.damage import (
    DamagedCheckpointError,
    move_aside,
    signed,
    without_score,
)
from lengthwise.train.checkpoint.retention import retention
from lengthwise.train.machine.processes import (
    all_agree,
    another_is_gone,
    first_alone,
    is_first_process,
    wait_for_all,
)
from lengthwise.train.step.checksum import named_checksums
from lengthwise.train.step.update import TrainState

FORMAT_VERSION = 3
_SCORE = "selection_score"
_SAVE_ERRORS = (OSError, ValueError)  # TensorStore's errors are ValueErrors
_READ_ERRORS = (OSError, ValueError, KeyError, TypeError)  # of Orbax, TensorStore and JSON
_STATE, _HOST = "state", "host"  # the items of a checkpoint
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


class Checkpoints:
    """The checkpoints of a work directory, named by the number of optimizer steps done.

    Each holds the state, and as JSON what the host must know to go on: format version, fingerprint
    of (store, layouts, schedule, seed), meaning of the weights, what was skipped and passed over,
    the figures that spikes are measured by, stopping state, the account of the time.
    """

    def __init__(self, directory: Path, *, read_only: bool = False, keep_every: int = 0):
        """Opens the checkpoints of a directory.

        Args:
          read_only: another run's, whose unfinished saves must not be tidied away.
          keep_every: steps between those that stay, beside the last two and the best; 0: none.

        Raises:
          DamagedCheckpointError: a score can't be read, which Orbax does here for all checkpoints;
            where not read_only, that checkpoint is loudly set aside instead.
        """
        self._directory = directory
        first_alone(lambda: self._set_aside_without_score(read_only))
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                # Without best_fn Orbax writes no metrics, and a restarted run forgets the best.
                best_fn=lambda metrics: metrics[_SCORE],
                best_mode="min",
                preservation_policy=retention(keep_every, lambda metrics: metrics[_SCORE]),
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
            ),
            item_handlers={_STATE: _state_handler(), _HOST: ocp.JsonCheckpointHandler()},
        )

    def _set_aside_without_score(self, read_only: bool) -> None:
        for step in without_score(self._directory, _SCORE):
            error = self._damaged(step, "its score can't be read")
            if read_only:
                raise error
            self._move_aside(step, error)

    def _move_aside(self, step: int, why: DamagedCheckpointError) -> None:
        moved = move_aside(self._directory, step)
        print(f"warning: {why}; moved to {moved}", file=sys.stderr)

    def steps(self) -> list[int]:
        """Steps of the checkpoints, the newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Step of the checkpoint with the lowest selection score; None where none has one."""
        scored = {
            step: metrics[_SCORE]
            for step in self._manager.all_steps()
            if (metrics := self._manager.metrics(step)) and math.isfinite(metrics[_SCORE])
        }
        return min(scored, key=lambda step: scored[step]) if scored else None

    def save(self, step: int, state: TrainState, host: dict[str, Any], score: float | None) -> None:
        """Starts saving; returns when the state is copied and may be donated.

        Args:
          score: the selection score at this very step, None where it was not evaluated.

        Raises:
          UserError: this or the save before failed (a full disk); earlier ones are untouched.
        """
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            host=ocp.args.JsonSave(
                signed(
                    {
                        "format_version": FORMAT_VERSION,
                        "checksums": named_checksums(state),
                        "selection_score": score,
                        **host,
                    }
                )
            ),
        )
        # Orbax warns at every save without metrics; an infinite score is never the best.
        metrics = {_SCORE: math.inf if score is None else score}
        try:
            self._manager.save(step, args=arguments, metrics=metrics, force=True)
        except _SAVE_ERRORS as error:
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Blocks until pending saves are on disk.

        Raises:
          UserError: as for `save`.
        """
        try:
            self._manager.wait_until_finished()
        except _SAVE_ERRORS as error:
            raise self._save_error(error) from error

    def _save_error(self, error: Exception) -> Exception:
        if another_is_gone(error) or another_is_gone(error.__cause__):  # for which Orbax waited
            return jax.errors.JaxRuntimeError(f"{error} ({error.__cause__})")
        good = self._manager.latest_step()
        last = f"step {good} is the last good one" if good is not None else "there is none before"
        text = one_line(error)
        # TensorStore buries what the system said in a text of its own.
        reasons = [os.strerror(code) for code in _DISK_ERRORS if os.strerror(code) in text]
        return UserError(
            f"{self._directory}: a checkpoint could not be written "
            f"({reasons[0] if reasons else text[:300]}); {last}; "
            "make room and start again with the same --workdir to go on"
        )

    def host(self, step: int) -> dict[str, Any]:
        """The JSON part of a checkpoint.

        Raises:
          DamagedCheckpointError: it is not what was saved.
          UserError: written by another format version.
        """
        with self._reading(step):
            handler = ocp.JsonCheckpointHandler()
            host = dict(handler.restore(self._item(step, _HOST), args=ocp.args.JsonRestore()))
            version = host["format_version"]
            saved = self._manager.metrics(step)[_SCORE]
            score = saved if math.isfinite(saved) else None  # infinite where none was evaluated
        if version != FORMAT_VERSION:
            raise UserError(
                f"{self._directory}: checkpoint {step} has format {version}, "
                f"this code reads {FORMAT_VERSION}; use the release that wrote it"
            )
        if signed(host) != host or host["selection_score"] != score:
            raise self._damaged(step, "its description is not what was saved")
        return host

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """Restores the state, placed by the shardings of `abstract` (ShapeDtypeStructs).

        Raises:
          DamagedCheckpointError: it can't be read, or a checksum differs.
        """
        state: TrainState = self._restored(step, abstract)
        self._verify(step, state)
        return state

    def _restored(self, step: int, abstract: Any, *, partial: bool = False) -> Any:
        """Reads the state item onto the devices.

        Not through Orbax's manager: its reading ends by waiting for all processes, and one whose
        part of the files is damaged would never come.

        Args:
          partial: `abstract` is a part of what was saved.
        """
        arguments = ocp.args.PyTreeRestore(
            item=abstract,
            partial_restore=partial,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        )
        error, restored = None, None
        try:
            with self._reading(step):
                restored = _state_handler().restore(self._item(step, _STATE), args=arguments)
        except DamagedCheckpointError as damaged:
            error = damaged
        if not all_agree(error is None):
            raise error or self._damaged(step, "another process can't read its part")
        return restored

    def _item(self, step: int, name: str) -> epath.Path:
        return epath.Path(self._directory.absolute()) / str(step) / name

    def _verify(self, step: int, tree: object) -> None:
        saved = self.host(step)["checksums"]
        wrong = [name for name, value in named_checksums(tree).items() if saved[name] != value]
        if wrong:
            more = f" and {len(wrong) - 1} more arrays" if len(wrong) > 1 else ""
            raise self._damaged(step, f"{wrong[0]}{more} differ from what was saved")

    @contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns reading errors into a DamagedCheckpointError that names the checkpoint."""
        try:
            yield
        except _READ_ERRORS as error:
            text = one_line(error)
            raise self._damaged(step, f"{type(error).__name__}: {text[:200]}") from error

    def _damaged(self, step: int, what: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(f"{self._directory}: checkpoint {step} is damaged: {what}")

    def set_aside(self, step: int, why: DamagedCheckpointError) -> None:
        """Moves a damaged checkpoint aside, with a warning, so that its step can be saved again."""
        if is_first_process():
            self._move_aside(step, why)
        wait_for_all("damaged checkpoint set aside")
        self._manager.reload()

    def drop_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps."""
        for later in self.steps():
            if later > step:
                self._manager.delete(later)

    def parameter_shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """{dotted name: shape} of the saved weights, from metadata alone."""
        saved = self._manager.item_metadata(step)["state"].tree["params"]
        return shapes_by_name(saved)

    def restore_params(self, step: int, abstract_params: object) -> object:
        """Restores the weights alone, for `init_from` and for scoring.

        Raises:
          DamagedCheckpointError: they can't be read, or a checksum differs.
        """
        restored = self._restored(step, {"params": abstract_params}, partial=True)
        self._verify(step, restored)
        return restored["params"]

    def close(self) -> None:
        """Waits for pending saves.

        Raises:
          UserError: as for `save`, unless that or `wait` raised it before.
        """
        try:
            self._manager.close()
        except _SAVE_ERRORS as error:
            raise self._save_error(error) from error


def _state_handler() -> ocp.PyTreeCheckpointHandler:
    """Saves replicated arrays from one device.

    Orbax would have each device save a slice of them, and slicing compiles in mid-run.
    """
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
    return ocp.PyTreeCheckpointHandler(
        type_handler_registry=ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
    )


def shapes_by_name(tree: object) -> dict[str, tuple[int, ...]]:
    """{dotted name: shape} of the leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }
