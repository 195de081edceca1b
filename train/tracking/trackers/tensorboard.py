"""Scalars and pictures as TensorBoard events."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from lengthwise.train.tracking.registry import TRACKERS
from lengthwise.train.tracking.tracker import Tracker, figures


@TRACKERS.register("tensorboard")
@dataclass
class TensorBoard(Tracker):
    """A file of events in WORKDIR/tensorboard for each start."""

    def open(self, workdir: Path, step: int) -> None:
        # Not tensorboardX's SummaryWriter: on a full disk its thread dies, and its queue, once
        # full, holds up the training for ever.
        directory = workdir / "tensorboard"
        directory.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(directory / "events"))
        self._step = step
        self.cut_back(step)

    def cut_back(self, step: int) -> None:
        """Makes TensorBoard forget what was written before from the next step on."""
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Mapping[str, Any]) -> None:
        self._write(step=row["step"], summary=_scalars(figures(row)))

    def summarize(self, figures: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        self._write(step=self._step, summary=_scalars(figures))
        images = (
            Summary.Value(tag=tag, image=Summary.Image(encoded_image_string=path.read_bytes()))
            for tag, path in pictures.items()
        )
        self._write(step=self._step, summary=Summary(value=images))

    def _write(self, **content: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), **content))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=x) for tag, x in values.items()])
