"""Trackers: where a run can be followed, beside its metrics.jsonl."""

import contextlib
import dataclasses
import importlib.util
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.files import write_json
from lengthwise.common.plain_text import visible
from lengthwise.common.registry import Components
from lengthwise.common.settings import components
from lengthwise.train.tracking.registry import TRACKERS

NAMES = "trackers.json"  # in a work directory: the names by which trackers know it


class Tracker(ABC):
    """One place that follows a run; its fields are its settings. In the first process alone.

    `write` and `flush` may raise OSError where the disk is full.
    """

    def check(self) -> None:  # noqa: B027
        """Raises UserError where it can't follow a run here, before anything is done."""

    @abstractmethod
    def open(self, workdir: Path, step: int) -> None:
        """Begins to follow the run of `workdir`, or goes on in the same one behind `step`."""

    @abstractmethod
    def write(self, row: Mapping[str, Any]) -> None:
        """Takes a row of metrics.jsonl; `figures` has its numbers by name."""

    def cut_back(self, step: int) -> None:  # noqa: B027
        """Learns that the run went back to `step`, whose later rows come again."""

    def summarize(self, figures: Mapping[str, float], pictures: Mapping[str, Path]) -> None:  # noqa: B027
        """Takes the numbers of card or task, and pictures as PNG files, by name."""

    def flush(self) -> None:  # noqa: B027
        """Makes what was written outlive a kill, as far as it can."""

    @abstractmethod
    def close(self) -> None:
        """Ends following; the same run may be opened again."""


@dataclasses.dataclass(frozen=True)
class TrackingConfig:
    """Where a run can be followed."""

    # beside metrics.jsonl: tensorboard | wandb | trackio, or from outside
    trackers: tuple[str, ...] = ("tensorboard",)
    settings: Components[Any] = components(TRACKERS, "tracking")

    def make(self) -> list[Tracker]:
        """The trackers, not opened.

        Raises:
          UserError: an unknown name, one twice, or settings that one can't have.
        """
        names = self.trackers
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise UserError(f"tracking.trackers={names!r} names {twice[0]!r} twice; name it once")
        return [self.settings.make(name, "tracking.trackers") for name in names]

    def check(self) -> None:
        """Raises UserError: see `make` and `Tracker.check`."""
        for tracker in self.make():
            tracker.check()


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of metrics.jsonl, by the names that trackers show."""
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
    return scalars


def run_name(workdir: Path, tracker: str) -> str:
    """The name by which a tracker knows the run of `workdir`: made once, kept in the directory.

    Raises:
      UserError: the file of the names is broken.
    """
    path = workdir / NAMES
    try:
        names = json.loads(path.read_bytes()) if path.exists() else {}
        known = dict(names).get(tracker)
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} holds no names ({one_line(error)}); restore it, or remove it to be followed "
            "as a new run"
        ) from error
    if known is None:
        known = f"{workdir.resolve().name}-{uuid.uuid4().hex[:8]}"
        write_json(path, {**names, tracker: known})
    return str(known)


def run_config(workdir: Path) -> dict[str, Any]:
    """The resolved config that a work directory keeps, which training has claimed by now."""
    config: dict[str, Any] = json.loads((workdir / "config.json").read_bytes())
    return config


def require(library: str, name: str) -> None:
    """Raises UserError where the library of a tracker isn't installed."""
    if importlib.util.find_spec(library) is None:
        raise UserError(
            f"tracking.trackers names {name!r}, but {library} isn't installed; "
            "pip install -r requirements-trackers.txt brings it"
        )


@contextlib.contextmanager
def opened(trackers: Sequence[Tracker], workdir: Path, step: int) -> Iterator[Sequence[Tracker]]:
    """Opens trackers and closes those that were opened, whatever happens in between."""
    with contextlib.ExitStack() as stack:
        for tracker in trackers:
            tracker.open(workdir, step)
            stack.callback(tracker.close)
        yield trackers


@contextlib.contextmanager
def service(name: str, advice: str) -> Iterator[None]:
    """Turns what the library of a service raises in the block into one line with the way out."""
    try:
        yield
    except Exception as error:  # of any class: they are the library's
        raise UserError(f"tracker {name!r}: {one_line(error)}; {advice}") from error
