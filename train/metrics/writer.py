"""metrics.jsonl, the trackers beside it, and the count of compilations."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.train.machine.processes import is_first_process
from lengthwise.train.tracking.tracker import Tracker, TrackingConfig, opened


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that a kill cut short is left out.

    Raises:
      UserError: a broken line that isn't the last; a field of a row that it lacks, once asked for.
    """
    rows: list[dict[str, Any]] = []
    remedy = "remove the line, or restore the file"
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no newline after it: the write was cut short
                break
            raise UserError(f"{where}: not valid JSON ({error}); {remedy}") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise UserError(f"{where}: no row of metrics, which has a step; {remedy}")
        rows.append(_Row(row, f"{where}: the row of step {row['step']}", remedy))
    return rows


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


class _Row(dict[str, Any]):
    """A row of metrics.jsonl. A field that a damaged one lacks is an error of the user's, who can
    put it right, wherever it is missed."""

    def __init__(self, fields: dict[str, Any], where: str, remedy: str):
        super().__init__(fields)
        self._where, self._remedy = where, remedy

    def __missing__(self, name: str) -> Any:
        raise UserError(f"{self._where} lacks {name!r}; {self._remedy}")


class MetricsWriter:
    """Appends rows to `workdir/metrics.jsonl` and shows them to trackers.

    On resuming at step n, rows of later steps are cut away first, so that each step stands once.
    All methods raise UserError where the disk is full.

    Attributes:
      last_seen: the latest Unix time in the rows that were there, None where there was none.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        resume_step: int,
        rollbacks: int = 0,
        trackers: Sequence[Tracker] = (),
        evaluation_due: bool = False,
    ):
        """Opens the rows of a work directory.

        Args:
          rollbacks: number of rows of kind "rollback" to keep, whatever their step.
          evaluation_due: the scores at `resume_step` are computed anew.
        """
        self._path = workdir / "metrics.jsonl"
        rows = read_rows(self._path) if self._path.exists() else []
        self.last_seen: float | None = max((r["time"] for r in rows if "time" in r), default=None)
        due = {(kind, resume_step) for kind in ("eval", "phase_end") if evaluation_due}
        remaining = [row for row in rows if (row["kind"], row["step"]) not in due]
        self._keep(remaining, resume_step, rollbacks)
        with self._disk_errors():
            self._file = self._path.open("a")
            self._followed = contextlib.ExitStack()
            self._trackers = self._followed.enter_context(opened(trackers, workdir, resume_step))

    def _keep(self, rows: Sequence[dict[str, Any]], step: int, rollbacks: int) -> None:
        remaining = (
            json.dumps(row, allow_nan=False) + "\n"
            for row in rows
            if (row["number"] <= rollbacks if row["kind"] == "rollback" else row["step"] <= step)
        )
        atomic_write(self._path, (row.encode("ascii") for row in remaining))

    def cut_back(self, step: int, rollbacks: int) -> None:
        """Removes the rows of later steps, as on resuming at `step`."""
        with self._disk_errors():
            self._file.close()
            self._keep(read_rows(self._path), step, rollbacks)
            self._file = self._path.open("a")
            for tracker in self._trackers:
                tracker.cut_back(step)

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row: `kind`, `step`, figures.

        Kinds are "train", "skip", "rollback", "eval", "goodput" and "end". A "rollback" has a
        `number`, from 1: it outlives the steps that it took back.
        """
        with self._disk_errors():
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()  # for who follows the run, and so that a kill loses no row
            for tracker in self._trackers:
                tracker.write(row)

    def flush(self) -> None:
        """Syncs to disk: a checkpoint must never be newer than the rows of its steps."""
        with self._disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            for tracker in self._trackers:
                tracker.flush()

    def close(self) -> None:
        with self._disk_errors(), self._file, self._followed:
            self.flush()

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path} or what trackers write could not be written ({error.strerror}); "
                "make room and start again with the same --workdir to go on"
            ) from error


class SilentWriter(MetricsWriter):
    """Writer of all processes but the first, so that each row is written once."""

    def __init__(self) -> None:
        """Opens nothing."""
        self.last_seen = None

    def cut_back(self, step: int, rollbacks: int) -> None:
        """Does nothing."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def metrics_writer(
    workdir: Path,
    tracking: TrackingConfig,
    *,
    resume_step: int,
    rollbacks: int,
    evaluation_due: bool,
) -> MetricsWriter:
    """The writer of this process."""
    if not is_first_process():
        return SilentWriter()
    return MetricsWriter(
        workdir,
        resume_step=resume_step,
        rollbacks=rollbacks,
        trackers=tracking.make(),
        evaluation_due=evaluation_due,
    )


class CompileCounter:
    """Counts backend compilations of the whole process while it is entered."""

    _EVENT = "/jax/core/compile/backend_compile_duration"

    def __init__(self) -> None:
        self.count = 0
        self._begun = False

    def _listen(self, event: str, duration_secs: float, **_: str | int | float) -> None:
        if event == self._EVENT:
            self.count += 1

    def begin(self) -> None:
        """Starts counting at the first call."""
        if not self._begun:
            self._begun, self.count = True, 0

    def __enter__(self) -> "CompileCounter":
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
