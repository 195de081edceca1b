"""metrics.jsonl, TensorBoard events, and the count of compilations."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from tensorboardX import SummaryWriter

from errors import UserError


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that a kill cut short is left out.

    Raises:
      UserError: a broken line that isn't the last.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):  # no newline after it: the write was cut short
                break
            raise UserError(f"{path}, line {number}: not valid JSON ({error})") from error
    return rows


class MetricsWriter:
    """Appends rows to `workdir/metrics.jsonl` and scalars to TensorBoard events.

    On resuming at step n, rows of later steps are cut away first, so that each step stands once.
    """

    def __init__(self, workdir: Path, *, resume_step: int):
        self._path = workdir / "metrics.jsonl"
        kept = []
        if self._path.exists():
            kept = [row for row in read_rows(self._path) if row["step"] <= resume_step]
        temporary = self._path.with_suffix(".jsonl.tmp")
        with temporary.open("w") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._file = self._path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """One row: `kind` ("train", "eval" or "end"), `step` and figures."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        for name, value in row.items():
            if name not in ("kind", "step") and isinstance(value, int | float):
                self._events.add_scalar(f"{row['kind']}/{name}", value, row["step"])
        if row["kind"] == "train":
            self._events.add_scalar(f"loss_by_bucket/{row['bucket']}", row["loss"], row["step"])

    def flush(self) -> None:
        """To disk: a checkpoint must never be newer than the rows of its steps."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        self.flush()
        self._file.close()
        self._events.close()


class CompileCounter:
    """Counts backend compilations of the whole process while it is entered."""

    _EVENT = "/jax/core/compile/backend_compile_duration"

    def __init__(self) -> None:
        self.count = 0

    def _listen(self, event: str, duration_secs: float, **_: str | int | float) -> None:
        if event == self._EVENT:
            self.count += 1

    def __enter__(self) -> "CompileCounter":
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
