"""Scalars as TensorBoard events, beside metrics.jsonl."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from lengthwise.common.plain_text import visible


class Events:
    """A file of events in `directory`; all methods raise OSError where the disk is full."""

    def __init__(self, directory: Path):
        # Not tensorboardX's SummaryWriter: on a full disk its thread dies, and its queue, once
        # full, holds up the training for ever.
        directory.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(directory / "events"))

    def begin(self, step: int) -> None:
        """Makes TensorBoard forget what was written before from the next step on."""
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes the figures of a row of metrics.jsonl."""
        scalars = {
            f"{row['kind']}/{name}": value
            for name, value in row.items()
            if name not in ("kind", "step") and isinstance(value, int | float)
        }
        if row["kind"] == "train":
            for name in ("loss", "grad_norm"):
                scalars[f"{name}_by_bucket/{row['bucket']}"] = row[name]
            for domain, loss in row.get("losses", {}).items():
                scalars[f"loss_by_domain/{visible(domain)}"] = loss
        for name, figure in row.get("scores", {}).items():
            scalars[f"scores/{name}"] = figure["value"]
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(step=row["step"], summary=Summary(value=values))

    def _write(self, **content: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), **content))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
